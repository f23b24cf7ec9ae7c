"""Calls of the library with one argument in the place of which stands something else."""

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxsal
from jaxsal import render
from jaxsal.compiler import processes
from jaxsal.data import phantom, pipeline
from jaxsal.metrics import classification
from jaxsal.training import checkpoint, parameter_files
from tests import toy
from tests.fuzz.values import ANY, EVERY, good

SEGMENTS = np.arange(64).reshape(8, 8) // 16
NEEDED: dict[str, dict[str, Any]] = {
    "expected_gradients": {"baselines": good(2), "samples": 2},
    "deep_lift_shap": {"baselines": good(2)},
    "occlusion": {"window": 4},
    "feature_ablation": {"segments": SEGMENTS},
    "rise": {"samples": 4, "grid": 2},
    "integrated_gradients": {"steps": 3},
    "smoothgrad": {"samples": 2},
    "smoothgrad_squared": {"samples": 2},
    "vargrad": {"samples": 2},
}


class Case(NamedTuple):
    """One malformed input.

    Attributes:
        name: of the function, the argument and the value.
        call: makes the call; it gets a folder of its own.
        arguments: one of these a clear message names.
    """

    name: str
    call: Callable[[Path], Any]
    arguments: tuple[str, ...]


def swapped(
    name: str,
    function: Callable[..., Any],
    given: dict[str, Callable[[Path], Any]],
    values: dict[str, Callable[[], Any]] = EVERY,
    only: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
) -> Iterator[Case]:
    """A case for each argument and each value in the place of it."""
    for argument in only or given:
        for label, value in values.items():

            def call(place: Path, argument: str = argument, value: Any = value) -> Any:
                rest = {k: make(place) for k, make in given.items() if k != argument}
                return jax.block_until_ready(function(**rest, **{argument: value()}))

            yield Case(f"{name}({argument}={label})", call, (*given, *also))


def fixed(value: Any) -> Callable[[Path], Any]:
    return lambda place: value


@functools.cache
def prepared(name: str) -> Any:
    function = {**jaxsal.METHODS}.get(name)
    if function is None:
        function = jaxsal.COMBINATORS[name](jaxsal.gradient, **NEEDED.get(name, {}))
        return jaxsal.explainer(toy.apply, function)
    return jaxsal.explainer(toy.apply, function, **NEEDED.get(name, {}))


BATCH = {
    "params": fixed(toy.params()),
    "images": fixed(good()),
    "targets": fixed(np.array([0, 1, 2])),
}


def explaining() -> Iterator[Case]:
    """Batches to explainers of several kinds."""
    for name in ("gradient", "grad_cam", "smoothgrad"):
        given = {**BATCH, "key": fixed(jax.random.key(0))}
        yield from swapped(f"explain {name}", prepared(name), given)
    whole = prepared("gradient")
    for kind in ("record", "identity", "describe", "lower"):
        yield from swapped(f"explain.{kind}", getattr(whole, kind), BATCH, only=("images",))


def making() -> Iterator[Case]:
    """What `explainer` is given: model, method, settings, every option of every method."""

    def make(**given: Any) -> Any:
        apply, method = given.pop("apply"), given.pop("method")
        explain = jaxsal.explainer(apply, method, **given)
        return explain(toy.params(), good(), 0, key=jax.random.key(0))

    base = {"apply": fixed(toy.apply), "method": fixed(jaxsal.gradient)}
    settings = ("objective", "batch_size", "mesh", "dtype")
    extra = {**base, **{name: fixed(None) for name in settings}, "batch_size": fixed("auto")}
    yield from swapped("explainer", make, extra, ANY)
    for name, function in {**jaxsal.METHODS, **jaxsal.COMBINATORS}.items():
        given = {
            k: fixed(v.default)
            for k, v in inspect.signature(function).parameters.items()
            if v.kind is v.KEYWORD_ONLY and k not in ("key", "chunk")
        }
        given |= {k: fixed(v) for k, v in NEEDED.get(name, {}).items()}

        def run(name: str = name, function: Any = function, **options: Any) -> Any:
            if name in jaxsal.COMBINATORS:
                return make(apply=toy.apply, method=function(jaxsal.gradient, **options))
            return make(apply=toy.apply, method=function, **options)

        yield from swapped(name, run, given, ANY)


