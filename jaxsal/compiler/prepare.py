"""Turns the arguments of a call into a `Call`: what to compute, and the checked arrays."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import get_opaque_trace_state

from jaxsal.compiler import checks, signatures
from jaxsal.compiler.addressable import is_addressable, is_concrete
from jaxsal.compiler.arrays import as_array, as_arrays
from jaxsal.compiler.callables import Node, Split, Value, assemble, concrete_options
from jaxsal.compiler.frameworks import pure
from jaxsal.compiler.model import ModelShape, check_model, returning_logits
from jaxsal.compiler.model_checks import ModelChecks
from jaxsal.compiler.outputs import output_of
from jaxsal.compiler.parameters import Arrays, ParameterCache, Parameters, Signature
from jaxsal.compiler.plan import Plan
from jaxsal.compiler.program import Spec
from jaxsal.compiler.signatures import Function
from jaxsal.compiler.targets import as_rows, check_targets
from jaxsal.compiler.values import check_values
from jaxsal.rewrite.axes.spatial import checked
from jaxsal.types import ApplyFn, ArrayOrShape, Objective, Params, Tree


class Call(NamedTuple):
    """A checked call: what is computed, and the arrays that it is computed of.

    Attributes:
        spec: what the program computes.
        shared: parameters, array options, and one key if there is one.
        rows: arrays with one entry an example.
        size: B.
        classes: of an image that are explained one by one: one, where a pass serves all.
        signature: what of the parameters and images a compilation depends on.
        params: the parameters as one object, the same for the same arrays.
        traced: whether the call is a part of a program that is being traced.
        verify: raises if a device, which was asked, found values that are not allowed.
    """

    spec: Spec
    shared: dict[str, Tree]
    rows: dict[str, Tree]
    size: int
    classes: int
    signature: Hashable
    params: Parameters
    traced: bool
    verify: Callable[[], None]

    def class_chunk(self, plan: Plan) -> int:
        """Classes of an image at a time: as planned, or all, where a pass serves all."""
        return plan.class_chunk if self.classes > 1 else self.spec.classes

    @property
    def maps(self) -> int:
        """Maps of an image, each of which a metric is of."""
        found = self.rows.get("map")
        return len(found) if isinstance(found, dict) else 1

    @property
    def inputs(self) -> Hashable:
        """What of the parameters and images the model's own program depends on."""
        return self.signature[0]  # type: ignore[index]

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


class Kind(NamedTuple):
    """What of a `Call` is the same for all calls that one program serves."""

    spec: Spec
    classes: int
    signature: Hashable


