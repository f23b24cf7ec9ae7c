"""Devices: which mesh a batch is spread over, and how arrays get there."""

import contextlib
import functools
import itertools
import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding


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
    def platform(self) -> str:
        return str(self.mesh.devices.flat[0].platform)

    def handed(self, results: Any) -> Any:
        """The results on the caller's own mesh, to be used beside what lies there."""
        given = self.given
        if given is None or given.size == 1 or given == self.mesh:
            return results

        def on(array: jax.Array) -> jax.Array:
            parts = [shard.data for shard in array.addressable_shards]
            sharding = NamedSharding(given, array.sharding.spec)  # type: ignore[attr-defined]
            return jax.make_array_from_single_device_arrays(array.shape, sharding, parts)

        return jax.tree.map(on, results)

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """The mesh as JAX's current one, where the user has set one (perhaps of explicit axes)."""
        if jax.sharding.get_abstract_mesh().empty:
            return contextlib.nullcontext()
        return jax.set_mesh(self.mesh)


def place_batch(mesh: Mesh | None, images: Any, params: Any) -> Placement:
    """Where a batch is computed.

    `mesh`; else the mesh that the images are sharded over already; else that of the parameters;
    else the one that is set (`jax.set_mesh`); else all local devices, but never more than images
    (then a power of two of them). The batch is spread over the axes that it is spread over already,
    else over all that the parameters are not sharded over.
    """
    leaves = [x for x in jax.tree.leaves(params) if isinstance(x, jax.Array)]
    if mesh is None:
        mesh = _first(map(_mesh_of, [images, *leaves])) or _mesh_set()
    if mesh is None:
        chosen = _local_devices([images, *leaves], images.shape[0])
        return Placement(Mesh(np.array(chosen), ("batch",)), ("batch",))
    given, mesh = mesh, automatic(mesh)
    axes = _batch_axes(images, mesh)
    if not axes:
        taken = {axis for leaf in leaves for axis in _axes_used(leaf, mesh)}
        axes = tuple(axis for axis in mesh.axis_names if axis not in taken)
    return Placement(mesh, axes, given)


def _mesh_set() -> Mesh | None:
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


class Places:
    """`place_batch`, which remembers where it placed the last batch: the next is mostly like it."""

    def __init__(self) -> None:
        self._last: tuple[Any, Any, Placement] | None = None

    def __call__(self, mesh: Mesh | None, images: Any, params: Any, known: Any) -> Placement:
        """Where a batch is computed.

        Args:
            mesh, images, params: as of `place_batch`.
            known: an object that is the same as long as the arrays of `params` are.
        """
        if isinstance(images, jax.core.Tracer):
            return place_batch(mesh, images, params)
        home = getattr(images, "sharding", None), getattr(images, "committed", False)
        context = _mesh_set() if mesh is None else None
        key = mesh, home, images.shape[0], jax.config.jax_default_device, context
        last = self._last
        if last is None or last[0] is not known or last[1] != key:
            last = self._last = known, key, place_batch(mesh, images, params)
        return last[2]


class Resident:
    """Parameters on their devices: placed once, and found there by the next call.

    Arrays of JAX do not change. Those of NumPy may: each call compares them with what was placed,
    which takes less time than to place them again. A copy goes when its array does.
    """

    def __init__(self) -> None:
        self._last: tuple[Placement | None, list[_Copy]] = None, []

    def __call__(self, tree: Any, placement: Placement) -> Any:
        leaves, structure = jax.tree.flatten(tree)
        before, known = self._last  # read once, and never written to: other threads call too
        known = known if placement == before else []
        copies = [
            copy if copy is not None and copy.serves(leaf) else _Copy(leaf, placement)
            for leaf, copy in itertools.zip_longest(leaves, known[: len(leaves)])
        ]
        placed = [copy.of(leaf) for leaf, copy in zip(leaves, copies, strict=True)]
        if not any(isinstance(x, jax.core.Tracer) for x in placed):
            self._last = placement, copies
        return jax.tree.unflatten(structure, placed)


