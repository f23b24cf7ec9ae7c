"""The layers of a parameter pytree in the order in which a program uses them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Jaxpr, Literal, Var

from jaxsal.rewrite.dataflow import links
from jaxsal.rewrite.program import bodies, open_jaxpr, trace
from jaxsal.types import ApplyFn, Images, Params

Path = tuple[Any, ...]
"""A leaf's place in a pytree, as `jax.tree_util` has it."""

Group = Callable[[Path], str]
"""From a leaf to the name of its layer; leaves of one name are drawn anew together."""


class Layer(NamedTuple):
    """A layer: its name, and which leaves of `jax.tree.leaves(params)` it has."""

    name: str
    leaves: tuple[int, ...]


class _Known(NamedTuple):
    """What a value is made of: leaves that have not met the image yet, and whether the image is."""

    leaves: frozenset[int] = frozenset()
    image: bool = False


def module(path: Path) -> str:
    """All of a leaf's path but its last part; all of it where there is but one."""
    return "/".join(_words(path[:-1] or path))


def flax_module(path: Path) -> str:
    """`module` without the collection (`params`, `batch_stats`) that Flax's paths begin with."""
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

    def whole(arrays: dict[int, Any], image: Any) -> Any:
        return apply(
            jax.tree.unflatten(tree, [arrays.get(i, x) for i, x in enumerate(every)]), image
        )

    closed, _ = trace(whole, arrays, image)
    *own, last = closed.jaxpr.invars
    pairs = zip(own, arrays, strict=True)
    known = {var: _Known(frozenset([i])) for var, i in pairs} | {last: _Known(image=True)}
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    found: dict[str, list[int]] = {}
    for leaf in dict.fromkeys(_meetings(closed.jaxpr, known)):
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


def _meetings(jaxpr: Jaxpr, known: dict[Var, _Known]) -> Iterator[int]:
    """The leaves in the order in which they meet the image, some more than once.

    `known` is about the program's inputs, and gains all of its variables.
    """
    for eqn in jaxpr.eqns:
        inner = [open_jaxpr(body) for body in bodies(eqn)]
        if inner:
            pairs = list(links(eqn))
            for body in inner:
                known.update(_across(pairs, eqn.invars, body.invars, known))
                yield from _meetings(body, known)
            results = [var for body in inner for var in body.outvars]
            known.update(_across(pairs, results, eqn.outvars, known))
            continue
        inputs = [_of(atom, known) for atom in eqn.invars]
        leaves = frozenset().union(*(each.leaves for each in inputs))
        image = any(each.image for each in inputs)
        if image:
            yield from (leaf for each in inputs for leaf in sorted(each.leaves))
        result = _Known(frozenset() if image else leaves, image)
        known.update(dict.fromkeys(eqn.outvars, result))


def _across(
    pairs: list[tuple[Any, Var]], sources: list[Any], targets: list[Var], known: dict[Var, _Known]
) -> dict[Var, _Known]:
    """What is known on the other side of a body's border; a body may be visited more than once."""
    found = dict.fromkeys(targets, _Known())
    near = {id(atom) for atom in sources}
    for source, target in pairs:
        if id(source) in near and target in found:
            old, new = found[target], _of(source, known)
            found[target] = _Known(old.leaves | new.leaves, old.image or new.image)
    return found


def _of(atom: Any, known: dict[Var, _Known]) -> _Known:
    return _Known() if isinstance(atom, Literal) else known.get(atom, _Known())


def _is_static(leaf: Any) -> bool:
    """Whether a leaf is no parameter but what Python reads while the program is traced."""
    return not hasattr(leaf, "dtype") and (callable(leaf) or isinstance(leaf, str | int))


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return jax.ShapeDtypeStruct(
        array.shape, jax.dtypes.canonicalize_dtype(array.dtype, allow_extended_dtype=True)
    )


def _words(path: Path) -> Iterator[str]:
    return (jax.tree_util.keystr((part,), simple=True) for part in path)
