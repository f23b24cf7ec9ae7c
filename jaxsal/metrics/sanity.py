"""Does a map depend on what was learned, and on the class? Randomisation of parameters and logits.

Every figure compares two maps of the same image; a map is never compared with itself, so that no
trivial 1 is averaged in.
"""

from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef
from jaxtyping import Array

from jaxsal.metrics.parameters import Group, Layer, layers, module, replaced
from jaxsal.metrics.similarity import cosine, spearman
from jaxsal.rewrite.axes.spatial import bind_axes, takes_axes
from jaxsal.types import ApplyFn, ArrayValues, Key, Keys, Map, Params, Results, Scalar, Targets

Similarity = Callable[[Map, Map], Scalar]
"""How alike two maps of one image are."""

Schedule = Callable[[list[Layer]], Iterator[tuple[str, list[Layer]]]]
"""From the layers, that nearest the image first, to names and the layers to be drawn anew."""


def cascading(found: list[Layer]) -> Iterator[tuple[str, list[Layer]]]:
    """From the logits down: the last layer, the last two, ..., all of them.

    Args:
        found: layers, that nearest the image first, as of `parameters.layers`.

    Yields:
        The name of the layer that is added, and all those to be drawn anew.
    """
    for i in reversed(range(len(found))):
        yield found[i].name, found[i:]


def independent(found: list[Layer]) -> Iterator[tuple[str, list[Layer]]]:
    """Each layer by itself, from the logits down; what it takes and yields as of `cascading`."""
    for layer in reversed(found):
        yield layer.name, [layer]


def parameter_randomisation(
    explain: Callable[..., Results],
    params: Params,
    fresh: Params,
    images: Array,
    targets: Targets,
    *,
    key: Keys | None = None,
    similarity: Similarity | Mapping[str, Similarity] = spearman,
) -> Results:
    """How much of each map survives when the trained parameters are replaced (Adebayo et al. 2018).

    `similarity(explain(params), explain(fresh))` by image: near 1, the method shows the image
    or the architecture; near 0, what was learned.

    Args:
        explain: `explain(params, images, targets, key=key) -> maps [B, ...]`, or a dict of such.
        params: the trained parameters. fresh: others of the same shapes, from the model's `init`.
        images: `[B, ...]`.
        targets: int or int `[B]`, the same for both networks; None is refused, because the
            predicted class changes with the parameters, and "all" too.
        key: for methods that draw; the same draws for both.
        similarity: of two maps of one image; or a dict of them.

    Returns:
        numpy `[B]`, or a dict of it, as `explain` gives maps; of a dict of similarities, each in
        the place of one is a dict.

    Raises:
        ValueError: targets None or "all"; fresh of another structure or with other shapes.
    """
    _check(params, fresh, targets)
    before = explain(params, images, targets, key=key)
    compare = _comparison(similarity, explain, params, images)
    return compare(before, explain(fresh, images, targets, key=key))


def layer_randomisation(
    explain: Callable[..., Results],
    apply: ApplyFn,
    params: Params,
    fresh: Params,
    images: Array,
    targets: Targets,
    *,
    schedule: Schedule = cascading,
    group: Group = module,
    key: Keys | None = None,
    similarity: Similarity | Mapping[str, Similarity] = spearman,
) -> dict[str, Results]:
    """`parameter_randomisation` layer by layer, from the logits down (Adebayo et al. 2018).

    Arguments, results and errors as there, and:

    Args:
        apply: `apply(params, images) -> logits`, in which layers are found by their first use.
        schedule: `cascading`, which ends with a network that has learned nothing, or `independent`.
        group: which leaves are one layer; `parameters.flax_module` for Flax's variables.

    Returns:
        The similarities to the maps of the trained network, by the name of the layer last drawn
        anew; the trained network itself is no entry.
    """
    _check(params, fresh, targets)
    before = explain(params, images, targets, key=key)
    compare = _comparison(similarity, explain, params, images)
    return {
        name: compare(before, explain(replaced(params, fresh, chosen), images, targets, key=key))
        for name, chosen in schedule(layers(apply, params, images, group=group))
    }


def random_logit(
    explain: Callable[..., Results],
    params: Params,
    images: Array,
    targets: Targets,
    classes: int,
    *,
    key: Key,
    similarity: Similarity | Mapping[str, Similarity] = cosine,
) -> Results:
    """How much of each map is the same for another class, drawn at random (Sixt et al. 2020).

    `similarity(explain(t), explain(u))` with u uniform over the classes other than t: near 1, the
    method shows the image whatever the class. The default keeps the sign: of a binary model, or of
    a softmax of two classes, one class's map is minus the other's, and their magnitudes are equal
    however true they are.

    Args:
        explain, params, images, similarity: as for `parameter_randomisation`.
        targets: int or int `[B]`. classes: K, two at least.
        key: the key is consumed: `k_class, k_method = split(key)`; methods that draw get the same
            draws for both classes.

    Raises:
        ValueError: targets None or "all"; fewer than two classes.
    """
    _check(params, params, targets)
    if classes < 2:
        raise ValueError(f"classes: expected at least two to choose from, got {classes}")
    k_class, k_method = jax.random.split(key)
    targets = np.broadcast_to(np.asarray(targets), len(images))
    by = np.asarray(jax.random.randint(k_class, targets.shape, 1, classes, jnp.int32))
    before = explain(params, images, targets, key=k_method)
    others = ((targets + by) % classes).astype(np.int32)
    compare = _comparison(similarity, explain, params, images)
    return compare(before, explain(params, images, others, key=k_method))


def _comparison(
    similarity: Similarity | Mapping[str, Similarity],
    explain: Callable[..., Results],
    params: Params,
    images: Array,
) -> Callable[[Results, Results], Results]:
    """Similarities by image in the place of every map, numpy; the spatial axes are `explain`'s.

    Where `explain` is a function without `spatial_axes`, channels are last.
    """
    asked = any(map(takes_axes, jax.tree.leaves(similarity)))
    axes_of = getattr(explain, "spatial_axes", None) if asked else None
    axes = None if axes_of is None else axes_of(params, images)
    by_image = jax.tree.map(lambda f: jax.vmap(jax.jit(bind_axes(f, axes))), similarity)

    def values(a: ArrayValues, b: ArrayValues) -> Results:
        a, b = jnp.asarray(a), jnp.asarray(b)
        return jax.tree.map(lambda f: np.asarray(f(a, b)), by_image)

    return lambda before, after: jax.tree.map(values, before, after)


def _check(params: Params, fresh: Params, targets: Targets) -> None:
    if targets is None or isinstance(targets, str):
        raise ValueError(f"targets {targets!r}: expected an int or an int array, fixed for both")
    if _shapes(params) != _shapes(fresh):
        raise ValueError("fresh: expected the structure and shapes of params")


def _shapes(params: Params) -> tuple[PyTreeDef, list[tuple[int, ...]]]:
    leaves, structure = jax.tree.flatten(params)
    return structure, [np.shape(leaf) for leaf in leaves]
