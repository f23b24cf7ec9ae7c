"""From a layer's value to a map over the image: its axes in order, its positive part, its size."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsal.rewrite.layers.find import LayerName
from jaxsal.rewrite.split_at_layer import SplitScore, split_at_layer
from jaxsal.types import Image, Map, ScoreFn

Layers = LayerName | list[LayerName] | tuple[LayerName, ...]
"""A layer, or several, whose maps are averaged."""

Resize = bool | str
"""`True` = `"bilinear"`, `"nearest"`, or `False`: no resizing."""

Spatial = Callable[[Array], Array]
"""From a layer's value, without its batch axis, to `[*s, C]`."""

_RESIZES = {True: "bilinear", "bilinear": "bilinear", "nearest": "nearest"}


def channels_last(
    value: Float[Array, "..."], parts: SplitScore, spatial: Spatial | None
) -> Float[Array, "*s C"]:
    """A layer's value, or its gradient, as float32 `[*s, C]`.

    Raises:
        TypeError: `spatial` is no function.
        ValueError: the layer has no spatial axes and `spatial` is not given, or gives none; it has
            one position.
    """
    rank = len(parts.spatial)
    if spatial is not None:
        if not callable(spatial):
            raise TypeError(f"spatial: expected a function of the layer's value, got {spatial!r}")
        value = spatial(value[0] if value.shape[:1] == (1,) else value)
        if not isinstance(value, jax.Array | np.ndarray) or value.ndim != rank + 1:
            came = f"shape {value.shape}" if hasattr(value, "shape") else repr(value)
            raise ValueError(
                f"spatial: expected it to return {rank} spatial axes and one of channels, "
                f"got {came}"
            )
    elif parts.axes is None:
        raise ValueError(
            f"layer: its value of shape {value.shape} has no spatial axes; give "
            f"spatial=, a function that turns it into {rank} spatial axes and one of channels"
            + (f" (the image's axes were lost at {parts.lost})" if parts.lost else "")
        )
    else:
        there = [axis for axis in parts.axes if axis is not None]
        value = jnp.moveaxis(jnp.flip(value, parts.reversed_axes), there, range(len(there)))
        value = jnp.expand_dims(value, [i for i in range(rank) if parts.axes[i] is None])
    if math.prod(value.shape[:rank]) == 1:
        raise ValueError(
            f"layer: its value of shape {parts.value.shape} has one position, a map of it is one "
            "constant over the image; give a layer before the pool that left no other"
        )
    return value.reshape(*value.shape[:rank], -1).astype(jnp.float32)


def finished(
    raw: Float[Array, "*s"], image: Image, parts: SplitScore, relu: bool, resize: Resize
) -> Map:
    """The positive part of a raw map if `relu`, brought to the image's spatial shape.

    Raises:
        ValueError: `resize` is unknown.
    """
    raw = jax.nn.relu(raw) if relu else raw
    return raw if resize is False else upsampled(raw, image, parts, resize)


def over_layers(
    raw: Callable[[SplitScore], Float[Array, "*s"]],
    score: ScoreFn,
    image: Image,
    layer: Layers,
    relu: bool,
    resize: Resize,
) -> Map:
    """The finished map of a layer, or the mean of those of several.

    Args:
        raw: from a score that was split at a layer to that layer's raw map.
        score, image, layer, relu, resize: see `jaxsal.methods.cam`.

    Raises:
        ValueError: as of `averaged`.
    """

    def of_layer(each: LayerName) -> Map:
        parts = split_at_layer(score, image, each)
        return finished(raw(parts), image, parts, relu, resize)

    return averaged(of_layer, layer)


def averaged(of_layer: Callable[[LayerName], Map], layer: Layers) -> Map:
    """The map of a layer, or the mean of those of a list of layers, none of them scaled.

    Raises:
        ValueError: no layer, or maps of different shapes.
    """
    layers = [*layer] if isinstance(layer, list | tuple) else [layer]
    if not layers:
        raise ValueError("layer: expected a layer or a list of layers, got an empty list")
    maps = [of_layer(each) for each in layers]
    shapes = list(dict.fromkeys(each.shape for each in maps))
    if len(shapes) > 1:
        raise ValueError(
            f"resize: maps of the shapes {shapes} have no mean; expected True, 'bilinear' or "
            "'nearest' for a list of layers, got False"
        )
    return maps[0] if len(maps) == 1 else jnp.mean(jnp.stack(maps), axis=0)


def upsampled(raw: Float[Array, "*s"], image: Image, parts: SplitScore, resize: Resize) -> Map:
    """A raw map, resized to the image's spatial shape."""
    return resized(raw, tuple(image.shape[axis] for axis in parts.spatial), resize)


def resized(raw: Float[Array, "*s"], shape: tuple[int, ...], resize: Resize) -> Map:
    """A raw map of that shape; as it is where `resize` is False.

    Raises:
        ValueError: `resize` is unknown.
    """
    if not isinstance(resize, str | bool) or (resize and resize not in _RESIZES):
        raise ValueError(f"resize: expected True, 'bilinear', 'nearest' or False, got {resize!r}")
    return jax.image.resize(raw, shape, _RESIZES[resize]) if resize else raw


def weighted(values: Float[Array, "*s C"], weights: Float[Array, " C"]) -> Float[Array, "*s"]:
    """`sum_c w_c A_c`, in full float32: an accelerator would round the product's factors."""
    return jnp.matmul(values, weights, precision="highest")
