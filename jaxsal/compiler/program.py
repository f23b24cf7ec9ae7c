"""The program: a method at one image, made from a model and a target, then vmapped over the batch.

Everything here is pure. A program is compiled for a `Spec` (what is computed) and a `Schedule` (how
it is laid out, on which nothing but the speed depends). It is given `shared` (parameters, a key,
array options) and `rows` (images, targets, indices, keys: one entry an example).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Sharding
from jax.tree_util import keystr

from jaxsal.compiler.callables import Node, Structure, assemble
from jaxsal.compiler.frameworks import called
from jaxsal.compiler.map_classes import map_classes
from jaxsal.compiler.outputs import Output
from jaxsal.compiler.parameters import assemble_params
from jaxsal.compiler.placement import axes_of
from jaxsal.compiler.signatures import accepts, refined, takes
from jaxsal.compiler.targets import are_classes
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.rewrite.optimize import optimize
from jaxsal.types import Method, Metric, Objective, Refined, ScoreFn, SpatialAxes, Tree, accumulator


class Explanation(NamedTuple):
    """An example's results with what they were computed for, from one forward pass.

    Attributes:
        maps: what the function, or the dict of functions, returned.
        targets: the target explained, int32, -1 where the predicted one is none (NaN among what
            the model returned); under targets "all" every one, [K].
        logits: what the model returned, [K], float32 or wider; probabilities or values where the
            explainer was told that they are.
        steps: the `Steps` of a method with a tolerance, of a dict of methods a dict of those that
            have one; None without.
    """

    maps: Tree
    targets: jax.Array
    logits: jax.Array
    steps: Tree = None


class Steps(NamedTuple):
    """What maps took whose methods take as many points as an image needs.

    Attributes:
        points: at how many points the score was evaluated, int32.
        converged: whether the map is as complete as it was to be.
    """

    points: jax.Array
    converged: jax.Array


RESULTS, LOGITS, OPEN, UNMET = 1, 2, 4, 8
"""Bits of a flag: results, logits, or results that may be NaN by definition are not finite; a map
is not as complete as it was to be."""


class Flagged(NamedTuple):
    """An example's results, and a flag, uint8, of what in them is not finite.

    Logits are looked at but for a metric under given targets, whose program may not have them.
    """

    results: Tree
    flag: jax.Array


@dataclass(frozen=True)
class Spec:
    """What a program computes."""

    parts: Structure
    """The structure of `(apply, function or dict of functions, objective, options)`."""
    params: Node | None
    """The structure of parameters that are not all arrays; None: all are."""
    classes: int
    """K: 2 for a model with one logit."""
    output: Output
    """What the model's outputs are."""
    targets: str
    """`given` (in the rows), `predicted` or `all`."""
    dtype: np.dtype | None
    """What the score computes in; None: what it is given."""
    computes_in: np.dtype | None
    """The coarsest dtype that it then computes in, as its program says."""
    rewrite: bool
    spatial_axes: SpatialAxes | None
    """Of an image, as the option says; None: as the program does."""
    bounds: tuple[tuple[str, int], ...]
    """Options that were read off the rows of the call, by name."""
    may_be_nan: frozenset[str]
    """The functions, by name ("" alone), whose results are NaN where they are not defined."""
    record: bool
    """Whether targets and logits come with the results, as an `Explanation`."""
    flagged: bool
    """Whether results come with a flag of what is not finite, as `Flagged`."""


