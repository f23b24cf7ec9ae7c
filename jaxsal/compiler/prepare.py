"""From the arguments of a call to those of a program, checked on the way."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state

from jaxsal.compiler import checks, signatures
from jaxsal.compiler.callables import Node, Split, Value, concrete_options, join
from jaxsal.compiler.frameworks import pure
from jaxsal.compiler.model import check_model, returning_logits
from jaxsal.compiler.model_checks import ModelChecks
from jaxsal.compiler.outputs import output_of
from jaxsal.compiler.parameters import Parameters, Recent
from jaxsal.compiler.program import Spec
from jaxsal.rewrite.axes.spatial import checked


class Call(NamedTuple):
    """A checked call: what the program is compiled for, and what it is given.

    Attributes:
        spec: for one point at a time and no mesh; the executor replaces these.
        shared: parameters, array options, and one key if there is one.
        rows: arrays with one entry an example.
        size: B.
        classes: of an image that are explained one by one: one, where a pass serves all.
        signature: what of the parameters and images a compilation depends on.
        params: the parameters as one object, the same for the same arrays.
        verify: raises if a device, which was asked, found values that are not allowed.
    """

    spec: Spec
    shared: dict[str, Any]
    rows: dict[str, Any]
    size: int
    classes: int
    signature: Any
    params: Parameters
    verify: Callable[[], None]

    def class_chunk(self, planned: int) -> int:
        """Classes of an image at a time: as planned, or all, where a pass serves all."""
        return planned if self.classes > 1 else self.spec.classes

    @property
    def options(self) -> tuple[frozenset[str], dict[str, int]]:
        """The options that have an entry an image, and those that were read off them."""
        return frozenset(self.rows.get("each", ())), dict(self.spec.bounds)

    def check_options(self, names: frozenset[str], bounds: dict[str, int]) -> None:
        """Raises unless a program that was compiled for a call of these `options` takes this one.

        Raises:
            ValueError: others, or more in them than it was compiled for.
        """
        own, needs = self.options
        for name in sorted(own ^ names):
            raise ValueError(f"{name}: compiled {'with' if name in names else 'without'} this row")
        for name, need in needs.items():
            if need > bounds.get(name, need):
                most = bounds[name]
                raise ValueError(f"{name}: compiled for {most} at most, these images have more")

    @property
    def traced(self) -> bool:
        """Whether it is a part of a program that is being traced."""
        leaves = jax.tree.leaves((self.shared, self.rows))
        return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) or _staged()


class Prepare:
    """A model, a function of one example and its settings; called, it makes a `Call`."""

    def __init__(
        self,
        apply: Any,
        function: Any,
        options: Mapping[str, Any],
        *,
        objective: Any,
        rewrite: bool,
        dtype: Any,
        check: bool,
        output: Any,
        spatial_axes: Any = None,
        by_example: bool = False,
    ) -> None:
        checks.check_callables(apply, objective)
        self.output = output_of(output)
        functions = signatures.functions_of(
            function,
            options,
            complete=not by_example,
            role="metric" if by_example else "method",
        )
        self.points = any(signatures.accepts(f, "chunk") for f in functions)
        self.points = self.points and "chunk" not in options
        self._functions, self._options = functions, tuple(options)
        self._forward_only = not by_example and all(map(signatures.forward_only, functions))
        self._names = tuple(function) if isinstance(function, Mapping) else None
        called = zip(self._names or ("",), functions, strict=True)
        self._may_be_nan = frozenset(name for name, f in called if signatures.may_be_nan(f))
        self._open = any(signatures.missing_options(f, options) for f in functions)
        self.chunk = max(signatures.bound_chunk(f, options) for f in functions)
        self.keyed = [signatures.name_of(f) for f in functions if signatures.needs_key(f)]
        self._draws = bool(self.keyed) or any(signatures.accepts(f, "key") for f in functions)
        self._model = (apply, objective)
        names = [signatures.name_of(f) for f in functions if signatures.differentiates(f)]
        self._dtype = checks.check_dtype(dtype)
        self._checks = ModelChecks(
            objective or self.output.score, self._dtype, [] if by_example else names
        )
        self._models: dict[Any, Callable[..., Any]] = {}
        self._parts, self._arrays, self._kept = _taken_apart(apply, function, objective, options)
        self._rewrite, self.check = rewrite, check
        self._axes = checked(spatial_axes)
        self._outputs: dict[Any, int] = {}
        self._recent = Recent()

    def arguments(self) -> tuple[tuple[Any, Any], dict[str, Any]]:
        """What it was made of: the model and the function, and everything else by its name."""
        apply, function, objective, options = join(self._parts, self._arrays)
        settings = {"objective": objective, "rewrite": self._rewrite, "dtype": self._dtype}
        settings |= {"check": self.check, "output": self.output.name, "spatial_axes": self._axes}
        return (apply, function), {**settings, **options}

    def check_model(self, call: Call) -> None:
        """Holds the model to what maps are to mean, where values are checked; see `ModelChecks`.

        Raises:
            ValueError: a batch's logits are not the images' own.
        """
        if self.check and not call.traced:
            params, images = call.shared["params"], call.rows["image"]
            with pure():
                model = self._model_of(call.spec.params)
                self._checks(call.signature[0], model, params, images)

    def _model_of(self, whole: Node | None) -> Callable[..., Any]:
        """The model as one function of arrays and images, for JAX to trace once."""
        if whole not in self._models:
            self._models[whole] = returning_logits(self._model[0], whole)
        return self._models[whole]

    def ordered(self, results: Any) -> Any:
        """The results of a dict of functions in the order given, which JAX sorts."""
        return results if self._names is None else {name: results[name] for name in self._names}

    def __call__(
        self,
        params: Any,
        rows: dict[str, Any],
        targets: Any,
        key: Any,
        each: Mapping[str, Any] | None = None,
    ) -> Call:
        """A call of these arguments, each held against what is expected; nothing is compiled.

        Args:
            params, targets, key: as of an explainer's call.
            rows: `image`, and a metric's `map`.
            each: options with an entry an image.
        """
        rows = self._checked_rows(rows, each or {})
        count, rank = rows["image"].shape[0], len(rows["image"].shape) - 1
        axes = checked(self._axes, rank)
        mode = checks.check_targets(targets, count)
        given = checks.check_key(key, count, self.keyed)
        given = given if self._draws else checks.check_key(None, count, [])  # one argument less
        known, params = self._recent(params)
        signature = _signature(known, rows)
        classes = self._classes(signature, mode, known.whole, params, rows["image"])
        if "map" in rows and mode == "all":
            checks.check_maps(rows["map"], count, classes)
        verify = _nothing
        if self.check:
            verify = checks.check_values(rows["image"], targets, classes)
        shared = {"params": params, "arrays": self._arrays}
        if mode == "given":
            rows["target"] = _targets(targets, count)
        if given == "each":
            rows["key"] = key
        elif given == "one":
            shared["key"] = key
            rows["index"] = np.arange(count, dtype=np.int32)
        spec = self._spec(rows, known.whole, classes, mode, axes)
        apart = classes if mode == "all" and not self._forward_only else 1
        signature = (signature, mode, given, spec.bounds)
        return Call(spec, shared, rows, count, apart, signature, known, verify)

    def _checked_rows(self, rows: dict[str, Any], each: Mapping[str, Any]) -> dict[str, Any]:
        """The rows of a call as arrays, with the options that have an entry an image."""
        words = {"image": "images", "map": "maps"}
        rows = {name: checks.in_memory(words[name], x) for name, x in rows.items()}
        checks.check_images(rows["image"])
        count = rows["image"].shape[0]
        if each or self._open:
            signatures.check_rows(self._functions, self._options, each)
        if each:
            rows["each"] = {name: checks.check_row(name, x, count) for name, x in each.items()}
        if "map" in rows:
            checks.check_maps(rows["map"], count, None)
        return rows

    def _classes(
        self, signature: Any, mode: str, whole: Node | None, params: Any, images: Any
    ) -> int:
        """How many targets the model has; it is looked at once for each signature."""
        if signature not in self._outputs:
            model = self._model_of(whole)
            self._outputs[signature] = check_model(
                *self._model, params, images, self._dtype, self.output, model, whole
            )
        if mode == "predicted":
            self.output.check_predicts(self._outputs[signature])
        return self.output.classes(self._outputs[signature])

    def _spec(
        self, rows: dict[str, Any], whole: Node | None, classes: int, mode: str, axes: Any
    ) -> Spec:
        """What the program of a call is compiled for, before its plan and its devices are known."""
        known = _known(rows)
        return Spec(
            parts=self._parts,
            params=whole,
            classes=classes,
            output=self.output,
            targets=mode,
            chunk=1,
            class_chunk=classes,
            images=None,
            dtype=self._dtype,
            rewrite=self._rewrite,
            bounds=signatures.bounds(self._functions, self._options, known) if known else (),
            platform=jax.default_backend(),
            spatial_axes=axes,
            may_be_nan=self._may_be_nan,
        )


def _taken_apart(
    apply: Any, function: Any, objective: Any, options: Mapping[str, Any]
) -> tuple[Node, list[Any], list[Any]]:
    """What a program is compiled for, the arrays it is given, and what has to live meanwhile."""
    split = Split()
    several = isinstance(function, Mapping)
    concrete = () if several else concrete_options(function)
    parts = (
        split.reference(apply),
        split.structure(dict(function) if several else function),
        Value(None) if objective is None else split.reference(objective),
        split.structure(dict(options), concrete),
    )
    return Node(tuple, parts), [_own(x) for x in split.arrays], split.kept


def _own(array: Any) -> Any:
    """A copy: what happens to the caller's array later is not the explainer's business."""
    if isinstance(array, np.ndarray):
        array = np.array(array)
        array.flags.writeable = False
    return array


_EAGER = get_opaque_trace_state()


def _staged() -> bool:
    """Whether whatever is computed now becomes a part of a program, constants too (under jit)."""
    if get_opaque_trace_state() == _EAGER:
        return False
    return isinstance(jax.lax.full((), 0.0), jax.core.Tracer)


def _known(rows: dict[str, Any]) -> dict[str, Any]:
    """The row options of a call that this process can look at."""
    return {
        name: x
        for name, x in rows.get("each", {}).items()
        if isinstance(x, np.ndarray) or (checks.is_settled(x) and x.is_fully_addressable)
    }


def _nothing() -> None:
    """No value is looked at."""


def _signature(params: Parameters, rows: dict[str, Any]) -> Any:
    columns, names = jax.tree.flatten(rows)
    return params, names, tuple((x.shape[1:], x.dtype) for x in columns)


def _targets(targets: Any, count: int) -> Any:
    """int32, one an image; what int32 cannot hold is no class, and stays none."""
    if isinstance(targets, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((count,), jnp.int32, sharding=targets.sharding)
    if isinstance(targets, jax.core.Tracer):
        return _as_int32(targets, count)
    if isinstance(targets, jax.Array) and targets.dtype == jnp.int32 and targets.shape == (count,):
        return checks.in_memory("targets", targets)
    if isinstance(targets, jax.Array) and not targets.is_fully_addressable:
        return _as_int32(targets, count)
    values = np.asarray(targets).astype(np.int64)  # unsigned ones that do not fit turn negative
    values = np.where(values > np.iinfo(np.int32).max, -1, values).astype(np.int32)
    return np.broadcast_to(values, (count,))


def _as_int32(targets: Any, count: int) -> Any:
    largest = min(np.iinfo(np.int32).max, jnp.iinfo(targets.dtype).max)
    values = jnp.where((targets < 0) | (targets > largest), -1, targets.astype(jnp.int32))
    return jnp.broadcast_to(values, (count,))