class Prepare:
    """Makes a `Call` of the arguments of an explainer's or evaluator's call."""

    def __init__(
        self,
        apply: object,
        function: Any,
        options: Mapping[str, Any],
        *,
        objective: object,
        rewrite: bool,
        dtype: object,
        check: bool,
        output: object,
        spatial_axes: object = None,
        by_example: bool = False,
    ) -> None:
        """Checks the model and the function, and takes them apart.

        Args:
            apply, objective, rewrite, dtype, check, output, spatial_axes: as of `explainer`.
            function: a method or metric, or a dict of them.
            options: of the only function.
            by_example: whether the function is a metric: of each example's own map, and options.
        """
        self._model = checks.check_callables(apply, objective)
        self.output = output_of(output)
        functions = signatures.functions_of(
            function,
            options,
            complete=not by_example,
            role="metric" if by_example else "method",
        )
        pointwise = [f for f in functions if signatures.accepts(f, "chunk")]
        self.points = bool(pointwise) and "chunk" not in options
        self.windows = self.points and all(map(signatures.shares_windows, pointwise))
        self.varies = any(signatures.refined(f, options) for f in functions)
        self._functions, self._options = functions, tuple(options)
        self._forward_only = not by_example and all(map(signatures.forward_only, functions))
        self._names = tuple(function) if isinstance(function, Mapping) else None
        called = zip(self._names or ("",), functions, strict=True)
        self._may_be_nan = frozenset(name for name, f in called if signatures.may_be_nan(f))
        self._open = any(signatures.missing_options(f, options) for f in functions)
        self.chunk = max(signatures.bound_chunk(f, options) for f in functions)
        self.keyed = [signatures.name_of(f) for f in functions if signatures.needs_key(f)]
        self._draws = bool(self.keyed) or any(signatures.accepts(f, "key") for f in functions)

        names = [signatures.name_of(f) for f in functions if signatures.differentiates(f)]
        self._dtype = checks.check_dtype(dtype)
        self._checks = ModelChecks(
            self._model[1] or self.output.score, self._dtype, [] if by_example else names
        )
        self._models: dict[Node | None, ApplyFn] = {}
        self._parts, self._arrays, self._kept = _taken_apart(*self._model, function, options)
        self._rewrite, self.check = rewrite, check
        self._axes = checked(spatial_axes)
        self._shapes: dict[Hashable, ModelShape] = {}
        self._kinds: dict[Hashable, Kind] = {}
        self._parameters = ParameterCache()

    def arguments(self) -> tuple[tuple[ApplyFn, Tree], dict[str, Any]]:
        """The arguments of `explainer` or `evaluator`, positional and by name."""
        apply, function, objective, options = assemble(self._parts, self._arrays)
        settings = {"objective": objective, "rewrite": self._rewrite, "dtype": self._dtype}
        settings |= {"check": self.check, "output": self.output.name, "spatial_axes": self._axes}
        return (apply, function), {**settings, **options}

    def check_model(self, call: Call) -> None:
        """Checks that maps of the model can mean something, where values are checked.

        Raises:
            ValueError: a batch's logits are not the images' own.
        """
        images = call.rows["image"]
        if self.check and not call.traced and not self._checks.done(call.inputs, images):
            model = self._model_of(call.spec.params)
            with pure():
                self._checks(call.inputs, model, call.shared["params"], images)

    def _model_of(self, whole: Node | None) -> ApplyFn:
        """The model as one function of arrays and images, for JAX to trace once."""
        if whole not in self._models:
            self._models[whole] = returning_logits(self._model[0], whole)
        return self._models[whole]

    def by_function(self, results: Tree) -> dict[str, Tree]:
        """The results of each function by its name."""
        if self._names is None:
            return {signatures.name_of(self._functions[0]): results}
        return {name: results[name] for name in self._names}

    def ordered(self, results: Tree, maps: Tree = None) -> Tree:
        """The results of a dict of functions (and maps) in the order given, which JAX sorts."""
        if isinstance(maps, dict):
            return {name: self.ordered(results[name]) for name in maps}
        return results if self._names is None else self.by_function(results)

    def __call__(
        self,
        params: Params,
        rows: dict[str, Tree],
        targets: object,
        key: object,
        each: Mapping[str, Tree] | None = None,
        *,
        record: bool = False,
        flagged: bool = False,
    ) -> Call:
        """Checks the arguments of a call; nothing is compiled.

        Args:
            params, targets, key: as of an explainer's call.
            rows: `image`, and a metric's `map`.
            each: options with an entry an image.
            record: whether targets and logits are wanted with the results.
            flagged: whether to report results that are not finite; only where values are checked
                and the call is not part of a larger program.
        """
        rows = self._checked_rows(rows, each or {})
        images = rows["image"]
        count = images.shape[0]
        mode, given = check_targets(targets, count)
        keys = checks.check_key(key, count, self.keyed)
        keys = keys if self._draws else "none"  # one argument less
        known, arrays = self._parameters(params)
        traced = known.traced or _is_traced([rows, self._arrays, given, key])
        flagged = flagged and self.check and not traced
        kind = self._kind(known.signature, rows, mode, keys, arrays, record, flagged)
        spec = kind.spec
        if "map" in rows and mode == "all":
            checks.check_maps(rows["map"], count, spec.classes)
        verify = check_values(images, given, spec.classes) if self.check else _nothing
        shared: dict[str, Tree] = {"params": arrays, "arrays": self._arrays}
        if given is not None:
            rows["target"] = as_rows(given, count)
        if keys == "each":
            rows["key"] = key
        elif keys == "one":
            shared["key"] = key
            rows["index"] = np.arange(count, dtype=np.int32)
        return Call(spec, shared, rows, count, kind.classes, kind.signature, known, traced, verify)

    def _kind(
        self,
        known: Signature,
        rows: dict[str, Tree],
        mode: str,
        keys: str,
        params: Arrays,
        record: bool,
        flagged: bool,
    ) -> Kind:
        """What a call computes: the same object for the same structure, shapes and dtypes."""
        columns, names = jax.tree.flatten(rows)
        inputs = known, names, tuple((x.shape[1:], x.dtype) for x in columns)
        bounds = self._bounds(rows)
        wide = jax.config.jax_enable_x64  # whether NumPy's 64 bits take as much memory in JAX
        signature = inputs, mode, keys, bounds, record, wide
        found = self._kinds.get((signature, flagged))
        if found is None:
            shape = self._shape((inputs, wide), mode, known.whole, params, rows["image"])
            classes = self.output.classes(shape.outputs)
            spec = Spec(
                parts=self._parts,
                params=known.whole,
                classes=classes,
                output=self.output,
                targets=mode,
                dtype=self._dtype,
                computes_in=shape.dtype,
                rewrite=self._rewrite,
                spatial_axes=checked(self._axes, len(rows["image"].shape) - 1),
                bounds=bounds,
                may_be_nan=self._may_be_nan,
                record=record,
                flagged=flagged,
            )
            apart = classes if mode == "all" and not self._forward_only else 1
            found = self._kinds[signature, flagged] = Kind(spec, apart, signature)
        return found

    def _checked_rows(self, rows: dict[str, Tree], each: Mapping[str, Tree]) -> dict[str, Tree]:
        """The rows of a call as arrays, with the options that have an entry an image."""
        rows = {**rows, "image": as_array("images", rows["image"])}
        checks.check_images(rows["image"])
        count = rows["image"].shape[0]
        if each or self._open:
            signatures.check_rows(self._functions, self._options, each)
        if each:
            rows["each"] = {name: checks.check_row(name, x, count) for name, x in each.items()}
        if "map" in rows:
            rows["map"] = as_arrays("maps", rows["map"])
            checks.check_maps(rows["map"], count, None)
        return rows

    def _shape(
        self,
        signature: Hashable,
        mode: str,
        whole: Node | None,
        params: Arrays,
        images: ArrayOrShape,
    ) -> ModelShape:
        """What the model's program tells; it is looked at once for each signature."""
        if signature not in self._shapes:
            model = self._model_of(whole)
            self._shapes[signature] = check_model(
                *self._model, params, images, self._dtype, self.output, model, whole
            )
        if mode == "predicted":
            self.output.check_predicts(self._shapes[signature].outputs)
        return self._shapes[signature]

    def _bounds(self, rows: dict[str, Tree]) -> tuple[tuple[str, int], ...]:
        """Options read off the rows that this process can look at."""
        readable = {
            name: x
            for name, x in rows.get("each", {}).items()
            if isinstance(x, np.ndarray) or (is_concrete(x) and is_addressable(x))
        }
        if not readable:
            return ()
        return signatures.bounds(self._functions, self._options, readable)


