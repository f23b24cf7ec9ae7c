"""Does a map depend on what the network has learned? Model-parameter randomisation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsal import ranks
from jaxsal.types import Map, Params, Scalar

Similarity = Callable[[Array, Array], Scalar]


def spearman(first: Map, second: Map) -> Scalar:
    """Spearman's rank correlation of |first| and |second|, two maps of ONE image and one shape.

    NaN where a map is constant: there is no order to compare.
    """
    return ranks.spearman(*(jnp.abs(map).astype(jnp.float32).ravel() for map in (first, second)))


def parameter_randomisation(
    explain: Callable[..., Any],
    params: Params,
    fresh: Params,
    images: Array,
    targets: Any,
    *,
    key: Any = None,
    similarity: Similarity = spearman,
) -> Any:
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
        similarity: of two maps of one image.

    Returns:
        numpy `[B]`, or a dict of it, as `explain` gives maps.

    Raises:
        ValueError: targets None or "all"; fresh of another structure or with other shapes.
    """
    if targets is None or isinstance(targets, str):
        raise ValueError(f"targets {targets!r}: expected an int or an int array, fixed for both")
    if _shapes(params) != _shapes(fresh):
        raise ValueError("fresh: expected the structure and shapes of params")
    before = explain(params, images, targets, key=key)
    after = explain(fresh, images, targets, key=key)
    compare = jax.jit(jax.vmap(similarity))
    return jax.tree.map(lambda a, b: np.asarray(compare(a, b)), before, after)


def _shapes(params: Params) -> tuple[Any, list[tuple[int, ...]]]:
    leaves, structure = jax.tree.flatten(params)
    return structure, [jnp.shape(leaf) for leaf in leaves]
