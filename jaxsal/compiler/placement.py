"""Where a batch is computed: a mesh of devices, and the axes of it that it is spread over."""

import contextlib
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from jaxsal.types import ArrayOrShape, Params, Tree


@dataclass(frozen=True)
class Placement:
    """A mesh and the axes of it that the batch is spread over; the rest is replicated.

    Attributes:
        given: the caller's mesh, of which `mesh` is the one with automatic axes.
    """

    mesh: Mesh
    axes: tuple[str, ...]
    given: Mesh | None = None

    @functools.cached_property
    def devices(self) -> int:
        """How many parts the batch has."""
        return math.prod(self.mesh.shape[axis] for axis in self.axes)

    @functools.cached_property
    def rows(self) -> Sharding:
        """The sharding of an array with one entry an example."""
        if self.mesh.size == 1:
            return self.replicated
        return NamedSharding(self.mesh, PartitionSpec(self.axes))

    @functools.cached_property
    def replicated(self) -> Sharding:
        if self.mesh.size == 1:
            return SingleDeviceSharding(self.mesh.devices.flat[0])
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def local(self) -> int:
        """How many parts of it this process has, at least one."""
        return max(1, min(self.devices, len(self.mesh.local_devices)))

    @property
    def platform(self) -> str:
        return str(self.mesh.devices.flat[0].platform)

    def to_caller_mesh(self, results: Tree) -> Tree:
        """The results on the caller's own mesh, to be used beside what lies there."""
        given = self.given
        if given is None or given.size == 1 or given == self.mesh:
            return results

        return jax.tree.map(lambda array: _on(given, array), results)

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """The mesh as JAX's current one, where the user has set one (perhaps of explicit axes)."""
        if jax.sharding.get_abstract_mesh().empty:
            return contextlib.nullcontext()
        return jax.set_mesh(self.mesh)


def place_batch(mesh: Mesh | None, images: ArrayOrShape, params: Params) -> Placement:
    """Where a batch is computed.

    `mesh`; else the mesh that the images are sharded over already; else that of the parameters;
    else the one that is set (`jax.set_mesh`); else all local devices, but never more than images
    (then a power of two of them). The batch is spread over the axes that it is spread over already,
    else over all that the parameters are not sharded over.
    """
    leaves = [x for x in jax.tree.leaves(params) if isinstance(x, jax.Array)]
    if mesh is None:
        mesh = _first(map(mesh_of, [images, *leaves])) or current_mesh()
    if mesh is None:
        chosen = _local_devices([images, *leaves], images.shape[0])
        return Placement(Mesh(np.array(chosen), ("batch",)), ("batch",))
    given, mesh = mesh, automatic(mesh)
    axes = _batch_axes(images, mesh)
    if not axes:
        taken = {axis for leaf in leaves for axis in _axes_used(leaf, mesh)}
        axes = tuple(axis for axis in mesh.axis_names if axis not in taken)
    return Placement(mesh, axes, given)


def current_mesh() -> Mesh | None:
    """The mesh of the context, where the user has set one."""
    if jax.sharding.get_abstract_mesh().empty:
        return None
    mesh = jax.sharding.get_mesh()
    return mesh if isinstance(mesh, Mesh) and not mesh.empty else None


@functools.lru_cache(maxsize=128)
def automatic(mesh: Mesh) -> Mesh:
    """The same devices and axes, the compiler placing what is in between.

    A mesh of explicit axes asks each operation for the sharding of its result, and methods of one
    image know nothing of a mesh.
    """
    return Mesh(mesh.devices, mesh.axis_names)


def on_automatic(array: jax.Array) -> jax.Array:
    """The array; one on a mesh of explicit axes as one on the automatic mesh of these devices."""
    mesh = getattr(array.sharding, "mesh", None)
    if not isinstance(mesh, Mesh) or (twin := automatic(mesh)) == mesh:
        return array
    return _on(twin, array)


def own_mesh(array: jax.Array) -> contextlib.AbstractContextManager[Any]:
    """An array's own devices as JAX's current mesh, where the user has set one (of others)."""
    if jax.sharding.get_abstract_mesh().empty:
        return contextlib.nullcontext()
    mesh = mesh_of(array)
    return jax.set_mesh(
        Mesh(np.array([*array.devices()]), ("batch",)) if mesh is None else automatic(mesh)
    )


def _on(mesh: Mesh, array: jax.Array) -> jax.Array:
    """The same array on another mesh of its devices and axes; nothing is moved."""
    parts = [shard.data for shard in array.addressable_shards]
    sharding: Any = array.sharding
    there = NamedSharding(mesh, sharding.spec, memory_kind=sharding.memory_kind)
    return jax.make_array_from_single_device_arrays(array.shape, there, parts)


def _local_devices(arrays: Iterable[ArrayOrShape], count: int) -> list[jax.Device]:
    """The devices of the platform that committed arrays are on, and never more than `count`."""
    homes: list[Any] = [
        device
        for array in arrays
        if isinstance(array, jax.Array) and array.committed
        for device in array.sharding.device_set
    ]
    default: Any = jax.config.jax_default_device
    if default is not None and not homes:
        return [jax.local_devices(backend=default)[0] if isinstance(default, str) else default]
    devices = jax.local_devices(backend=homes[0].platform) if homes else jax.local_devices()
    if count < len(devices):
        devices = devices[: 1 << (count.bit_length() - 1)]
    return homes[:1] if len(devices) == 1 and homes else devices


def mesh_of(array: ArrayOrShape) -> Mesh | None:
    """The mesh of several devices that an array lies on."""
    if not isinstance(array, jax.Array) or len(array.sharding.device_set) == 1:
        return None
    if isinstance(array.sharding, NamedSharding):
        mesh = array.sharding.mesh
        return mesh if isinstance(mesh, Mesh) else None
    device_set: set[Any] = array.sharding.device_set
    devices = sorted(device_set, key=lambda device: device.id)
    return Mesh(np.array(devices), ("batch",))


def axes_of(sharding: Sharding | None) -> list[tuple[str, ...]]:
    """The axes of its mesh, by their names, that a sharding spreads each axis of an array over."""
    if not isinstance(sharding, NamedSharding):
        return []
    return [() if e is None else e if isinstance(e, tuple) else (e,) for e in sharding.spec]


def _batch_axes(images: ArrayOrShape, mesh: Mesh) -> tuple[str, ...]:
    """The axes of the mesh that the first axis of the images is spread over already."""
    return next(iter(_spec(images, mesh)), ())


def _axes_used(array: ArrayOrShape, mesh: Mesh) -> set[str]:
    return {axis for axes in _spec(array, mesh) for axis in axes}


def _spec(array: ArrayOrShape, mesh: Mesh) -> list[tuple[str, ...]]:
    """The axes of this mesh, by their names, that each axis of an array is spread over."""
    sharding = getattr(array, "sharding", None)
    if isinstance(sharding, NamedSharding) and sharding.mesh.axis_names == mesh.axis_names:
        return axes_of(sharding)
    return []


def _first(values: Iterable[Mesh | None]) -> Mesh | None:
    return next((value for value in values if value is not None), None)