def _taken_apart(
    apply: ApplyFn,
    objective: Objective | None,
    function: Function | Mapping[str, Function],
    options: Mapping[str, object],
) -> tuple[Node, list[np.ndarray | jax.Array], list[object]]:
    """The structure of the functions and options, their arrays, and objects to keep alive."""
    split = Split()
    made = dict(function) if isinstance(function, Mapping) else function
    concrete = () if isinstance(made, dict) else concrete_options(made)
    parts = (
        split.reference(apply),
        split.structure(made),
        Value(None) if objective is None else split.reference(objective),
        split.structure(dict(options), concrete),
    )
    return Node(tuple, parts), [_own(x) for x in split.arrays], split.kept


def _own(array: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """A copy of an array that the caller could change later."""
    if isinstance(array, np.ndarray):
        array = np.array(array)
        array.flags.writeable = False
    return array


_EAGER = get_opaque_trace_state()


def _is_traced(arrays: Tree) -> bool:
    """Whether a computation with these arrays becomes a part of a program that is being traced."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arrays)) or _is_staged()


def _is_staged() -> bool:
    """Whether any computation now becomes a part of a program, of constants too (under jit)."""
    if get_opaque_trace_state() == _EAGER:
        return False
    return isinstance(jax.lax.full((), 0.0), jax.core.Tracer)


def _nothing() -> None:
    """No value is looked at."""
