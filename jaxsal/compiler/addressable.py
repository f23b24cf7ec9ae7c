"""Reads arrays in this process: whether it can, the parts that it holds, a few rows."""

from collections.abc import Sequence
from typing import TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler.placement import own_mesh
from jaxsal.types import ArrayOrShape


def is_concrete(value: object) -> TypeGuard[jax.Array]:
    """Whether a value is an array of JAX with contents, which nobody writes to."""
    return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)


def has_contents(value: object) -> TypeGuard[np.ndarray | jax.Array]:
    """Whether a value is an array of NumPy or JAX, and no tracer or shape alone."""
    return isinstance(value, np.ndarray) or is_concrete(value)


def is_on_cpu(array: jax.Array) -> bool:
    """Whether an array of JAX lies in host memory."""
    return next(iter(array.devices())).platform == "cpu"


def is_addressable(value: object) -> bool:
    """Whether this process can read all of a value; false for a tracer."""
    return not isinstance(value, jax.Array) or (is_concrete(value) and value.is_fully_addressable)


def on_host(array: ArrayOrShape) -> np.ndarray | None:
    """The array as NumPy's where it lies in host memory, else None."""
    if not isinstance(array, jax.Array):
        return np.asarray(array)
    if isinstance(array, jax.core.Tracer) or jnp.issubdtype(array.dtype, jax.dtypes.extended):
        return None
    return np.asarray(array) if array.is_fully_addressable and is_on_cpu(array) else None


def parts(array: ArrayOrShape) -> list[np.ndarray]:
    """What this process holds of an array."""
    if not isinstance(array, jax.Array):
        return [np.asarray(array)]
    if array.is_fully_replicated:
        return [np.asarray(array.addressable_data(0))]
    return [np.asarray(shard.data) for shard in array.addressable_shards]


def is_finite(array: ArrayOrShape) -> bool:
    """Whether all values that this process holds are finite."""
    return all(bool(np.isfinite(part).all()) for part in parts(array))


def numbered(array: ArrayOrShape) -> list[tuple[int, int]]:
    """`(i, array[i])` of a vector of integers, of the entries that this process holds, in order."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return list(enumerate(np.asarray(array).tolist()))
    found: dict[int, int] = {}
    for shard in array.addressable_shards:
        first = shard.index[0].start or 0
        found |= dict(enumerate(np.asarray(shard.data).tolist(), first))
    return sorted(found.items())


def rows(array: ArrayOrShape, numbers: Sequence[int]) -> np.ndarray:
    """Rows of an array that lies in this process, of each device only what is asked for.

    To index the whole would be a program, which an array of explicit sharding refuses; each device
    cuts its own part, under a mesh of its own, where the user has set one.
    """
    if not isinstance(array, jax.Array) or array.shape[1:] != array.addressable_data(0).shape[1:]:
        return np.asarray(array)[list(numbers)]
    found: dict[int, np.ndarray] = {}
    for shard in array.addressable_shards:
        first, last, _ = shard.index[0].indices(array.shape[0])
        for number in {*numbers} & set(range(first, last)) - found.keys():
            with own_mesh(shard.data):
                found[number] = np.asarray(shard.data[number - first])
    return np.stack([found[number] for number in numbers])
