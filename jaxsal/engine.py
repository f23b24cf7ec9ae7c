"""The explainer and the evaluator: a model and a method made into one compiled function.

Arguments are checked by hand, with errors that name them, since users have no other check. The
tests' run-time type checker would raise first, and is told to leave this file alone.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import jax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from jaxsal.common.spelling import unknown
from jaxsal.compiler import results
from jaxsal.compiler.batch_size import BatchSize
from jaxsal.compiler.description import axes_of, describe, layers, program
from jaxsal.compiler.execute import Executor
from jaxsal.compiler.identity import identity
from jaxsal.compiler.lowering import Lowered
from jaxsal.compiler.map_independence import independent, warn_independent
from jaxsal.compiler.outputs import Output
from jaxsal.compiler.placement import Placement
from jaxsal.compiler.prepare import Call, Prepare
from jaxsal.compiler.program import Explanation
from jaxsal.compiler.progress import bar_of
from jaxsal.compiler.readable import as_call
from jaxsal.methods import METHODS
from jaxsal.metrics import METRICS
from jaxsal.types import (
    ApplyFn,
    Batch,
    Keys,
    Method,
    Metric,
    Objective,
    Params,
    Results,
    SpatialAxes,
    Targets,
    Tree,
)

Made = TypeVar("Made")


def explainer(
    apply: ApplyFn,
    method: Method | str | Mapping[str, Method | str],
    *,
    objective: Objective | None = None,
    batch_size: int | str = "auto",
    mesh: Mesh | None = None,
    rewrite: bool = True,
    dtype: DTypeLike | None = None,
    check: bool = True,
    spatial_axes: Sequence[int] | None = None,
    output: Literal["logits", "probability", "value"] = "logits",
    progress: bool = False,
    **options: Any,
) -> "Explainer":
    """A compiled function from parameters and images to saliency maps.

    .. math:: A_i = M(s_i, x_i),  s_i(x) = objective(apply(params, x), t_i)

    Args:
        apply: `apply(params, images) -> logits`, images [B, ...], logits [B, K]; pure.
        method: `method(score, image, **options) -> map`, of ONE image; the name of one in
            `jaxsal.METHODS`, such as "grad_cam"; or a dict of them: a dict of maps then, from one
            program with shared passes; each takes its options by `functools.partial`.
        objective: `objective(logits [K], target) -> scalar`, of whatever the model returns; None:
            the target's output, see `output`.
        batch_size: model evaluations in flight on one device (images, times classes under targets
            "all", times points of each); "auto": as many as pay and fit. Inside a `jit`, `grad`
            or `vmap` of your own "auto" takes the whole batch at once, where memory may run out
            that a plain call does not take, and a number is a loop; of a batch that lies on several
            devices give `mesh` with it, else each of them goes through all images.
        mesh: the devices; None: those that the images lie on, else all local ones.
        rewrite: whether the program is rewritten to run faster; the maps are the same.
        dtype: what the model computes in; sums and maps stay float32. None: the dtypes given. On a
            TPU or GPU products of float32 are short by JAX's default (bfloat16, TF32): a call under
            `jax.default_matmul_precision("highest")` has a program of its own, with full ones.
        check: whether values are checked too: images finite, targets classes, results finite (a
            warning that counts and names them, for which a call waits), a batch's logits the
            images' own, a path from the images and the parameters to the score.
        spatial_axes: which axes of one image (without its batch axis) are spatial, such as (0, 1);
            None: those that the model's first convolution slides along, else those that its first
            pool or reshape into patches tiles, else all but one that alone is short (four at most)
            and first or last. Where none of these says, what tells positions from channels raises.
        output: what the model returns. "logits": one is binary, class 1 scores it, class 0 its
            negative. "probability": of one, p, class 1 scores p and class 0 scores 1 - p. "value":
            of a regression, a number for each thing that it tells; one is the score itself.
        progress: whether a call of several chunks shows a bar, by tqdm, and waits for them.
        **options: the method's, an array among them traced; with a combinator, those of the
            innermost method.

    Returns:
        An `Explainer`.

    Raises:
        TypeError: an unknown or missing option, an option beside a dict, or no function where one
            must be.
        ValueError: a batch size below one, an empty dict, an unknown `output`, no method of that
            name.
        ImportError: `progress` without tqdm.
    """
    prepare = Prepare(
        apply,
        _named("method", method, METHODS),
        options,
        objective=objective,
        rewrite=rewrite,
        dtype=dtype,
        check=check,
        spatial_axes=spatial_axes,
        output=output,
    )
    return Explainer(prepare, batch_size, mesh, progress)


def evaluator(
    apply: ApplyFn,
    metric: Metric | str | Mapping[str, Metric | str],
    *,
    objective: Objective | None = None,
    batch_size: int | str = "auto",
    mesh: Mesh | None = None,
    rewrite: bool = True,
    dtype: DTypeLike | None = None,
    check: bool = True,
    spatial_axes: Sequence[int] | None = None,
    output: Literal["logits", "probability", "value"] = "logits",
    progress: bool = False,
    **options: Any,
) -> "Evaluator":
    """A compiled function from parameters, images and maps to a metric of each map.

    .. math:: v_i = M(s_i, x_i, A_i),  s_i(x) = objective(apply(params, x), t_i)

    Args:
        apply, objective, batch_size, mesh, rewrite, dtype, check, spatial_axes, output, progress:
            as of `explainer`. All maps of an image in a dict are evaluated together, and count
            in `batch_size`: where memory runs out at one image, give fewer of them to a call.
        metric: `metric(score, image, map, **options) -> scalar or vector`, of ONE image and its
            map; the name of one in `jaxsal.METRICS`; or a dict of them: a dict of values then.
        **options: the metric's, the same for all images, an array among them traced. What differs
            from image to image (a mask) is given to the call.

    Returns:
        An `Evaluator`.

    Raises:
        TypeError: an unknown option, an option beside a dict, or no function where one must be.
        ValueError: a batch size below one, an empty dict, an unknown `output`, no metric of that
            name.
        ImportError: `progress` without tqdm.
    """
    prepare = Prepare(
        apply,
        _named("metric", metric, METRICS),
        options,
        objective=objective,
        rewrite=rewrite,
        dtype=dtype,
        check=check,
        spatial_axes=spatial_axes,
        output=output,
        by_example=True,
    )
    return Evaluator(prepare, batch_size, mesh, progress)


def _named(what: str, given: Any, known: Mapping[str, Any]) -> Any:
    """The function, or the dict of functions, with that of the table for a name."""
    if isinstance(given, str):
        if given not in known:
            raise ValueError(unknown(what, given, known))
        return known[given]
    if isinstance(given, Mapping):
        return {name: _named(what, each, known) for name, each in given.items()}
    return given


class _Engine:
    """A prepared model and function, and what runs them."""

    _results: str
    """What the results are called in warnings."""

    def __init__(
        self, prepare: Prepare, batch_size: int | str, mesh: Mesh | None, progress: bool
    ) -> None:
        self._prepare = prepare
        self._settings = {"batch_size": batch_size, "mesh": mesh, "progress": progress}
        size = BatchSize(
            batch_size,
            points=prepare.points,
            windows=prepare.windows,
            bound=prepare.chunk,
            varies=prepare.varies,
        )
        self._execute = Executor(size, mesh, bar_of(self._results) if progress else None)
        self._maps_checked = False

    def __repr__(self) -> str:
        """The call that makes it, without what is as it is by default."""
        (apply, function), settings = self._prepare.arguments()
        kind = type(self).__name__.lower()
        return f"jaxsal.{kind}{as_call(apply, function, {**settings, **self._settings}, explainer)}"

    def _made_by(self, make: Callable[..., Made]) -> tuple[Callable[[], Made], tuple[()]]:
        """For `copy` and `pickle`: a copy is made anew, without compiled programs."""
        args, keywords = self._prepare.arguments()
        return functools.partial(make, *args, **self._settings, **keywords), ()

    def _run(self, *args: Any, record: bool = False) -> Results:
        """The results of a call; where values are checked, it waits for them and warns of NaN."""
        call = self._prepare(*args, record=record, flagged=True)
        self._prepare.check_model(call)
        found = self._execute(call)
        call.verify()  # now that the program is on its way, the device may be waited for
        if call.spec.flagged:
            self._check_maps(call)
            results.warn_not_finite(found.flag, found.results, call, what=self._results)
            found = found.results
        return found if record else self._prepare.ordered(found, call.rows.get("map"))

    def _check_maps(self, call: Call) -> None:
        """Warns, once, of metrics that give the several maps of a call the same values."""
        if call.maps > 1 and not self._maps_checked:
            self._maps_checked = True
            with self._execute.placement(call).context():
                found = independent(call)
            warn_independent(self._prepare.by_function(found), call.maps)

    def _verified(self, *args: Any, flagged: bool = False) -> Call:
        """A call that is not run, with its values checked."""
        call = self._prepare(*args, flagged=flagged)
        call.verify()
        return call

    def _lower(self, call: Call, arguments: Callable[..., tuple[Tree, Tree]]) -> Lowered:
        lowered = jax.jit(self._execute.program(call)).lower(call.shared, call.rows)
        return Lowered(lowered, arguments, self._prepare.ordered)


class Explainer(_Engine):
    """What `explainer` returns: `explain(params, images, targets=None, *, key=None) -> maps`."""

    _results = "maps"

    def __call__(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> Results:
        """The maps of a batch, float32, signed, not normalised.

        Args:
            params: any pytree of arrays; traced, never a constant. Functions and words among them,
                and in an Equinox module all that is no array, are a part of the program.
            images: [B, ...], floating.
            targets: an int, integers [B], None for the predicted class, or "all": maps [B, K, ...].
            key: for methods that draw random numbers: one key, of which image i of the call gets
                `fold_in(key, i)`, or one an image. Only with one an image its draws are the same in
                any batch and on any shard: each part of a `shard_map` counts from 0. Draws are
                always threefry's; a key of another generator only seeds them.
            **rows: options of the method that have an entry an image, such as `segments` or
                `baseline` [B, ...]: arrays, or pytrees of them; of a dict of methods, to each what
                it takes.

        Returns:
            Maps [B, ...] of the images' shape (CAMs: of its spatial axes); of a dict, a dict.

        Raises:
            TypeError: integer images, targets that are no integers, a leaf of params that is no
                array, an option that is unknown, given twice or missing.
            ValueError: shapes that do not agree, a missing key, values that are not finite or no
                class, a model whose logits of an image depend on the batch around it.

        Warns:
            RuntimeWarning: maps or logits that are not finite, or maps that cannot depend on their
                images or on the parameters.
        """
        return self._run(params, {"image": images}, targets, key, rows)

    def __reduce__(self) -> tuple[Callable[[], "Explainer"], tuple[()]]:
        return self._made_by(explainer)

    @property
    def keyed(self) -> bool:
        """Whether a method draws random numbers, and a call needs a key."""
        return bool(self._prepare.keyed)

    @property
    def output(self) -> Output:
        """What the model's outputs are."""
        return self._prepare.output

    def placement(self, params: Params) -> Placement:
        """Where a call of many images computes, as long as these lie on no device."""
        return self._execute.place(params)

    def record(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> Explanation:
        """The maps of a batch with their targets [B] (under "all" [B, K]) and logits [B, K].

        And, of methods with a tolerance, the points that each map took and whether they sufficed.

        One program, in which the forward pass is shared; arguments and errors as of a call. Logits
        of NaN predict no class: the target is -1 then, and the map NaN.
        """
        return self._ordered(self._run(params, {"image": images}, targets, key, rows, record=True))

    def dispatch(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> Explanation:
        """As `record`, without waiting for the results or checking that they are finite."""
        call = self._prepare(params, {"image": images}, targets, key, rows, record=True)
        self._prepare.check_model(call)
        found = self._execute(call)
        call.verify()
        return self._ordered(found)

    def _ordered(self, found: Explanation) -> Explanation:
        return found._replace(maps=self._prepare.ordered(found.maps))

    def identity(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> dict[str, str]:
        """What decides the maps, a fingerprint each: `params`, `model`, `method`, `key`.

        And `output`, by its name. Equal in every process of the same code and the same version of
        JAX; nothing is compiled. `images` may be a `jax.ShapeDtypeStruct`; of several only one is
        looked at.
        """
        return identity(self._verified(params, {"image": images}, targets, key, rows))

    def spatial_axes(self, params: Params, images: Batch, **rows: Tree) -> SpatialAxes | None:
        """Which axes of one image are spatial: as the option says, else as the model does.

        None where neither says; nothing is compiled. `images` may be a `jax.ShapeDtypeStruct`.
        """
        key = jax.random.key(0) if self._prepare.keyed else None
        return axes_of(self._verified(params, {"image": images}, "all", key, rows))

    def lower(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> Lowered:
        """The whole batch as one lowered program; arguments may be `jax.ShapeDtypeStruct`s."""
        call = self._verified(params, {"image": images}, targets, key, rows)
        word = targets if isinstance(targets, str) else None
        given, options = targets is not None and word is None, call.options

        def arguments(
            params: Params,
            images: Batch,
            targets: Targets = word,
            *,
            key: Keys | None = None,
            **rows: Tree,
        ) -> tuple[Tree, Tree]:
            if given and targets is None:
                raise ValueError("targets: compiled for given targets; expected them, got None")
            now = self._verified(params, {"image": images}, targets, key, rows)
            now.check_options(*options)
            return now.shared, now.rows

        return self._lower(call, arguments)

    def describe(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> dict[str, Any]:
        """The plan of a call, its compile seconds, FLOPs, bytes and rewrites.

        Compiles the program once more; a method that draws random numbers gets a key if none is
        given.
        """
        key = jax.random.key(0) if key is None and self._prepare.keyed else key
        call = self._verified(params, {"image": images}, targets, key, rows, flagged=True)
        return describe(call, self._execute)

    def layers(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> list[str]:
        """The values that class activation maps of a call are made of: type, operation, place.

        Nothing is compiled; arguments as of `describe`.
        """
        key = jax.random.key(0) if key is None and self._prepare.keyed else key
        return layers(self._verified(params, {"image": images}, targets, key, rows))

    def program(
        self,
        params: Params,
        images: Batch,
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> jax.stages.Compiled:
        """The program that a call runs, for as many images as it takes at a time, compiled again.

        Its `as_text()` has the operations that a profile names.
        """
        call = self._verified(params, {"image": images}, targets, key, rows, flagged=True)
        return program(call, self._execute)

    def trace(self, *args: Tree, **keywords: Tree) -> jax.stages.Traced:
        """The batch as a traced program of these arguments, for `jax.export.export(explain)`."""
        if len(args) > 2 and isinstance(args[2], str):
            args, keywords = args[:2], {**keywords, "targets": args[2]}
        words: dict[str, Any] = {k: v for k, v in keywords.items() if isinstance(v, str)}
        arrays = {k: v for k, v in keywords.items() if k not in words}

        def explain(*args: Tree, **arrays: Tree) -> Results:
            return self(*args, **{**arrays, **words})

        return jax.jit(explain).trace(*args, **arrays)


class Evaluator(_Engine):
    """What `evaluator` returns: `evaluate(params, images, maps, targets, *, key, **rows)`."""

    _results = "values"

    def __call__(
        self,
        params: Params,
        images: Batch,
        maps: Batch | Mapping[str, Batch],
        targets: Targets = None,
        *,
        key: Keys | None = None,
        **rows: Tree,
    ) -> Results:
        """The metric of each map, float32.

        Of a dict of maps, such as an explainer of several methods returns, each gets the values
        that it would get alone; what does not depend on a map (the scores of random perturbations)
        is computed once for all maps of one shape and dtype.

        Args:
            params: any pytree of arrays; traced, never a constant.
            images: [B, ...], floating.
            maps: [B, ...], floating; under targets "all" [B, K, ...]; or a dict of such by name.
            targets: those of the maps: an int, integers [B], or "all"; None: the predicted class,
                whatever class the maps are of.
            key: for metrics that draw random numbers: one key, or one an image, as of `Explainer`.
            **rows: options of the metric that have an entry an image, such as `mask` [B, ...]:
                arrays, or pytrees of them; of a dict of metrics, to each what it takes.

        Returns:
            Values [B, ...]; of a dict of metrics, a dict; of a dict of maps, a dict of these.

        Raises:
            TypeError: integer images, targets that are no integers, a leaf of params that is no
                array, an option that is unknown, given twice or missing.
            ValueError: shapes that do not agree, a missing key, values that are not finite or no
                class, an empty dict.

        Warns:
            RuntimeWarning: values or logits that are not finite and ought to be; of a dict of maps,
                values that depend on none of them (a metric with an option `method` measures that).
        """
        batch = {"image": images, "map": maps}
        return self._run(params, batch, targets, key, rows)

    def __reduce__(self) -> tuple[Callable[[], "Evaluator"], tuple[()]]:
        return self._made_by(evaluator)
