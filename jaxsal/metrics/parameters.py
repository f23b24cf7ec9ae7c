"""The layers of a parameter pytree in the order in which a program uses them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsal.rewrite.parameter_order import order_of_use
from jaxsal.rewrite.program import trace
from jaxsal.types import ApplyFn, Images, Params, Tree

Path = tuple[Any, ...]
"""A leaf's place in a pytree, as `jax.tree_util` has it."""

Group = Callable[[Path], str]
"""From a leaf to the name of its layer; leaves of one name are drawn anew together."""


class Layer(NamedTuple):
    """A layer: its name, and which leaves of `jax.tree.leaves(params)` it has."""

    name: str
    leaves: tuple[int, ...]


def module(path: Path) -> str:
    """All of a leaf's path but its last part; all of it where there is but one.

    Args:
        path: a leaf's place, as `jax.tree_util.tree_leaves_with_path` has it.

    Returns:
        The name of its layer, parts joined by slashes: `"Block_0/Conv_1"`.
    """
    return "/".join(_words(path[:-1] or path))


def flax_module(path: Path) -> str:
    """`module` without the collection (`params`, `batch_stats`) that Flax's paths begin with.

    A leaf right in its collection has its own name for a layer.
    """
    return "/".join(_words(path[1:-1] or path[-1:]))


def layers(apply: ApplyFn, params: Params, images: Images, *, group: Group = module) -> list[Layer]:
    """The layers of `params`, that nearest the image first.

    A leaf is used where the program first computes something from it AND the image: a cast of all
    parameters before the first layer, in whichever order, is no use. Names decide nothing: in most
    pytrees they are sorted. Leaves that never meet the image are in no layer.

    Args:
        apply: `apply(params, images) -> logits`.
        params: any pytree of arrays; functions, words, flags and integers in it are in no layer.
        images: [B, ...], of which only the shape counts.
        group: from a leaf's path to its layer's name.
    """
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    every, tree = jax.tree.flatten(params)
    arrays = {i: _abstract(leaf) for i, leaf in enumerate(every) if not _is_static(leaf)}

    def whole(arrays: dict[int, jax.Array], image: jax.Array) -> Tree:
        return apply(
            jax.tree.unflatten(tree, [arrays.get(i, x) for i, x in enumerate(every)]), image
        )

    closed, _ = trace(whole, arrays, image)
    *own, last = closed.jaxpr.invars
    leaves = dict(zip(own, arrays, strict=True))
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    found: dict[str, list[int]] = {}
    for leaf in order_of_use(closed.jaxpr, leaves, last):
        found.setdefault(group(paths[leaf]), []).append(leaf)
    return [Layer(name, tuple(sorted(leaves))) for name, leaves in found.items()]


def replaced(params: Params, fresh: Params, chosen: list[Layer]) -> Params:
    """`params` with the leaves of the chosen layers from `fresh`."""
    leaves, tree = jax.tree.flatten(params)
    new = jax.tree.leaves(fresh)
    for layer in chosen:
        for i in layer.leaves:
            leaves[i] = new[i]
    return jax.tree.unflatten(tree, leaves)


def _is_static(leaf: object) -> bool:
    """Whether a leaf is no parameter but what Python reads while the program is traced."""
    return not hasattr(leaf, "dtype") and (callable(leaf) or isinstance(leaf, str | int))


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return jax.ShapeDtypeStruct(
        array.shape, jax.dtypes.canonicalize_dtype(array.dtype, allow_extended_dtype=True)
    )


def _words(path: Path) -> Iterator[str]:
    return (jax.tree_util.keystr((part,), simple=True) for part in path)