class _Copy:
    """An array on the devices where it is needed, for as long as the array itself lives."""

    __slots__ = ("__weakref__", "_array", "_contents", "_placed")

    def __init__(self, array: Any, placement: Placement) -> None:
        self._array: Any = None
        self._contents: np.ndarray | None = None
        self._placed: Any
        if _may_change(array):
            self._contents = array.copy(order="K")
            self._contents.flags.writeable = False
            self._placed = put_parameter(self._contents, placement)
        else:
            placed = put_parameter(array, placement)
            self._placed = None if placed is array else placed
        if isinstance(array, jax.Array | np.ndarray):
            self._array = weakref.ref(array, functools.partial(_drop, weakref.ref(self)))

    def serves(self, array: Any) -> bool:
        """Whether it is a copy of this array, as it is now."""
        if self._array is None or self._array() is not array:
            return False
        return self._contents is None or _same_bytes(array, self._contents)

    def of(self, array: Any) -> Any:
        """The copy; the array itself, where it lies there already."""
        return array if self._placed is None else self._placed

    def drop(self) -> None:
        self._placed = self._contents = None


def _drop(copy: "weakref.ref[_Copy]", _: Any) -> None:
    if (found := copy()) is not None:
        found.drop()


def _may_change(array: Any) -> bool:
    """Whether the caller may write to an array later."""
    ours = isinstance(array, np.ndarray) and array.flags.owndata and not array.flags.writeable
    return isinstance(array, np.ndarray) and not ours


_PIECE = 2**20
"""Bytes compared at a time, which stay in the cache."""


def _same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays that lie alike have the same contents, NaNs too."""
    if one.dtype != other.dtype or one.shape != other.shape or one.strides != other.strides:
        return False
    a, b = (x.ravel(order="K").view(np.uint8) for x in (one, other))
    starts = range(0, a.size, _PIECE)
    return all(np.array_equal(a[i : i + _PIECE], b[i : i + _PIECE]) for i in starts)


def put_parameter(leaf: Any, placement: Placement) -> Any:
    """A parameter on the devices of the batch: sharded as it is there, else replicated."""
    mesh = _mesh_of(leaf)
    if mesh is not None and list(mesh.devices.flat) == list(placement.mesh.devices.flat):
        twin = automatic(mesh)
        return leaf if twin == mesh else put(leaf, NamedSharding(twin, leaf.sharding.spec))
    return put(leaf, placement.replicated)


def put(leaf: Any, sharding: Sharding) -> Any:
    """The array with this sharding; itself where it has it already."""
    return put_all({"leaf": leaf}, sharding)["leaf"]


def put_all(leaves: dict[str, Any], sharding: Sharding) -> dict[str, Any]:
    """Arrays with this sharding: those that have it not are moved together."""
    leaves = {name: _committed(leaf, sharding) for name, leaf in leaves.items()}
    here = {name: leaf for name, leaf in leaves.items() if not _has(leaf, sharding)}
    shapes = {name: leaf for name, leaf in here.items() if isinstance(leaf, jax.ShapeDtypeStruct)}
    moved = {name: _cut_loose(leaf, sharding) for name, leaf in here.items() if name not in shapes}
    return {
        **leaves,
        **{n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) for n, x in shapes.items()},
        **(_moved(moved, sharding) if moved else {}),
    }


def _moved(leaves: dict[str, Any], sharding: Sharding) -> dict[str, Any]:
    """Arrays on the devices of a sharding; where other processes own some, each puts its part.

    `device_put` would send every array to all processes, to be compared there.
    """
    if sharding.is_fully_addressable:
        return dict(jax.device_put({n: _owned(x) for n, x in leaves.items()}, sharding))
    here = {name: _spread(leaf, sharding) for name, leaf in leaves.items() if _is_local(leaf)}
    return {**jax.device_put({n: x for n, x in leaves.items() if n not in here}, sharding), **here}


def _owned(leaf: Any) -> Any:
    """The array; of the caller's own memory a copy.

    Calls do not wait for their programs, nor (on an accelerator) for the transfer, and the caller
    may fill the memory anew meanwhile, unless nobody can write to it.
    """
    return leaf.copy() if _may_change(leaf) else leaf


def _is_local(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or (
        leaf.is_fully_addressable and not isinstance(leaf, jax.core.Tracer)
    )


def _spread(leaf: Any, sharding: Sharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _spread(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype), copy=False)

    def part(index: Any) -> Any:
        return _owned(host[index])

    return jax.make_array_from_callback(host.shape, sharding, part)


def _has(leaf: Any, sharding: Sharding) -> bool:
    """Whether it lies there already; an uncommitted one would be compiled for once more."""
    return isinstance(leaf, jax.Array) and bool(leaf.committed and leaf.sharding == sharding)


def _committed(leaf: Any, sharding: Sharding) -> Any:
    """The array; an uncommitted one that lies on this one device, committed to it.

    As `device_put` does in four times the time, which each call would wait for.
    """
    if not isinstance(sharding, SingleDeviceSharding) or not isinstance(leaf, jax.Array):
        return leaf
    plain = not isinstance(leaf, jax.core.Tracer) and isinstance(leaf.dtype, np.dtype)
    if not plain or leaf.committed or leaf.sharding != sharding or leaf.weak_type:
        return leaf
    return jax.make_array_from_single_device_arrays(leaf.shape, sharding, [leaf])


def _cut_loose(leaf: Any, sharding: Sharding) -> Any:
    """The array, in host memory where it must go to other devices: no program cuts it up then."""
    if isinstance(leaf, jax.Array) and leaf.sharding.device_set != sharding.device_set:
        host = on_host(leaf)
        return leaf if host is None else host.copy()  # else the result would keep it alive
    return leaf


def agreed(value: float, placement: Placement) -> float:
    """The least of the values of the processes that share a mesh, which compile one program."""
    if placement.rows.is_fully_addressable:
        return value
    mesh = placement.mesh
    split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    own = np.full(mesh.size, min(value, float(np.finfo(np.float32).max)), np.float32)
    return float(_least(jax.make_array_from_callback(own.shape, split, own.__getitem__)))


@jax.jit
def _least(values: Any) -> Any:
    return jnp.min(values)


def on_host(array: Any) -> np.ndarray | None:
    """The array as NumPy's where it lies in host memory, else None."""
    if not isinstance(array, jax.Array):
        return np.asarray(array)
    if isinstance(array, jax.core.Tracer) or jnp.issubdtype(array.dtype, jax.dtypes.extended):
        return None
    device_set: set[Any] = array.sharding.device_set
    platforms = {device.platform for device in device_set}
    return np.asarray(array) if array.is_fully_addressable and platforms == {"cpu"} else None