@dataclass(frozen=True)
class Schedule:
    """How a program is laid out: how much of a batch is computed at a time, and where."""

    class_chunk: int
    """Classes of one image explained at a time, under targets "all"."""
    chunk: int = 1
    """Points of one image evaluated at a time, by functions that take `chunk`."""
    images: int | None = None
    """Images evaluated at a time on each device; None: the whole batch."""
    platform: str | None = None
    """The platform whose rewrites `batch` applies; None: that which it is lowered for.

    What is decided while a method is traced (occlusion's windows, the affine prefix, points at a
    time) is the default platform's then: a program that is exported for another wants a mesh of it.
    """
    sharding: Sharding | None = None
    """How images and results are spread over the devices; None: left to the caller."""
    home: Sharding | None = None
    """The one device that all arguments are for, wherever they lie; None: left to the caller."""

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the mesh that the rows are spread over."""
        return next(iter(axes_of(self.sharding)), ())

    @property
    def devices(self) -> int:
        """How many parts the rows have; 1 where that is left to the caller."""
        mesh = getattr(self.sharding, "mesh", None)
        return math.prod(mesh.shape[axis] for axis in self.axes) if mesh else 1


def batch(spec: Spec, schedule: Schedule, shared: Tree, rows: Tree) -> Tree:
    """The results of a batch; the method sees one example."""
    one: Callable[..., Tree] = functools.partial(example, spec, schedule)
    if spec.rewrite:
        one = optimize(one, platform=schedule.platform)
    size = rows["image"].shape[0]
    if schedule.sharding is not None:
        image = lax.with_sharding_constraint(rows["image"], schedule.sharding)
        rows = {**rows, "image": image}
    if schedule.images is None or schedule.images * schedule.devices >= size:
        results = jax.vmap(one, in_axes=(None, 0))(shared, rows)
    else:
        results = _in_turns(functools.partial(one, shared), rows, schedule)
    if schedule.sharding is not None:
        results = lax.with_sharding_constraint(results, schedule.sharding)
    return results


def _in_turns(one: Callable[[Tree], Tree], rows: Tree, schedule: Schedule) -> Tree:
    """The results of the rows, each device going through its own, `images` at a time.

    XLA would spread a chunk of neighbouring rows over no devices: each would compute all of it.
    """
    turns = functools.partial(lax.map, one, batch_size=schedule.images)
    if schedule.devices == 1:
        return turns(rows)
    apart = jax.tree.map(lambda x: x.reshape(schedule.devices, -1, *x.shape[1:]), rows)
    results = jax.vmap(turns, spmd_axis_name=schedule.axes)(apart)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), results)


def example(spec: Spec, schedule: Schedule, shared: Tree, row: Tree) -> Tree:
    """The result of one example: the function, or the dict of functions, at its score and image."""
    logits, explain = _functions(spec, schedule, shared, row)
    image = row["image"].astype(accumulator(row["image"].dtype))
    maps = (row["map"],) if "map" in row else ()
    if isinstance(row.get("map"), dict):
        explain = _of_each_map(explain)
    if spec.targets == "all":
        target = jnp.arange(spec.classes, dtype=jnp.int32)
        each = (target, *maps)  # a metric's maps have one for each class
        results = map_classes(
            lambda c, x: explain(c[0], x, *c[1:]), each, schedule.class_chunk, image
        )
        results, steps = _apart(results)
    else:
        target = row["target"] if spec.targets == "given" else spec.output.predicted(logits(image))
        valid = are_classes(target, spec.classes)
        results, steps = _apart(explain(target, image, *maps))
        results = jax.tree.map(lambda x: jnp.where(valid, x, jnp.nan), results)
    found = Explanation(results, target, logits(image), steps) if spec.record else results
    if not spec.flagged:
        return found
    known = spec.record or spec.targets == "predicted" or not maps
    sound, loose = by_definition(spec, results, *maps)
    flag = RESULTS * _not_finite(sound) | OPEN * _not_finite(loose)
    for each in _all_steps(steps):
        flag |= UNMET * (~each.converged.all()).astype(jnp.uint8)
    return Flagged(found, flag | LOGITS * _not_finite(logits(image) if known else ()))


def _apart(results: Tree) -> tuple[Tree, Tree]:
    """The results, and the `Steps` of those that say what they took."""
    if isinstance(results, Refined):
        return results.map, Steps(results.points, results.converged)
    if not isinstance(results, dict):
        return results, None
    parts = {name: _apart(each) for name, each in results.items()}
    steps = {name: took for name, (_, took) in parts.items() if took is not None}
    return {name: map for name, (map, _) in parts.items()}, steps or None


def _all_steps(steps: Tree) -> list[Steps]:
    if steps is None:
        return []
    return [steps] if isinstance(steps, Steps) else list(steps.values())


def _of_each_map(explain: Callable[..., Tree]) -> Callable[..., Tree]:
    """A metric of an image's maps by name, instead of one: its value of each.

    Maps of one shape are a batch, of which nothing else is a part: under `vmap` what does not
    depend on the map, such as the scores of random perturbations, is computed once for all.
    """

    def of_each(target: jax.Array, image: jax.Array, maps: dict[str, jax.Array]) -> Tree:
        alike: dict[object, list[str]] = {}
        for name, one in maps.items():
            alike.setdefault((one.shape, one.dtype), []).append(name)
        results = {}
        for names in alike.values():
            stacked = jnp.stack([maps[name] for name in names])
            values = jax.vmap(lambda one: explain(target, image, one))(stacked)
            for place, name in enumerate(names):
                results[name] = jax.tree.map(lambda x, place=place: x[place], values)
        return results

    return of_each


def by_definition(spec: Spec, results: Tree, maps: Tree = None) -> tuple[Tree, Tree]:
    """The results that ought to be finite, and those that may be NaN; of a dict of maps a list."""
    if isinstance(maps, dict):
        parts = [by_definition(spec, each) for each in results.values()]
        return [sound for sound, _ in parts], [loose for _, loose in parts]
    if not spec.may_be_nan or "" in spec.may_be_nan:
        return ((), results) if spec.may_be_nan else (results, ())
    loose = {name: results[name] for name in spec.may_be_nan}
    return {name: x for name, x in results.items() if name not in loose}, loose


def _functions(
    spec: Spec, schedule: Schedule, shared: Tree, row: Tree
) -> tuple[Callable[[jax.Array], jax.Array], Callable[..., Tree]]:
    """`logits(image)`, and `explain(target, image, *maps) -> results`, of one example."""
    apply, function, objective, options = assemble(spec.parts, shared["arrays"])
    key, each = _key(shared, row), row.get("each", {})
    params = shared["params"] if spec.dtype is None else cast(shared["params"], spec.dtype)
    params = assemble_params(spec.params, params)

    leaves = jax.tree_util.tree_leaves_with_path(params)
    named = {tuple(keystr((k,), simple=True) for k in path): leaf for path, leaf in leaves}

    def logits(image: jax.Array) -> jax.Array:
        values = called(apply, params, image.astype(spec.dtype or row["image"].dtype)[None])[0]
        return values.astype(accumulator(values.dtype))

    def explain(target: jax.Array, *inputs: jax.Array) -> Tree:
        score = _score(logits, target, objective, spec)
        score.parameters = named  # type: ignore[attr-defined]
        score.platform = schedule.platform or jax.default_backend()  # type: ignore[attr-defined]
        given = {**each, **dict(spec.bounds)}
        call = functools.partial(
            _call,
            score=score,
            inputs=inputs,
            options=options,
            each=given,
            key=key,
            chunk=schedule.chunk,
        )
        results = jax.tree.map(call, function, is_leaf=callable)
        return jax.tree.map(_narrowed, results, is_leaf=lambda x: isinstance(x, Refined))

    return logits, explain


def axes_read(spec: Spec, shared: Tree, row: Tree) -> tuple[int, ...] | None:
    """The image's spatial axes as methods and metrics read them; None where nothing says."""
    found: list[tuple[int, ...] | None] = []

    def read(shared: Tree, row: Tree) -> None:
        logits, _ = _functions(spec, Schedule(class_chunk=1), shared, row)
        score = _score(logits, jnp.int32(0), assemble(spec.parts, shared["arrays"])[2], spec)
        image = row["image"].astype(accumulator(row["image"].dtype))
        try:
            found.append(spatial_axes(score, image))
        except ValueError:
            found.append(None)

    jax.eval_shape(read, shared, row)
    return found[0]


