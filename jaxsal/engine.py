"""The explainer and the evaluator: the only place where vmap, jit, chunks and shards meet a method."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.callables import split
from jaxsal.checks import (
    check_images,
    check_key,
    check_maps,
    check_model,
    check_targets,
    check_values,
)
from jaxsal.program import Spec, batch, compiled
from jaxsal.signatures import check_options, name_of, needs_key
from jaxsal.types import ApplyFn, Method, Metric, Objective

CAP = {"cpu": 32}


def explainer(
    apply: ApplyFn,
    method: Method | Mapping[str, Method],
    *,
    objective: Objective | None = None,
    batch_size: int | str = "auto",
    mesh: Any = None,
    rewrite: bool = True,
    dtype: Any = None,
    check: bool = True,
    **options: Any,
) -> "Explainer":
    """Compiles a model and a method."""
    return Explainer(apply, method, options, objective, batch_size, mesh, rewrite, dtype, check)


def evaluator(
    apply: ApplyFn,
    metric: Metric | Mapping[str, Metric],
    *,
    objective: Objective | None = None,
    batch_size: int | str = "auto",
    mesh: Any = None,
    rewrite: bool = True,
    dtype: Any = None,
    check: bool = True,
    **options: Any,
) -> "Evaluator":
    """Compiles a model and a metric of its maps."""
    return Evaluator(apply, metric, options, objective, batch_size, mesh, rewrite, dtype, check)


class Engine:
    """A model and a function of one example, compiled over batches."""

    def __init__(
        self,
        apply: ApplyFn,
        function: Any,
        options: Mapping[str, Any],
        objective: Objective | None,
        batch_size: int | str,
        mesh: Any,
        rewrite: bool,
        dtype: Any,
        check: bool,
    ) -> None:
        if isinstance(function, Mapping):
            if options:
                raise TypeError(
                    f"{next(iter(options))}: with a dict, bind options with functools.partial"
                )
            function = dict(function)
        functions = list(function.values()) if isinstance(function, dict) else [function]
        for each in functions:
            check_options(each, options)
        self._keyed = [name_of(each) for each in functions if needs_key(each)]
        self._model = (apply, objective)
        self._parts, self._arrays = split((apply, function, objective, dict(options)))
        self._batch_size, self._mesh, self._check = batch_size, mesh, check
        self._dtype = None if dtype is None else jnp.dtype(dtype)
        self._rewrite = rewrite
        self._classes: dict[Any, int] = {}

    def _run(self, params: Any, rows: dict[str, Any], targets: Any, key: Any) -> Any:
        check_images(rows["image"])
        count = rows["image"].shape[0]
        if "map" in rows:
            check_maps(rows["map"], count)
        mode = check_targets(targets, count)
        given = check_key(key, count, self._keyed)
        classes = self._count_classes(params, rows["image"])
        if self._check:
            check_values(rows["image"], targets, classes)
        shared = {"params": params, "arrays": self._arrays}
        if mode == "given":
            rows["target"] = _targets(targets, count)
        if given == "each":
            rows["key"] = key
        elif given == "one":
            shared["key"] = key
            rows["index"] = np.arange(count, dtype=np.int32)
        traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((shared, rows)))
        make = functools.partial(
            Spec,
            parts=self._parts,
            classes=classes,
            targets=mode,
            dtype=self._dtype,
            rewrite=self._rewrite,
            platform=jax.default_backend(),
        )
        size = CAP.get(jax.default_backend(), 512)
        size = size if self._batch_size == "auto" else self._batch_size
        if traced:
            images = None if self._batch_size == "auto" else size
            chunk = max(1, size // min(size, count))
            return batch(make(chunk=chunk, images=images), shared, rows)
        images = min(size, 1 << (count - 1).bit_length())
        run = compiled(make(chunk=max(1, size // images), images=None))
        parts = [
            run(shared, jax.tree.map(lambda x: _rows(x, start, images), rows))
            for start in range(0, count, images)
        ]
        if len(parts) == 1 and images == count:
            return parts[0]
        return jax.tree.map(lambda *xs: jnp.concatenate(xs)[:count], *parts)

    def _count_classes(self, params: Any, images: Any) -> int:
        leaves, tree = jax.tree.flatten(params)
        leaves = [x if hasattr(x, "dtype") else np.asarray(x) for x in leaves]
        signature = (tree, images.shape[1:], images.dtype, *((x.shape, x.dtype) for x in leaves))
        if signature not in self._classes:
            self._classes[signature] = check_model(
                *self._model, jax.tree.unflatten(tree, leaves), images, self._dtype
            )
        return self._classes[signature]


class Explainer(Engine):
    """What `explainer` returns: `explain(params, images, targets=None, *, key=None) -> maps`."""

    def __call__(self, params: Any, images: Any, targets: Any = None, *, key: Any = None) -> Any:
        return self._run(params, {"image": images}, targets, key)


class Evaluator(Engine):
    """What `evaluator` returns: `evaluate(params, images, maps, targets=None, *, key=None) -> values`."""

    def __call__(
        self, params: Any, images: Any, maps: Any, targets: Any = None, *, key: Any = None
    ) -> Any:
        return self._run(params, {"image": images, "map": maps}, targets, key)


def _targets(targets: Any, count: int) -> Any:
    if isinstance(targets, jax.core.Tracer | jax.Array):
        return jnp.broadcast_to(jnp.where(targets < 0, -1, targets).astype(jnp.int32), (count,))
    return np.broadcast_to(np.asarray(targets, np.int32), (count,))


def _rows(values: Any, start: int, size: int) -> Any:
    """Rows [start, start + size), the last one repeated where they end."""
    if start == 0 and values.shape[0] == size:
        return values
    return values[np.minimum(np.arange(start, start + size), values.shape[0] - 1)]
