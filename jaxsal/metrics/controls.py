"""Methods that know nothing of the model but its axes: what a map must be compared with.

Without a model, an image [H, W] is given with a channel, [H, W, 1]: of two axes the last holds
channels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsal.common.options import over_image, spatial_shape
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.types import Image, Key, Method, ScoreFn, SpatialAxes


def centre_prior(score: ScoreFn | None, image: Image) -> Image:
    """A Gaussian at the image's centre, its deviation a quarter of each side.

    A method like any other, blind to model and image; above chance where objects lie centrally.
    """
    axes = spatial_axes(score, image)
    grids = jnp.meshgrid(*map(_about_centre, spatial_shape(image, axes)), indexing="ij")
    prior = jnp.exp(-sum(grid**2 for grid in grids) / 2)
    return jnp.broadcast_to(over_image(prior, image, axes), image.shape)


def _about_centre(length: int) -> Float[Array, " length"]:
    """Each pixel's distance to the middle of an axis, in quarters of its length."""
    return (jnp.arange(length, dtype=jnp.float32) - (length - 1) / 2) / (length / 4)


def uniform_random(score: ScoreFn | None, image: Image, *, key: Key) -> Image:
    """Independent uniform values in [0, 1). A method like any other, blind to all."""
    del score
    return jax.random.uniform(key, image.shape, jnp.float32)


def edge_detector(score: ScoreFn | None, image: Image) -> Image:
    """The length of the image's gradient: what a map shows that shows the image's edges.

    `|grad x| = sqrt(sum over axes of (Sobel along the axis)^2)`, each channel by itself, borders
    repeated (the control of Adebayo et al. 2018).
    """
    axes = spatial_axes(score, image)
    squares = [jnp.square(_sobel(image, along, axes)) for along in axes]
    return jnp.sqrt(sum(squares[1:], squares[0]))


def _sobel(image: Image, along: int, axes: SpatialAxes) -> Image:
    """Central difference along one axis, smoothed by (1, 2, 1) / 4 along the others."""
    for axis in axes:
        widths = [(1, 1) if i == axis else (0, 0) for i in range(image.ndim)]
        padded, n = jnp.pad(image, widths, mode="edge"), image.shape[axis]
        before, here, after = (jax.lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(3))
        image = (after - before) / 2 if axis == along else (before + 2 * here + after) / 4
    return image


CONTROLS: dict[str, Method] = {
    "centre prior": centre_prior,
    "edge detector": edge_detector,
    "uniform random": uniform_random,
}
"""Methods that know nothing of the model: what a measure must be compared with.

Their maps are of the shape of the image. "uniform random" needs a key; the others raise a
`ValueError` where nothing says which axes of the image are spatial.
"""
