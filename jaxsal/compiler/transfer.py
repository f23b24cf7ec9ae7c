"""Moves arrays to devices, unless they lie there already."""

from typing import Any, TypeGuard

import jax
import numpy as np
from jax.sharding import NamedSharding, Sharding, SingleDeviceSharding

from jaxsal.compiler.addressable import is_addressable, on_host
from jaxsal.compiler.placement import Placement, automatic, mesh_of
from jaxsal.compiler.processes import put_own_part
from jaxsal.types import ArrayOrShape, Tree


def put_parameter(leaf: ArrayOrShape, placement: Placement) -> ArrayOrShape:
    """A parameter on the devices of the batch: sharded as it is there, else replicated."""
    mesh = mesh_of(leaf)
    if mesh is not None and list(mesh.devices.flat) == list(placement.mesh.devices.flat):
        twin = automatic(mesh)
        sharding: Any = leaf.sharding  # type: ignore[union-attr]
        return leaf if twin == mesh else put(leaf, NamedSharding(twin, sharding.spec))
    return put(leaf, placement.replicated)


def put(tree: Tree, sharding: Sharding) -> Tree:
    """Arrays with this sharding; those that have it stay, all others are moved together."""
    leaves, structure = jax.tree.flatten(tree)
    leaves = [_committed(leaf, sharding) for leaf in leaves]
    away = {i: leaf for i, leaf in enumerate(leaves) if not _has(leaf, sharding)}
    shapes = {i: leaf for i, leaf in away.items() if isinstance(leaf, jax.ShapeDtypeStruct)}
    arrays = {i: _by_host(leaf, sharding) for i, leaf in away.items() if i not in shapes}
    for i, leaf in shapes.items():
        leaves[i] = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    for i, leaf in (_moved(arrays, sharding) if arrays else {}).items():
        leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def _moved(leaves: dict[int, Any], sharding: Sharding) -> dict[int, Any]:
    """Arrays on the devices of a sharding; where other processes own some, each puts its part.

    `device_put` would send every array to all processes, to be compared there.
    """
    if sharding.is_fully_addressable:
        return dict(jax.device_put({i: _owned(x) for i, x in leaves.items()}, sharding))
    own = {i: leaf for i, leaf in leaves.items() if is_addressable(leaf)}
    others = {i: leaf for i, leaf in leaves.items() if i not in own}
    spread = {i: put_own_part(leaf, sharding, _owned) for i, leaf in own.items()}
    return {**jax.device_put(others, sharding), **spread}


def _owned(leaf: ArrayOrShape) -> ArrayOrShape:
    """The array, or a copy where the caller could write to it.

    Calls do not wait for their programs, nor (on an accelerator) for the transfer, and the caller
    may fill the memory anew meanwhile, unless nobody can write to it.
    """
    return leaf.copy() if may_change(leaf) else leaf


def _has(leaf: ArrayOrShape, sharding: Sharding) -> bool:
    """Whether it lies there already; an uncommitted one would be compiled for once more."""
    return isinstance(leaf, jax.Array) and bool(leaf.committed and leaf.sharding == sharding)


def _committed(leaf: ArrayOrShape, sharding: Sharding) -> ArrayOrShape:
    """The array; an uncommitted one that lies on this one device, committed to it.

    As `device_put` does in four times the time, which each call would wait for.
    """
    if not isinstance(sharding, SingleDeviceSharding) or not isinstance(leaf, jax.Array):
        return leaf
    plain = not isinstance(leaf, jax.core.Tracer) and isinstance(leaf.dtype, np.dtype)
    if not plain or leaf.committed or leaf.sharding != sharding or leaf.weak_type:
        return leaf
    return jax.make_array_from_single_device_arrays(leaf.shape, sharding, [leaf])


def _by_host(leaf: ArrayOrShape, sharding: Sharding) -> ArrayOrShape:
    """The array, in host memory where it must go to other devices: no program cuts it up then."""
    if isinstance(leaf, jax.Array) and leaf.sharding.device_set != sharding.device_set:
        host = on_host(leaf)
        return leaf if host is None else host.copy()  # else the result would keep it alive
    return leaf


def may_change(array: ArrayOrShape) -> TypeGuard[np.ndarray]:
    """Whether the caller may write to an array later."""
    if not isinstance(array, np.ndarray):
        return False
    return array.flags.writeable or not array.flags.owndata
