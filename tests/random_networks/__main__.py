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
from tests.random_networks.judging import ANOTHER_WAY, Difference, compare, setting
from tests.random_networks.networks import network

FREE = 6
"""Every so manieth network has a loop without a gradient."""

CLEARED = 25
"""After so many networks the compiled programs are dropped."""


TOLD = 20
"""After so many networks there is a line of what was found so far."""

FLAG = "xla_backend_optimization_level=0"

OWN = "judged by their own sensitivity"
MOVING = "not finite in JAX, or here and there"
RAISES = "that JAX does not compile"
UNOPTIMISED = "right only where LLVM optimises"
WAYS = "where ways to run plain JAX differ"
OTHERS = (OWN, MOVING, RAISES, UNOPTIMISED, WAYS)
"""What a network may be that is neither wrong nor just right."""


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


def examined(seed: int, number: int) -> Case:
    """`examine`, in which an error of any kind is a fault to look at and stops nothing."""
    try:
        return examine(seed, number)
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Case("", [Difference("raises", math.inf, 0.0, True, why)], 0, [], [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="the first network's number")
    given = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    sys.exit(run(given.seed, given.start, given.count)["wrong"] > 0)


class Tally:
    """What was found so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.counts = dict.fromkeys(("networks", "comparisons", "wrong", *OTHERS), 0)
        self.worst = self.largest = 0.0
        self.methods: collections.Counter = collections.Counter()
        self.refused: collections.Counter = collections.Counter()

    def add(self, case: Case, verdict: str) -> None:
        self.counts["networks"] += 1
        self.counts["comparisons"] += case.compared
        self.methods.update(case.methods)
        self.refused.update(each.split(":")[0] for each in case.refused)
        if verdict:
            self.counts[verdict] += 1
        if verdict == OWN:
            finite = [each for each in case.differences if each.own < math.inf]
            self.worst = max([self.worst, *(each.size / each.own for each in finite)])
            self.largest = max([self.largest, *(each.size for each in finite)])

    def progress(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        spent = f"{time.monotonic() - self.began:.0f} s, {time.process_time():.0f} s of CPU"
        return f"{counts}; {spent}, {resident():.0f} MiB"

    def summary(self) -> dict:
        return {
            **self.counts,
            f"largest difference {OWN}": self.largest,
            f"worst ratio of difference to bound {OWN}": self.worst,
            "methods": dict(sorted(self.methods.items())),
            "refused": dict(self.refused),
            "seconds": round(time.monotonic() - self.began, 1),
            "seconds of CPU": round(time.process_time(), 1),
            "peak MiB": round(resident()),
            "jax": jax.__version__,
        }


def run(seed: int, start: int, count: int) -> dict:
    """Examines the networks, prints those that are wrong, and a summary."""
    tally = Tally()
    for number in range(start, start + count):
        case = examined(seed, number)
        verdict = judged(seed, number, case)
        tally.add(case, verdict)
        if verdict in ("wrong", UNOPTIMISED, WAYS):
            tell(seed, number, case, verdict)
        if (number + 1) % CLEARED == 0:
            jax.clear_caches()
        if (number + 1 - start) % TOLD == 0:
            print(tally.progress(), flush=True)
    print(json.dumps(tally.summary()))
    return tally.summary()


def judged(seed: int, number: int, case: Case) -> str:
    """`wrong`, or one of `OTHERS`, or nothing."""
    bad = [each for each in case.differences if each.wrong]
    if any(each.where == "raises" for each in bad):
        return "wrong"
    strange = any(each.where == "JAX" for each in case.differences)
    if (bad or strange) and FLAG in os.environ.get("XLA_FLAGS", ""):
        return UNOPTIMISED if optimised_agrees(seed, number) else "wrong"
    if bad:
        return "wrong"
    if any(each.where == "raises" for each in case.differences):
        return RAISES
    if any(each.why == ANOTHER_WAY for each in case.differences):
        return WAYS
    if any(each.size == math.inf for each in case.differences):
        return MOVING
    return OWN if case.differences else ""


def optimised_agrees(seed: int, number: int) -> bool:
    """Whether a network is right in a process of XLA's own settings."""
    again = ["--seed", str(seed), "--start", str(number), "--count", "1"]
    command = [sys.executable, "-m", "tests.random_networks", *again]
    done = subprocess.run(command, env={**os.environ, "XLA_FLAGS": ""}, capture_output=True)
    return done.returncode == 0


def resident() -> float:
    """The largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tell(seed: int, number: int, case: Case, verdict: str) -> None:
    """A line of what differs, with the command that shows it alone."""
    told = "; ".join(
        f"{each.where} {each.size:.2g} (its own {each.own:.2g}) {each.why}".strip()
        for each in case.differences
    )
    print(
        f"{verdict.upper()}: network {number}: {told} | {case.name} | "
        f"python -m tests.random_networks --seed {seed} --start {number} --count 1",
        flush=True,
    )


if __name__ == "__main__":
    main()
