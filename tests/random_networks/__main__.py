"""The command; see the package."""

import argparse
import collections
import json
import math
import os
import resource
import subprocess
import sys
import time
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compilation is what a network costs: LLVM optimises nothing, and one thread makes the code.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
)

import jax

from tests.random_networks import questions
from tests.random_networks.draws import Draw
from tests.random_networks.judging import Difference, compare, setting
from tests.random_networks.networks import network

FREE = 6
"""Every so manieth network has a loop without a gradient."""

CLEARED = 25
"""After so many networks the compiled programs are dropped."""


UNOPTIMISED = "xla_backend_optimization_level=0"


class Case(NamedTuple):
    """A network's result.

    Attributes:
        name: the network, the setting and the methods, in words.
        differences: beyond the tolerance.
        compared: maps and logits held against each other.
        methods: by name; those that no layer or ReLU could be found for are `refused`.
    """

    name: str
    differences: list[Difference]
    compared: int
    methods: list[str]
    refused: list[str]


def examine(seed: int, number: int) -> Case:
    """Draws network `number`, asks it and compares."""
    draw, free = Draw(seed, number), number % FREE == FREE - 1
    turn = number // FREE if free else number - number // FREE
    names = questions.names(seed, turn, free)
    subject = network(draw, needs=questions.needs(names), free=free)
    asked, refused = [], []
    for name in names:
        for _ in range(4):
            each = questions.question(draw, name, subject)
            why = questions.refused(each, subject) if name in questions.LAYERED else ""
            if not why:
                asked.append(each)
                break
        else:
            refused.append(f"{name}: {why[:120]}")
    how = setting(draw, subject)
    words = f"{subject.name} | {how.words()} | {', '.join(each.words() for each in asked)}"
    if not asked:
        return Case(words, [], 0, [], refused)
    differences, compared = compare(subject, asked, how)
    return Case(words, differences, compared, [each.name for each in asked], refused)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="the first network's number")
    given = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    sys.exit(run(given.seed, given.start, given.count)["wrong"] > 0)


def run(seed: int, start: int, count: int) -> dict:
    """Examines the networks, prints those that are wrong, and a summary."""
    began, methods, refused = time.monotonic(), collections.Counter(), collections.Counter()
    compared = wrong = own = unoptimised = moving = 0
    worst = largest = 0.0
    for number in range(start, start + count):
        case = examine(seed, number)
        compared += case.compared
        methods.update(case.methods)
        refused.update(each.split(":")[0] for each in case.refused)
        bad = [each for each in case.differences if each.wrong]
        judged = [each for each in case.differences if not each.wrong]
        if bad and optimised_agrees(seed, number, bad):
            unoptimised += 1
            tell(seed, number, case, bad, "ONLY UNOPTIMISED")
        elif bad:
            wrong += 1
            tell(seed, number, case, bad)
        elif judged:
            own += 1
            moving += any(each.size == math.inf for each in judged)
            measured = [each for each in judged if each.own < math.inf]
            worst = max([worst, *(each.size / each.own for each in measured)])
            largest = max([largest, *(each.size for each in measured)])
        if (number + 1) % CLEARED == 0:
            jax.clear_caches()
        if (number + 1 - start) % 20 == 0:
            told = f"{number + 1 - start} networks, {wrong} wrong, {own} by their own sensitivity"
            print(
                f"{told}, {time.monotonic() - began:.0f} s, "
                f"{time.process_time():.0f} s of CPU, {resident():.0f} MiB",
                flush=True,
            )
    summary = {
        "networks": count,
        "comparisons": compared,
        "wrong": wrong,
        "wrong only where LLVM optimises nothing": unoptimised,
        "by their own sensitivity": own,
        "of those, whose NaN come and go": moving,
        "largest difference of those": largest,
        "worst ratio of difference to tolerance of those": worst,
        "methods": dict(sorted(methods.items())),
        "refused": dict(refused),
        "seconds": round(time.monotonic() - began, 1),
        "peak MiB": round(resident()),
        "jax": jax.__version__,
    }
    print(json.dumps(summary))
    return summary


def optimised_agrees(seed: int, number: int, bad: list[Difference]) -> bool:
    """Whether a network that is wrong here is right in a process of XLA's own settings."""
    if UNOPTIMISED not in os.environ["XLA_FLAGS"] or any(each.where == "raises" for each in bad):
        return False
    again = ["--seed", str(seed), "--start", str(number), "--count", "1"]
    command = [sys.executable, "-m", "tests.random_networks", *again]
    done = subprocess.run(command, env={**os.environ, "XLA_FLAGS": ""}, capture_output=True)
    return done.returncode == 0


def resident() -> float:
    """The largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tell(seed: int, number: int, case: Case, bad: list[Difference], how: str = "WRONG") -> None:
    """A line of what differs, with the command that shows it alone."""
    told = "; ".join(
        f"{each.where} {each.size:.2g} (its own {each.own:.2g}) {each.why}".strip() for each in bad
    )
    print(
        f"{how} network {number}: {told} | {case.name} | "
        f"python -m tests.random_networks --seed {seed} --start {number} --count 1",
        flush=True,
    )


if __name__ == "__main__":
    main()
