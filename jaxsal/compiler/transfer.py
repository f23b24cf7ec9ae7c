"""Moves arrays to devices, unless they lie there already."""

from typing import Any, TypeGuard

import jax
import numpy as np
from jax.sharding import Sharding, SingleDeviceSharding

from jaxsal.compiler.addressable import is_addressable, on_host
from jaxsal.compiler.placement import Placement, mesh_of, on_automatic
from jaxsal.compiler.processes import put_own_part
from jaxsal.types import ArrayOrShape, Tree


def put_parameter(leaf: ArrayOrShape, placement: Placement) -> ArrayOrShape:
    """A parameter on the devices of the batch: sharded as it is there, else replicated."""
    mesh = mesh_of(leaf)
    if mesh is not None and list(mesh.devices.flat) == list(placement.mesh.devices.flat):
        return on_automatic(leaf)  # type: ignore[arg-type]
    return put(leaf, placement.replicated)


def put(tree: Tree, sharding: Sharding) -> Tree:
    """Arrays with this sharding; those that have it stay, all others are moved together."""
    leaves, structure = jax.tree.flatten(tree)
    away = {i: leaf for i, leaf in enumerate(leaves) if not _has(leaf, sharding)}
    shapes = {i: leaf for i, leaf in away.items() if isinstance(leaf, jax.ShapeDtypeStruct)}
    arrays = {i: _by_host(leaf, sharding) for i, leaf in away.items() if i not in shapes}
    for i, leaf in shapes.items():
        leaves[i] = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    for i, leaf in (_moved(arrays, sharding) if arrays else {}).items():
        leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def put_rows(rows: Tree, sharding: Sharding) -> Tree:
    """As `put`; what lies in host memory stays there if a program for one device is to take it.

    `jax.jit` moves it in a fifth of the time of `device_put`. But a transfer guard refuses what was
    not asked for.
    """
    leaves, structure = jax.tree.flatten(rows)
    here = all(isinstance(leaf, np.ndarray) or _has(leaf, sharding) for leaf in leaves)
    if here and isinstance(sharding, SingleDeviceSharding) and _moves_arguments():
        return jax.tree.unflatten(structure, [_owned(leaf) for leaf in leaves])
    return put(rows, sharding)


def _moves_arguments() -> bool:
    """Whether `jax.jit` takes arrays of host memory to its device."""
    guard = jax.config.jax_transfer_guard_host_to_device
    return guard in (None, "allow") and not jax.config.jax_disable_jit


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
    """Whether it lies there already, committed or not: programs of one device take both."""
    return isinstance(leaf, jax.Array) and leaf.sharding == sharding


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
