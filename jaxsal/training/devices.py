"""Devices: one training step over all of them, by `jit` on a sharded batch or by `pmap`.

Of several processes each makes the same calls, see `jaxsal.compiler.processes`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxsal.compiler.processes import place

AXIS = "devices"

Step = Callable[[Any, Any, Any], tuple[Any, Any]]
"""`step(state, data, selection) -> (state, metrics)`; `selection` has a leading batch axis."""


class Parallel(NamedTuple):
    """A step compiled for several devices, and the ways in and out of its layout.

    Attributes:
        step: the compiled step; the state is donated.
        replicate: puts a pytree of arrays (state, data) on every device.
        fetch: brings a replicated pytree back as NumPy arrays.
        devices: how many devices share a batch.
    """

    step: Step
    replicate: Callable[[Any], Any]
    fetch: Callable[[Any], Any]
    devices: int


def by_jit(make_step: Callable[[str | None], Step], devices: Sequence[jax.Device]) -> Parallel:
    """`make_step(None)` under `jit`: the selection sharded over `devices`, the rest replicated."""
    mesh = Mesh(np.asarray(devices), (AXIS,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    step = jax.jit(
        make_step(None),
        in_shardings=(whole, whole, split),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )

    def padded(state: Any, data: Any, selection: Any) -> tuple[Any, Any]:
        return step(state, data, place(pad(selection, len(devices)), split))

    return Parallel(padded, lambda tree: place(tree, whole), jax.device_get, len(devices))


def by_pmap(make_step: Callable[[str | None], Step], devices: Sequence[jax.Device]) -> Parallel:
    """`make_step(AXIS)` under `pmap`: the step itself sums over the axis; `by_jit`'s numbers."""
    split = NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec(AXIS))
    step = jax.pmap(make_step(AXIS), AXIS, devices=devices, donate_argnums=0)

    def replicate(tree: Any) -> Any:
        def copies(leaf: Any) -> np.ndarray:
            return np.broadcast_to(leaf, (len(devices), *np.shape(leaf)))

        return place(jax.tree.map(copies, tree), split)

    def spread(state: Any, data: Any, selection: Any) -> tuple[Any, Any]:
        rows = jax.tree.map(
            lambda leaf: leaf.reshape(len(devices), -1, *leaf.shape[1:]),
            pad(selection, len(devices)),
        )
        state, metrics = step(state, data, place(rows, split))
        return state, jax.tree.map(_first_copy, metrics)

    def fetch(tree: Any) -> Any:
        return jax.device_get(jax.tree.map(_first_copy, tree))

    return Parallel(spread, replicate, fetch, len(devices))


def _first_copy(leaf: jax.Array) -> jax.Array:
    """This process's first of the equal entries along the leading axis."""
    return leaf.addressable_shards[0].data[0]


MODES: dict[str, Callable[..., Parallel]] = {"jit": by_jit, "pmap": by_pmap}


def pad(tree: Any, multiple: int) -> Any:
    """Pads every leaf's leading axis to a multiple with zeros: of no weight, it does not count."""

    def one(leaf: Any) -> np.ndarray:
        extra = -len(leaf) % multiple
        return np.pad(leaf, [(0, extra)] + [(0, 0)] * (np.ndim(leaf) - 1))

    return jax.tree.map(one, tree)


def over_batch(
    function: Callable[[Any, Any], Any], devices: Sequence[jax.Device]
) -> Callable[[Any, Any], Any]:
    """`function(params, batch)` under `jit`, the batch (any length) sharded over `devices`.

    Every process gets all of the result, as NumPy arrays.
    """
    mesh = Mesh(np.asarray(devices), (AXIS,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    several = not split.is_fully_addressable
    compiled = jax.jit(
        function, in_shardings=(whole, split), out_shardings=whole if several else split
    )

    def call(params: Any, batch: Any) -> Any:
        rows = place(pad(batch, len(devices)), split)
        outputs = jax.device_get(compiled(place(params, whole), rows))
        return jax.tree.map(lambda leaf: leaf[: len(batch)], outputs)

    return call
