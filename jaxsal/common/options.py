"""Options that methods and metrics share: how a count, a fraction and a baseline are read."""

import inspect
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxsal.types import Image, Method

Baseline = ArrayLike | Callable[[Image], ArrayLike]
"""What stands for absence: a scalar, an image, or a function from the image to either."""


LARGEST = 2**31 - 1
"""The largest 32-bit integer, which loop indices can hold."""


def count(name: str, value: int, *, least: int = 1, most: int = LARGEST) -> int:
    """`value` as an int from `least` to `most`.

    Raises:
        TypeError: not an integer (nor is a bool or a traced value).
        ValueError: out of range.
    """
    try:
        number = operator.index(value)
    except Exception as error:  # a tracer raises an error of its own
        raise TypeError(f"{name}: expected a concrete integer, got {value!r}") from error
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if number < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {number}")
    if number > most:
        raise ValueError(f"{name}: expected an integer up to {most}, got {number}")
    return number


def scale(name: str, value: ArrayLike, *, most: float = float("inf")) -> ArrayLike:
    """`value`, a scalar in [0, most]; a traced value is not checked.

    Raises:
        TypeError: not a real scalar.
        ValueError: out of range.
    """
    array = numbers(name, value)
    if isinstance(value, bool) or array.ndim:
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not isinstance(value, jax.core.Tracer) and not 0 <= np.asarray(value) <= most:
        raise ValueError(f"{name}: expected a number in [0, {most}], got {value!r}")
    return value


def positive(name: str, value: ArrayLike) -> ArrayLike:
    """`value`, a scalar above 0; a traced value is not checked.

    Raises:
        TypeError: not a real scalar.
        ValueError: out of range.
    """
    if not isinstance(scale(name, value), jax.core.Tracer) and not np.asarray(value) > 0:
        raise ValueError(f"{name}: expected a number above 0, got {value!r}")
    return value


def numbers(name: str, value: object) -> jax.Array | np.ndarray:
    """`value` as an array of real numbers; what is traced stays so.

    Raises:
        TypeError: not real numbers.
        ValueError: an integer of more than 32 bits.
    """
    expected = f"{name}: expected real numbers, got "
    try:
        array = value if isinstance(value, jax.Array) else _stacked(value)
    except (TypeError, ValueError) as error:
        raise TypeError(expected + type(value).__name__) from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, bool)):
        raise TypeError(f"{expected}{array.dtype if array.ndim else repr(value)}")
    if jnp.issubdtype(array.dtype, jnp.integer) and not isinstance(array, jax.core.Tracer):
        if array.size and np.abs(np.asarray(array, float)).max() > LARGEST:
            raise ValueError(f"{name}: expected numbers up to {LARGEST}, got {value!r}")
    return array


def _stacked(value: object) -> jax.Array | np.ndarray:
    """An array of what may be a list of arrays, of which some may be traced."""
    leaves = jax.tree.leaves(value)
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
    return jnp.asarray(value) if traced else np.asarray(value)


def baseline_image(baseline: Baseline, image: Image, *, name: str = "baseline") -> Image:
    """The baseline as an image of the shape and dtype of `image`.

    Raises:
        TypeError: not a real scalar, array or function of the image.
        ValueError: an array that is neither a scalar nor of the image's shape.
    """
    value = baseline(image) if callable(baseline) else baseline
    array = jnp.asarray(numbers(name, value))
    if array.ndim == 0:
        return jnp.full_like(image, array)
    if array.shape != image.shape:
        raise ValueError(
            f"{name}: expected a scalar or the image's shape {image.shape}, got {array.shape}"
        )
    # Under shard_map it has to vary over the axes that the image varies over.
    return array.astype(image.dtype) + jnp.zeros_like(image)


def baseline_images(baselines: ArrayLike, image: Image) -> Array:
    """A set of baselines as an array [N, *image.shape] of the image's dtype.

    Raises:
        TypeError: not real numbers.
        ValueError: no non-empty set of images.
    """
    images = jnp.asarray(numbers("baselines", baselines), image.dtype)
    if images.shape[1:] != image.shape or images.shape[:1] == (0,) or images.ndim == 0:
        raise ValueError(
            f"baselines: expected shape (N, {', '.join(map(str, image.shape))}) with N >= 1, "
            f"got {images.shape}"
        )
    return images


def spatial_shape(image: Image, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The image's extents along its spatial axes, see `jaxsal.rewrite.axes.spatial`."""
    return tuple(image.shape[axis] for axis in axes)


def channel_axes(image: Image, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The image's axes that are not spatial."""
    return tuple(axis for axis in range(image.ndim) if axis not in axes)


def over_image(values: Array, image: Image, axes: tuple[int, ...]) -> Array:
    """Values of pixels, `[*spatial]`, beside the image: of length one along its channels."""
    return jnp.expand_dims(values, channel_axes(image, axes))


def takes_key(method: Method) -> bool:
    """Whether the method takes a `key` that is not bound yet, one with the default `None` too.

    `compiler.signatures.needs_key` asks for less: whether a call without a key is an error.
    """
    parameter = inspect.signature(method).parameters.get("key")
    return parameter is not None and (
        parameter.default is None or parameter.default is parameter.empty
    )
