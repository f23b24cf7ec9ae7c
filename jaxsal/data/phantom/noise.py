"""Smooth random fields: the irregularities of the phantom, the same at every image size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsal.types import Key


class Noise(NamedTuple):
    """Independent fields of about unit variance; `NODES` says how fine each one is."""

    wide_x: Array
    wide_y: Array
    coil: Array
    fold: Array
    fine_x: Array
    fine_y: Array
    lift: Array
    deep: Array
    patch: Array
    lump: Array
    vessel: Array
    bone: Array
    ragged: Array
    grain: Array
    mottle: Array


NODES = {
    5: ("wide_x", "wide_y", "coil"),
    12: ("fold",),
    14: ("fine_x", "fine_y", "lift", "deep", "patch", "lump"),
    24: ("vessel", "bone", "ragged"),
    40: ("grain", "mottle"),
}
"""Nodes along a side of the image, and the fields that have as many."""


def draw_noise(key: Key, *, size: int) -> Noise:
    """Draws normal values at the nodes and interpolates them to [size, size]."""
    # One draw for all: every call of the generator costs seconds of compilation.
    values = jax.random.normal(key, (sum(n * n * len(names) for n, names in NODES.items()),))
    fields: dict[str, Array] = {}
    start = 0
    for nodes, names in NODES.items():
        end = start + nodes * nodes * len(names)
        grids = values[start:end].reshape(len(names), nodes, nodes)
        weights = jnp.asarray(_cubic(nodes, size))
        smooth = jnp.einsum("kij,pi,qj->kpq", grids, weights, weights, precision="highest")
        fields |= dict(zip(names, smooth, strict=True))
        start = end
    return Noise(**fields)


def _cubic(nodes: int, size: int) -> Float[np.ndarray, "{size} {nodes}"]:
    """Weights of cubic convolution from nodes to pixels (Keys, IEEE Trans. ASSP 1981, a = -1/2)."""
    place = (np.arange(size) + 0.5) * nodes / size - 0.5
    t = np.abs(place[:, None] - np.arange(nodes))
    near = 1.5 * t**3 - 2.5 * t**2 + 1.0
    far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
    weights = np.where(t < 1.0, near, np.where(t < 2.0, far, 0.0))
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
