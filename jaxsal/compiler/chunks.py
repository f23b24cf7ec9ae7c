"""Chunks of a batch: rows taken out of it, and results concatenated."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from jaxsal.compiler.addressable import on_host
from jaxsal.compiler.placement import on_automatic, own_mesh
from jaxsal.types import ArrayOrShape, Tree


def take(rows: Tree, start: int, size: int) -> Tree:
    """Rows [start, start + size) of each array; where they end, the last one is repeated.

    Arrays in host memory are cut there, which compiles nothing; others on their devices, by one
    program a shape.
    """
    leaves, structure = jax.tree.flatten(rows)
    if start == 0 and leaves[0].shape[0] == size:
        return rows
    return jax.tree.unflatten(structure, [_take(leaf, start, size) for leaf in leaves])


def concatenate(parts: list[Tree], count: int, sharding: Sharding) -> Tree:
    """The first `count` rows of the parts; a single part of this size is returned as it is.

    In host memory rows are cut off without a program, of which each number of images would need its
    own; the parts are waited for then.
    """
    leaves = jax.tree.leaves(parts)
    if len(parts) == 1 and all(x.shape[0] == count for x in leaves):
        return parts[0]
    whole = sum(x.shape[0] for x in leaves) == count * len(jax.tree.leaves(parts[0]))
    if whole or any(on_host(x) is None for x in leaves):
        return _concatenated(sharding)(parts, count)

    def cut(*parts: jax.Array) -> np.ndarray:
        rows = [np.asarray(part) for part in parts]
        return np.concatenate(rows)[:count] if len(rows) > 1 else rows[0][:count]

    return jax.device_put(jax.tree.map(cut, *parts), sharding)


def _take(array: ArrayOrShape, start: int, size: int) -> np.ndarray | jax.Array:
    if isinstance(array, jax.Array) and on_host(array) is None:
        with own_mesh(array):
            return gather(on_automatic(array), start, size)
    host = np.asarray(array)
    stop = min(start + size, host.shape[0])
    rows = host[start:stop]
    if stop == start + size:
        return rows
    return np.concatenate([rows, np.repeat(rows[-1:], start + size - stop, axis=0)])


@functools.partial(jax.jit, static_argnames="size")
def gather(array: jax.Array, start: int | jax.Array, size: int) -> jax.Array:
    """Rows [start, start + size) on the array's own devices, or in a trace."""
    return array[jnp.minimum(start + jnp.arange(size), array.shape[0] - 1)]


@functools.lru_cache(maxsize=64)
def _concatenated(sharding: Sharding) -> Callable[[list[Tree], int], Tree]:
    def concatenated(parts: list[Tree], count: int) -> Tree:
        return jax.tree.map(lambda *xs: jnp.concatenate(xs)[:count], *parts)

    return jax.jit(concatenated, static_argnums=1, out_shardings=sharding)