def _local_devices(arrays: Iterable[Any], count: int) -> list[Any]:
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


def _mesh_of(array: Any) -> Mesh | None:
    """The mesh of several devices that an array lies on."""
    if not isinstance(array, jax.Array) or len(array.sharding.device_set) == 1:
        return None
    if isinstance(array.sharding, NamedSharding):
        mesh = array.sharding.mesh
        return mesh if isinstance(mesh, Mesh) else None
    device_set: set[Any] = array.sharding.device_set
    devices = sorted(device_set, key=lambda device: device.id)
    return Mesh(np.array(devices), ("batch",))


def _batch_axes(images: Any, mesh: Mesh) -> tuple[str, ...]:
    """The axes of the mesh that the first axis of the images is spread over already."""
    if not _lies_on(images, mesh) or not images.sharding.spec:
        return ()
    first = images.sharding.spec[0]
    return () if first is None else first if isinstance(first, tuple) else (first,)


def _axes_used(array: jax.Array, mesh: Mesh) -> set[str]:
    if not _lies_on(array, mesh):
        return set()
    sharding: Any = array.sharding
    entries = [e for e in sharding.spec if e is not None]
    return {axis for e in entries for axis in (e if isinstance(e, tuple) else (e,))}


def _lies_on(array: Any, mesh: Mesh) -> bool:
    """Whether the array is sharded by the names of this mesh."""
    sharding = getattr(array, "sharding", None)
    return isinstance(sharding, NamedSharding) and sharding.mesh.axis_names == mesh.axis_names


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)