def measuring() -> Iterator[Case]:
    """Metrics through the evaluator, and those of a classifier."""
    for name in ("deletion", "infidelity"):
        evaluate = jaxsal.evaluator(toy.apply, jaxsal.METRICS[name])
        given = {**BATCH, "maps": fixed(good()), "key": fixed(jax.random.key(0))}
        yield from swapped(
            f"evaluate {name}", evaluate, given, only=("images", "maps", "targets"), also=("map",)
        )
    report = {
        "logits": fixed(np.eye(3)),
        "labels": fixed(np.arange(3)),
        "classes": fixed(("a", "b", "c")),
    }
    yield from swapped("classification_report", classification.classification_report, report)


def drawing() -> Iterator[Case]:
    """Pictures."""

    def grid(**given: Any) -> bytes:
        return render.png(render.relevance_grid(**given), dpi=20)

    def one(**given: Any) -> bytes:
        return render.png(render.explanation(**given), dpi=20)

    masks = np.zeros((3, 8, 8), bool)
    given = {
        "images": fixed(good()),
        "masks": fixed(masks),
        "maps": fixed({"m": good()}),
        "percentile": fixed(99.0),
        "rows": fixed(("a", "b", "c")),
    }
    yield from swapped("relevance_grid", grid, given)
    single = {"image": fixed(good()[0]), "maps": fixed({"m": good()[0]}), "mask": fixed(masks[0])}
    yield from swapped("explanation", one, single)


def storing() -> Iterator[Case]:
    """Sources into a store."""
    given = {
        "explain": fixed(prepared("gradient")),
        "params": BATCH["params"],
        "source": BATCH["images"],
        "out": lambda place: place / "out",
        "targets": BATCH["targets"],
        "count": fixed(3),
        "chunk": fixed(2),
        "dtype": fixed("float32"),
        "key": fixed(None),
        "transform": fixed(None),
        "shard": fixed(None),
        "about": fixed(None),
    }

    def store(**arguments: Any) -> Any:
        return jaxsal.explain_dataset(**arguments)

    yield from swapped("explain_dataset", store, given, only=("explain", "params", "source"))
    no_path = {label: value for label, value in ANY.items() if label != "text"}
    yield from swapped("explain_dataset", store, given, no_path, only=("out",))
    rest = tuple(name for name in given if name not in ("explain", "params", "source", "out"))
    yield from swapped("explain_dataset", store, given, ANY, only=rest)


def preparing() -> Iterator[Case]:
    """Data sets, devices, settings of a training."""
    yield from swapped(
        "phantom.dataset",
        phantom.dataset,
        {"seed": fixed(0), "count": fixed(2), "size": fixed(32)},
        ANY,
        only=("count", "size"),
    )
    folder = {"data_dir": lambda place: place, "image_size": fixed(16)}
    yield from swapped("pipeline.folder", pipeline.folder, folder, ANY)
    yield from swapped("pipeline.figshare", pipeline.figshare, folder, ANY, only=("image_size",))
    yield from swapped(
        "local_devices", processes.local_devices, {"count": fixed(1)}, ANY, also=("devices",)
    )
    yield from swapped(
        "checkpoint.load", checkpoint.load, {"folder": fixed(None)}, ANY, also=("checkpoint",)
    )
    yield from swapped(
        "read_params", parameter_files.read_params, {"path": fixed(None)}, ANY, also=("params",)
    )


def cases() -> list[Case]:
    """All of them, in a fixed order."""
    kinds = (explaining, making, measuring, drawing, storing, preparing)
    return [case for kind in kinds for case in kind()]
