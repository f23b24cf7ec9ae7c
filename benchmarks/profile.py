"""Where the time goes: the operations of a program by their share, from XLA's own profile.

Each row is an operation of the compiled program (a fusion, a convolution, a kernel), with the name
that it has in the source where XLA kept one, its milliseconds a call, and its share of all.
"""

import collections
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

import jaxsal
from benchmarks import jax_worker, problems
from benchmarks.throughput import OPTIONS


class Settings(NamedTuple):
    """What is profiled: (problem, method, batch); `rounds` calls of each; so many rows."""

    cases: tuple[tuple[str, str, int], ...]
    rounds: int = 5
    rows: int = 12


SETTINGS = {
    "cpu": Settings((("cnn-128", "gradient", 32), ("cnn-128", "integrated_gradients", 8))),
    "gpu": Settings(
        (
            ("cnn-128", "gradient", 512),
            ("cnn-128", "integrated_gradients", 64),
            ("cnn-128", "occlusion", 64),
            ("cnn-224", "gradient", 256),
            ("resnet50-224", "gradient", 128),
            ("resnet50-224", "integrated_gradients", 32),
        ),
        rounds=10,
    ),
    "toy": Settings((("cnn-toy", "gradient", 4),), rounds=2),
}


class Operation(NamedTuple):
    """One operation's time in a call."""

    name: str
    source: str
    milliseconds: float
    share: float


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """The operations of each case, the longest first, printed as a table."""
    cases = []
    for problem, method, batch in settings.cases:
        with tempfile.TemporaryDirectory() as place:
            jax_worker.create(problem, batch, place)
            loaded = problems.load(place, batch)
        options = problems.options(loaded, OPTIONS.get(method, {}))
        sources = named(text(loaded, method, options))
        found = operations(jax_worker.by_jaxsal(loaded, method, options), settings.rounds, sources)
        total = sum(each.milliseconds for each in found)
        print(f"\n{method}, {problem}, batch {batch}: {total:.2f} ms of operations a call")
        for each in found[: settings.rows]:
            print(f"  {each.share:6.1%}{each.milliseconds:10.3f} ms  {each.name:<32}{each.source}")
        cases.append(
            {
                "problem": problem,
                "method": method,
                "batch": batch,
                "milliseconds": total,
                "operations": [each._asdict() for each in found[: settings.rows]],
                "share_of_rest": sum(each.share for each in found[settings.rows :]),
            }
        )
    return {"rows": cases}


def text(loaded: problems.Loaded, method: str, options: dict[str, Any]) -> str:
    """The compiled program of a method, as XLA prints it."""
    model = jax_worker.network(loaded.problem)
    explain = jaxsal.explainer(model.apply, jax_worker.method(method, options))
    arguments = jax_worker.unflatten(loaded.weights), loaded.images, loaded.targets
    return str(explain.program(*arguments, key=jax.random.key(0)).as_text())


def named(program: str) -> dict[str, str]:
    """Of each operation in a compiled program's text the shape, and what it was in the source."""
    found = {}
    for line in program.splitlines():
        if head := re.match(r"\s*(?:ROOT )?%?([\w.-]+) = \(?(\w+\[[\d,]*\])", line):
            source = re.search(r'op_name="([^"]*)"', line)
            path = source[1].split("/")[1:] if source else []
            found[head[1]] = f"{head[2]} {'/'.join(path)}".strip()
    return found


def operations(call: Callable[[], Any], rounds: int, sources: Mapping[str, str]) -> list[Operation]:
    """What a call does, on all devices together, the longest operation first.

    The first call is not looked at.
    """
    jax.block_until_ready(call())
    with tempfile.TemporaryDirectory() as place:
        with jax.profiler.trace(place):
            for _ in range(rounds):
                jax.block_until_ready(call())
        (path,) = Path(place).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(path))
        spent: dict[str, float] = collections.defaultdict(float)
        for name, duration in _events(profile):
            spent[name] += duration / 1e6 / rounds
    total = sum(spent.values()) or 1.0
    longest = sorted(spent.items(), key=lambda item: -item[1])
    return [Operation(name, sources.get(name, ""), ms, ms / total) for name, ms in longest]


def _events(profile: Any) -> Iterator[tuple[str, float]]:
    """(operation, ns) of every event that is an operation of a compiled program.

    Of an accelerator its own clock counts; of a CPU the threads that run the program. A loop's own
    event holds those of its body, and is left out.
    """
    planes = list(profile.planes)
    device = [plane for plane in planes if re.match(r"/device:(GPU|TPU)", plane.name)]
    for plane in device or planes:
        for line in plane.lines:
            for event in line.events:
                name = next((str(value) for stat, value in event.stats if stat == "hlo_op"), "")
                if name and not re.match(r"(while|call|conditional)(\.|$)", name):
                    yield name, event.duration_ns
