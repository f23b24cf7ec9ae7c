"""Each rewrite on and off: the time of a program as it is by default, and with one more or less.

A row is a workload (logits, a gradient, integrated gradients, a training step, an epoch as one
`scan`) and a rewrite that replaces something in it, with the largest difference of the two results.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxsal
from benchmarks.timing import compiled, difference, interleaved, ratio, spread
from jaxsal.models import CNN, ResNet
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


class Workload(NamedTuple):
    """A program, its arguments, and whether its affine prefix is taken out."""

    fun: Callable[..., Any]
    args: tuple[Any, ...]
    affine_prefix: bool = False


SETTINGS = {
    "cpu": Settings(),
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
    every = _workloads(settings)
    rows = [row for name in settings.workloads for row in _rows(name, every[name], settings)]
    print(table(rows))
    return {"rows": rows}


def _rows(name: str, workload: Workload, settings: Settings) -> Iterator[dict[str, Any]]:
    """The program as it is by default, beside it without each rewrite, or with one that is off.

    No row where that is the same program: another rewrite makes what this one gives superfluous.
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


def _workloads(settings: Settings) -> dict[str, Workload]:
    model = CNN(classes=4, widths=settings.widths, norm=False)
    apply: Callable[..., Any] = model.apply
    shape = (settings.batch, settings.image_size, settings.image_size, 1)
    images = jnp.maximum(jax.random.normal(jax.random.key(0), shape), 0.0)
    labels = jnp.arange(settings.batch) % 4
    params = model.init(jax.random.key(1), images[:1])
    few = images[: max(1, settings.batch // 4)]

    def explain(
        method: Any, params: Any, images: Any, *, apply: Any = apply, rewrite: bool = True
    ) -> Any:
        def one(image: Any) -> Any:
            def score(image: Any) -> Any:
                return apply(params, image[None])[0, 1]

            score.rewrite = rewrite  # type: ignore[attr-defined]
            return method(score, image)

        return jax.vmap(one)(images)

    def loss(params: Any, images: Any, labels: Any) -> Any:
        chances = jax.nn.log_softmax(apply(params, images))
        return -jnp.take_along_axis(chances, labels[:, None], 1).mean()

    def step(params: Any, images: Any, labels: Any) -> Any:
        slope = jax.grad(loss)(params, images, labels)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, slope)

    def epoch(params: Any, batches: Any, labels: Any) -> Any:
        return jax.lax.scan(lambda p, b: (step(p, *b), None), params, (batches, labels))[0]

    path = functools.partial(jaxsal.integrated_gradients, steps=settings.steps)
    # Its affine prefix is dear enough to be taken out: 294 operations a value.
    stem = ResNet(classes=4, blocks=(1,), width=settings.widths[0])
    coloured = jnp.repeat(few, 3, axis=-1)
    weights = jax.jit(stem.init)(jax.random.key(2), coloured[:1])
    residual = ResNet(classes=4, blocks=(2, 2), width=settings.widths[0])
    deep = jax.jit(residual.init)(jax.random.key(3), coloured[:1])
    halves = few.reshape(2, -1, *shape[1:]) if len(few) > 1 else images[:2, None]
    return {
        "logits": Workload(apply, (params, images)),
        "gradient": Workload(functools.partial(explain, jaxsal.gradient), (params, images)),
        "gradient, ResNet": Workload(
            functools.partial(explain, jaxsal.gradient, apply=residual.apply), (deep, coloured)
        ),
        "integrated gradients": Workload(functools.partial(explain, path), (params, few)),
        "integrated gradients, 7x7 stem": Workload(
            functools.partial(explain, path, apply=stem.apply),
            (weights, coloured),
            affine_prefix=True,
        ),
        "training step": Workload(step, (params, images, labels)),
        "epoch": Workload(
            epoch,
            (params, halves, jnp.arange(halves.shape[0] * halves.shape[1]).reshape(2, -1) % 4),
        ),
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
