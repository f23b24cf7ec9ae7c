"""Devices: one training step over all of them, by `jit` on a sharded batch or by `pmap`.

Of several processes each makes the same calls, see `jaxsal.compiler.processes`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from jaxsal.compiler.processes import place
from jaxsal.training.step import Metrics, Step, TrainState
from jaxsal.types import ApplyFn, Params

AXIS = "devices"

MakeStep = Callable[[str | None], Step]
"""The step for a device axis of that name, over which it sums; None: it sees the whole batch."""


class Parallel(NamedTuple):
    """A step compiled for several devices, and the ways in and out of its layout.

    Attributes:
        step: the compiled step; the state is donated.
        replicate: puts a pytree of arrays (state, data) on every device.
        fetch: brings a replicated pytree back as NumPy arrays.
    """

    step: Step
    replicate: Callable[[PyTree], PyTree]
    fetch: Callable[[PyTree], PyTree]


def by_jit(make_step: MakeStep, devices: Sequence[jax.Device]) -> Parallel:
    """`make_step(None)` under `jit`: the selection sharded over `devices`, the rest replicated."""
    whole, split = _shardings(devices)
    compiled = jitted(make_step, devices)

    def step(state: TrainState, data: PyTree, selection: PyTree) -> tuple[TrainState, Metrics]:
        return compiled(state, data, place(pad(selection, len(devices)), split))

    return Parallel(step, lambda tree: place(tree, whole), jax.device_get)


def jitted(make_step: MakeStep, devices: Sequence[jax.Device]) -> jax.stages.Wrapped:
    """The program of `by_jit`, for a selection of a multiple of the devices: to be looked at."""
    whole, split = _shardings(devices)
    return jax.jit(
        make_step(None),
        in_shardings=(whole, whole, split),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )


def by_pmap(make_step: MakeStep, devices: Sequence[jax.Device]) -> Parallel:
    """`make_step(AXIS)` under `pmap`: the step itself sums over the axis; `by_jit`'s numbers."""
    _, split = _shardings(devices)
    compiled = jax.pmap(make_step(AXIS), AXIS, devices=devices, donate_argnums=0)

    def replicate(tree: PyTree) -> PyTree:
        def copies(leaf: Array | np.ndarray) -> np.ndarray:
            return np.broadcast_to(leaf, (len(devices), *np.shape(leaf)))

        return place(jax.tree.map(copies, tree), split)

    def step(state: TrainState, data: PyTree, selection: PyTree) -> tuple[TrainState, Metrics]:
        rows = jax.tree.map(
            lambda leaf: leaf.reshape(len(devices), -1, *leaf.shape[1:]),
            pad(selection, len(devices)),
        )
        state, metrics = compiled(state, data, place(rows, split))
        return state, jax.tree.map(_first_copy, metrics)

    def fetch(tree: PyTree) -> PyTree:
        return jax.device_get(jax.tree.map(_first_copy, tree))

    return Parallel(step, replicate, fetch)


MODES: dict[str, Callable[[MakeStep, Sequence[jax.Device]], Parallel]] = {
    "jit": by_jit,
    "pmap": by_pmap,
}


def _shardings(devices: Sequence[jax.Device]) -> tuple[NamedSharding, NamedSharding]:
    """Of arrays that every device has whole, and of arrays split along their leading axis."""
    mesh = Mesh(np.asarray(devices), (AXIS,))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))


def _first_copy(leaf: jax.Array) -> jax.Array:
    """This process's first of the equal entries along the leading axis."""
    return leaf.addressable_shards[0].data[0]


def pad(tree: PyTree, multiple: int) -> PyTree:
    """Pads every leaf's leading axis to a multiple with zeros; a padded example has weight 0."""

    def one(leaf: np.ndarray) -> np.ndarray:
        extra = -len(leaf) % multiple
        return np.pad(leaf, [(0, extra)] + [(0, 0)] * (np.ndim(leaf) - 1))

    return jax.tree.map(one, tree)


def over_batch(
    apply: ApplyFn, devices: Sequence[jax.Device]
) -> Callable[[Params, np.ndarray], Float[np.ndarray, "batch classes"]]:
    """`apply(params, images)` under `jit`, the images (any number) sharded over `devices`.

    Every process gets all of the result, as NumPy arrays.
    """
    whole, split = _shardings(devices)
    several = not split.is_fully_addressable
    compiled = jax.jit(
        apply, in_shardings=(whole, split), out_shardings=whole if several else split
    )

    def call(params: Params, images: np.ndarray) -> np.ndarray:
        rows = place(pad(images, len(devices)), split)
        return jax.device_get(compiled(place(params, whole), rows))[: len(images)]

    return call
