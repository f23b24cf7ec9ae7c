"""Each rewrite on and off: the time of a program by default, and with one rewrite more or less.

A row is a workload (`benchmarks.workloads`) and a rewrite that replaces something in it, with the
largest difference between the two results.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from benchmarks import workloads
from benchmarks.timing import compiled, difference, interleaved, ratio, spread
from benchmarks.workloads import Workload
from jaxsal.rewrite.optimize import REWRITES, count_rewrites, optimize


class Settings(NamedTuple):
    """What is measured."""

    image_size: int = 128
    batch: int = 32
    steps: int = 8
    widths: tuple[int, ...] = (32, 64, 128, 128)
    rounds: int = 7
    workloads: tuple[str, ...] = (
        "logits",
        "gradient",
        "gradient, ResNet",
        "integrated gradients",
        "integrated gradients, 7x7 stem",
        "training step",
        "epoch",
    )


SETTINGS = {
    "cpu": Settings(),
    "cpu-derivatives": Settings(
        batch=8, rounds=3, workloads=("gradient, global maximum", "forward derivative")
    ),
    "cpu-small": Settings(
        image_size=64,
        batch=8,
        widths=(32, 64, 128, 256, 256),
        workloads=("gradient", "integrated gradients"),
    ),
    "cpu-volumes": Settings(
        image_size=32, batch=8, widths=(16, 32, 64), rounds=5, workloads=("gradient, volumes",)
    ),
    "gpu": Settings(
        batch=512,
        rounds=20,
        workloads=("gradient", "gradient, ResNet"),
    ),
    "toy": Settings(
        image_size=16,
        batch=8,
        steps=2,
        widths=(4, 4),
        rounds=2,
        workloads=("gradient", "integrated gradients, 7x7 stem", "epoch"),
    ),
}


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """The rows, printed as a table."""
    sizes = settings.image_size, settings.batch, settings.steps, settings.widths
    build = workloads.builders(*sizes)
    rows = [row for name in settings.workloads for row in _rows(name, build[name](), settings)]
    print(table(rows))
    return {"rows": rows}


def _rows(name: str, workload: Workload, settings: Settings) -> Iterator[dict[str, Any]]:
    """The default program beside the one without a rewrite that is on, or with one that is off.

    There is no row where both are the same program.
    """
    fun, args, with_prefix = workload
    used = {r for r, n in count_rewrites(fun, *args, platform=jax.default_backend()).items() if n}
    others: dict[str, Callable[..., Any]] = {
        rewrite: optimize(fun, only=used ^ {rewrite})
        for rewrite in REWRITES
        if rewrite in used or count_rewrites(fun, *args, only=used | {rewrite})[rewrite]
    }
    if with_prefix:
        others["affine_prefix"] = optimize(functools.partial(fun, rewrite=False), only=used)
    default = compiled(optimize(fun, only=used), *args)
    found = {rewrite: compiled(program, *args) for rewrite, program in others.items()}
    found = {rewrite: other for rewrite, other in found.items() if other.text != default.text}
    programs = {"": default.call} | {rewrite: other.call for rewrite, other in found.items()}
    times = interleaved(programs, settings.rounds)
    for rewrite, other in found.items():
        is_on = rewrite == "affine_prefix" or rewrite in used
        here = (times[""], default.seconds), (times[rewrite], other.seconds)
        on, off = here if is_on else here[::-1]
        yield {
            "workload": name,
            "rewrite": rewrite,
            "on_by_default": is_on,
            "difference": difference(other.call(), default.call()),
            "off_over_on": round(ratio(off[0], on[0]), 3),
            "on": spread(on[0]) | {"compile_s": round(on[1], 2)},
            "off": spread(off[0]) | {"compile_s": round(off[1], 2)},
        }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = [
        "workload                      rewrite              off/on   on ms    off ms   difference"
    ]
    for row in rows:
        lines.append(
            f"{row['workload']:<30}{row['rewrite']:<20}{row['off_over_on']:>7.2f}"
            f"{row['on']['median_ms']:>9.1f}{row['off']['median_ms']:>10.1f}"
            f"{row['difference']:>13.1e}"
        )
    return "\n".join(lines)
