"""Several processes, usually one a host: joining them, and moving arrays between them.

Each process makes the same calls with the same arguments, and puts on its own devices its own rows
of a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from jaxsal.compiler.addressable import is_addressable
from jaxsal.types import ArrayOrShape, Tree


def local_devices(count: object = None) -> Sequence[jax.Device]:
    """The first `count` local devices; `None` is all of them.

    Raises:
        TypeError: `count` is no integer.
        ValueError: fewer than `count` devices, or `count` below one.
    """
    devices = jax.local_devices()
    if count is None:
        return devices
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"devices: expected a count or None, got {count!r}")
    if not 1 <= count <= len(devices):
        raise ValueError(f"devices: asked for {count}, this process has {len(devices)}")
    return devices[:count]


def all_devices(count: int | None = None) -> Sequence[jax.Device]:
    """The first `count` devices of every process, process by process; `None` is all of them.

    Raises:
        ValueError: as of `local_devices`.
    """
    share = len(local_devices(count))
    owned = [[d for d in jax.devices() if d.process_index == p] for p in range(jax.process_count())]
    return [device for own in owned for device in own[:share]]


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    patience: int = 30,
) -> None:
    """Joins this process to the others, before JAX has looked for its devices.

    Args:
        coordinator: HOST:PORT of process 0. processes: how many. process: which one this is. None:
            what Slurm, GKE, Open MPI or a TPU pod say.
        patience: seconds without a sign of life after which a process counts as dead; the others
            then stop, and say which one it was. A process that does not appear in ten times that
            is an error too.

    Raises:
        ValueError: there is no such environment, or the numbers make no sense.
        ConnectionError: the others cannot be reached.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=patience,
            shutdown_timeout_seconds=patience,
            initialization_timeout=10 * patience,
        )
    except ValueError as error:
        raise ValueError(
            f"distributed: no cluster is found here ({error}); give --coordinator HOST:PORT, "
            "--processes N and --process I"
        ) from error
    except RuntimeError as error:
        raise ConnectionError(
            f"distributed: {coordinator} cannot be joined: {' '.join(str(error).split())[:200]}"
        ) from error


@dataclass(frozen=True)
class Processes:
    """Several processes, usually one a host; each makes the same call."""

    distributed: bool = False
    """Join the others: as Slurm, GKE, Open MPI or a TPU pod say, or by the three that follow."""
    coordinator: str | None = None
    """HOST:PORT where process 0 can be reached."""
    processes: int | None = None
    """How many there are."""
    process: int | None = None
    """Which one this is, from 0."""


def join_if(asked: Processes) -> None:
    """Joins the other processes, if there are any.

    Raises:
        ValueError: numbers without `distributed`; and as of `join`.
        ConnectionError: as of `join`.
    """
    given = (asked.coordinator, asked.processes, asked.process)
    if asked.distributed:
        join(*given)
    elif any(value is not None for value in given):
        raise ValueError("distributed: --coordinator, --processes and --process go with it")


def lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone."""
    signs = ("Connection closed by peer", "Gloo", "heartbeat", "CoordinationService", "NCCL")
    return jax.process_count() > 1 and any(sign in str(error) for sign in signs)


def wait(name: str) -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def place(tree: Tree, sharding: Sharding) -> Tree:
    """Arrays of host memory on the devices of a sharding; each process puts its own part there."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: put_own_part(leaf, sharding), tree)


def put_own_part(
    leaf: ArrayOrShape, sharding: Sharding, own: Callable[[np.ndarray], Any] = np.asarray
) -> jax.Array:
    """An array that every process has, spread over the devices of all.

    Args:
        leaf: an array, or an array of keys.
        sharding: over several processes.
        own: of a part of it in host memory, what is put there: a copy, where it may change.
    """
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = put_own_part(jax.random.key_data(leaf), sharding, own)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype), copy=False)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: own(host[index]))


def gather(tree: Tree) -> Tree:
    """Arrays of any sharding as NumPy's, whole, in every process."""

    def one(leaf: jax.Array) -> np.ndarray:
        if is_addressable(leaf) or leaf.is_fully_replicated:
            return jax.device_get(leaf)
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(one, tree)


def least(value: float, mesh: Mesh) -> float:
    """The least of the values of the processes that share a mesh."""
    split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    if split.is_fully_addressable:
        return value
    own = np.full(mesh.size, min(value, float(np.finfo(np.float32).max)), np.float32)
    return float(_least(jax.make_array_from_callback(own.shape, split, own.__getitem__)))


@jax.jit
def _least(values: jax.Array) -> jax.Array:
    return jnp.min(values)
