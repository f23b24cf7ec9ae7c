"""Interleaved timing: every contender timed once a round: a busy machine slows them all alike."""

import re
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

Contenders = Mapping[str, Callable[[], Any]]

SOURCES = re.compile(
    r", metadata=\{[^}]*\}"
    r"|^(?:FileNames|FunctionNames|FileLocations|StackFrames)\n(?:\d+ .*\n)*",
    re.MULTILINE,
)
"""Where a program's text says which lines it comes from: operation by operation, and in tables."""


class Compiled(NamedTuple):
    """A program as a call without arguments, the seconds it took to compile, and what it does."""

    call: Callable[[], Any]
    seconds: float
    text: str


def compiled(fun: Callable[..., Any], *args: Any) -> Compiled:
    """`fun` compiled at `args`; equal texts are one program, whatever its sources."""
    begin = time.perf_counter()
    program = jax.jit(fun).lower(*args).compile()
    seconds = time.perf_counter() - begin
    text = SOURCES.sub("", str(program.as_text()))
    return Compiled(lambda: jax.block_until_ready(program(*args)), seconds, text)


def interleaved(contenders: Contenders, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, after an untimed call of its own.

    What ran before leaves other memory in the caches, and other blocks to the allocator.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """The median over rounds of `slow / fast` in the same round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def spread(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: median, quartiles and the least."""
    low, middle, high = np.percentile(seconds, [25, 50, 75]) * 1e3
    least = min(seconds) * 1e3
    values = {"median_ms": middle, "quartile1_ms": low, "quartile3_ms": high, "least_ms": least}
    return {name: round(float(value), 3) for name, value in values.items()}


def difference(actual: Any, expected: Any) -> float:
    """The largest difference, relative to the largest value, over the leaves of two results."""
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max() / max(np.abs(np.asarray(b)).max(), 1e-30))
        for a, b in pairs
    )
