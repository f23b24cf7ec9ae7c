"""Images without what was there: functions of an image, for every option `baseline`.

Their option `spatial_axes` is bound by the method or metric that they are given to; alone they
take the usual ones (`jaxsal.types.usual_axes`): of an image [H, W] give `spatial_axes=(0, 1)`.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxsal.common.options import scale
from jaxsal.rewrite.axes.spatial import checked
from jaxsal.types import Image, SpatialAxes, accumulator, usual_axes


def mean(image: Image, *, spatial_axes: SpatialAxes | None = None) -> Image:
    """Each channel's mean at every pixel, of this image alone.

    Args:
        image: one image, floating.
        spatial_axes: along which the mean is taken; None: the usual ones.

    Returns:
        An image of the same shape and dtype.

    Raises:
        TypeError: `spatial_axes` are no integers.
        ValueError: they are none, one twice, or one that the image has not.
    """
    axes = checked(spatial_axes, image.ndim) or usual_axes(image.shape)
    return jnp.broadcast_to(jnp.mean(image, axes, keepdims=True), image.shape)


def minimum(image: Image) -> Image:
    """The image's smallest value, of this image alone, at every pixel: of its shape and dtype."""
    return jnp.broadcast_to(jnp.min(image), image.shape)


def blur(image: Image, *, sigma: float | int = 5, spatial_axes: SpatialAxes | None = None) -> Image:
    """The image under a Gaussian of `sigma` pixels along each spatial axis.

    Weights are normalised over what lies inside the image: a constant image stays as it is.

    The notebook of the authors of insertion has sigma 5 in a kernel of 11x11 pixels, at whose
    border the Gaussian is reflected: nearly a box, of deviation 3.1 along each axis. Beyond the
    image it takes zeros.

    Raises:
        ValueError: negative sigma.
    """
    image = image.astype(accumulator(image.dtype))
    width = max(float(np.asarray(scale("sigma", sigma))), 1e-3)
    for axis in checked(spatial_axes, image.ndim) or usual_axes(image.shape):
        length = image.shape[axis]
        away = np.subtract.outer(np.arange(length), np.arange(length))
        weights = np.exp(-((away / width) ** 2) / 2)
        weights = (weights / weights.sum(1, keepdims=True)).astype(image.dtype)
        image = jnp.moveaxis(
            jnp.tensordot(weights, image, axes=(1, axis), precision=lax.Precision.HIGHEST), 0, axis
        )
    return image