def _score(
    logits: Callable[[jax.Array], jax.Array],
    target: jax.Array,
    objective: Objective | None,
    spec: Spec,
) -> ScoreFn:
    """The score of one class as a function of one image."""

    def score(image: jax.Array) -> jax.Array:
        return (objective or spec.output.score)(logits(image), target)

    score.rewrite = spec.rewrite  # type: ignore[attr-defined]
    score.spatial_axes = spec.spatial_axes  # type: ignore[attr-defined]
    score.dtype = spec.computes_in  # type: ignore[attr-defined]
    score.readings = {}  # type: ignore[attr-defined]
    score.class_logits = lambda image: spec.output.class_logits(logits(image))  # type: ignore[attr-defined]
    score.target = target  # type: ignore[attr-defined]
    return score


def _call(
    function: Method | Metric,
    *,
    score: ScoreFn,
    inputs: tuple[jax.Array, ...],
    options: dict[str, Tree],
    each: dict[str, Tree],
    key: jax.Array | None,
    chunk: int,
) -> Tree:
    options = {**options, **{name: x for name, x in each.items() if takes(function, name)}}
    if key is not None and accepts(function, "key"):
        options = {**options, "key": key}
    if "chunk" not in options and accepts(function, "chunk"):
        options = {**options, "chunk": chunk}
    return (refined(function, options) or function)(score, *inputs, **options)


def _narrowed(result: Refined | jax.Array) -> Refined | jax.Array:
    if isinstance(result, Refined):
        return result._replace(map=result.map.astype(jnp.float32))
    return result.astype(jnp.float32)


def _not_finite(tree: Tree) -> jax.Array:
    """Whether any value is not finite, uint8."""
    fine = jnp.ones((), bool)
    for values in jax.tree.leaves(tree):
        fine &= jnp.isfinite(values).all()
    return (~fine).astype(jnp.uint8)


def cast(tree: Tree, dtype: np.dtype) -> Tree:
    """The floating leaves in another dtype, the others as they are."""
    return jax.tree.map(
        lambda x: jnp.asarray(x).astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def _key(shared: Tree, row: Tree) -> jax.Array | None:
    """The example's own key: its entry of B keys, or one key folded with its index."""
    if "key" in row:
        return typed(row["key"])
    if "key" in shared:
        return jax.random.fold_in(typed(shared["key"]), row["index"])
    return None


def typed(key: jax.Array) -> jax.Array:
    """A threefry key: itself, or made of the first words of a key of another kind.

    Under `vmap` other generators (rbg) draw one stream for the whole batch: maps would depend on
    how many images and points are evaluated at a time.
    """
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return jax.random.wrap_key_data(words[..., :2], impl="threefry2x32")
