"""What a call costs beside plain `jax.jit`: microseconds of a model so small that little else is.

Each contender is called over and over, waited for each time; contenders take turns, round by round,
and a difference to plain JAX is of one round. Threads of a CPU fall asleep
between calls, and where cores are busy to wake one takes longer than a tiny program: plain JAX is
also called after PAUSES, which are taken off, to tell what of a difference that is.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxsal
from benchmarks.records import PLAIN
from jaxsal.models import ResNet
from jaxsal.types import Logits, Params

SHAPE = (1, 32, 32, 1)
CLASSES = 4
PAUSES = (50, 100)
"""Microseconds that a thread spends on something else before it calls plain JAX."""


class Settings(NamedTuple):
    """How often: `calls` in a row, `rounds` times."""

    rounds: int = 40
    calls: int = 50


SETTINGS = {"cpu": Settings(), "gpu": Settings(), "toy": Settings(rounds=2, calls=5)}


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each contender, with one array of parameters and with as many as a ResNet-50."""
    del peer_python
    rows = []
    for case, params in {"one array": {}, "a ResNet-50's arrays": _resnet()}.items():
        weights = jnp.linspace(-1.0, 1.0, SHAPE[1] * SHAPE[2] * CLASSES).reshape(-1, CLASSES)
        rows += _rows(case, {"weights": weights, "more": params}, settings)
    return {"rows": rows}


def _resnet() -> Params:
    """The arrays of a ResNet-50, each of one number: a call passes them, whatever their size."""
    shapes = jax.eval_shape(
        ResNet(classes=1000).init, jax.random.key(0), jnp.zeros((1, 224, 224, 3))
    )
    return jax.tree.map(lambda _: jnp.zeros(()), shapes)


def _apply(params: Params, images: jax.Array) -> Logits:
    """A layer; it reads one array, so that a program takes no longer with many.

    With 8x8 images plain JAX's program alone ran at once, which that of a network never does.
    """
    return jnp.tanh(images.reshape(len(images), -1) @ params["weights"])


class Contender(NamedTuple):
    """A call without arguments, and the seconds of pause in it."""

    call: Callable[[], jax.Array]
    pause: float = 0.0


def _contenders(params: Params) -> dict[str, Contender]:
    """Calls of the same gradient."""
    images, targets = jnp.ones(SHAPE), jnp.ones(1, jnp.int32)

    def one(params: Params, image: jax.Array, target: jax.Array) -> jax.Array:
        return jax.grad(lambda image: _apply(params, image[None])[0][target])(image)

    plain = jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))
    checked = jaxsal.explainer(_apply, jaxsal.gradient)
    unchecked = jaxsal.explainer(_apply, jaxsal.gradient, check=False)

    def after(pause: float) -> jax.Array:
        begin = time.perf_counter()
        while time.perf_counter() < begin + pause:
            pass
        return plain(params, images, targets)

    paused = {
        f"{PLAIN}, after {us} us": Contender(functools.partial(after, 1e-6 * us), 1e-6 * us)
        for us in PAUSES
    }
    return {
        PLAIN: Contender(lambda: plain(params, images, targets)),
        **paused,
        "jaxsal unchecked": Contender(lambda: unchecked(params, images, targets)),
        "jaxsal": Contender(lambda: checked(params, images, targets)),
        "jaxsal unchecked, target 1": Contender(lambda: unchecked(params, images, 1)),
        "jaxsal, target 1": Contender(lambda: checked(params, images, 1)),
    }


def _rows(case: str, params: Params, settings: Settings) -> list[dict[str, Any]]:
    contenders = _contenders(params)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(settings.rounds + 1):
        for name, (call, pause) in contenders.items():
            seconds[name].append(_per_call(call, settings.calls) - pause)
    rows = []
    for name, found in seconds.items():
        warm, plain = found[1:], seconds[PLAIN][1:]  # the first round compiles
        over = [a - b for a, b in zip(warm, plain, strict=True)]
        figures = {
            "median_us": statistics.median(warm),
            "least_us": min(warm),
            "over_plain_us": statistics.median(over),
            "least_over_plain_us": min(warm) - min(plain),
        }
        row = {"case": case, "contender": name, "arrays": len(jax.tree.leaves(params))}
        rows.append(row | {key: round(1e6 * value, 1) for key, value in figures.items()})
        print(_line(rows[-1]), flush=True)
    return rows


def _per_call(call: Callable[[], jax.Array], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(call())
    return (time.perf_counter() - begin) / calls


def _line(row: dict[str, Any]) -> str:
    name = f"{row['case']:<22}{row['contender']:<28}"
    least = f"least {row['least_us']:.1f}, {row['least_over_plain_us']:+.1f}"
    return f"{name}{row['median_us']:7.1f} us, {row['over_plain_us']:+.1f} over plain jax; {least}"
