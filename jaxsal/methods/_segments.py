"""An image in segments: how labels are read, coalitions of them shown, their values spread.

A coalition says of each segment whether it is shown or replaced by the baseline.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Shaped

from jaxsal.common.options import Baseline, baseline_image, count, spatial_shape
from jaxsal.rewrite.axes.spatial import spatial_axes, with_axes
from jaxsal.types import Image, Key, Scalar, ScoreFn, SpatialAxes, accumulator

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

Labels = Array | np.ndarray
"""A label for each element, or each pixel, of an image."""

Coalition = Bool[Array, " segments"]
Coalitions = Shaped[Array, "samples segments"] | Shaped[np.ndarray, "samples segments"]
"""Which segments are shown in each sample: booleans, or numbers of which 0 is hidden."""


class Segments(NamedTuple):
    """The segments of one image.

    Attributes:
        place: for each element, or pixel, of the image its segment, from 0; broadcasts to it.
        number: how many there may be; known when the method is traced.
        own: how many there are; the others, `place` has not.
    """

    place: Int[Array, "..."] | Int[np.ndarray, "..."]
    number: int
    own: int | Int[Array, ""]

    @property
    def present(self) -> Bool[Array, " segments"] | Bool[np.ndarray, " segments"]:
        """Whether a segment is one of this image."""
        return np.arange(self.number, dtype=np.int32) < self.own

    @property
    def total(self) -> float | Float[Array, ""]:
        """`own` as a number that others are divided by."""
        known = isinstance(self.own, int)
        return float(self.own) if known else jnp.asarray(self.own, jnp.float32)

    def shown(self, coalition: Coalition, image: Image, empty: Image) -> Image:
        """The image where the coalition's segments are, the baseline elsewhere."""
        seen = coalition.at[self.place].get(mode="fill", fill_value=True)
        return jnp.where(seen, image, empty)

    def spread(self, values: Float[Array, " segments"], image: Image) -> Image:
        """Each segment's value at all its elements; NaN where there are more than `number`."""
        map = values.at[self.place].get(mode="fill", fill_value=jnp.nan)
        return jnp.broadcast_to(jnp.where(self.own <= self.number, map, jnp.nan), image.shape)


def segmented(method: Function) -> Function:
    """Marks a method whose option `segments` the explainer reads: once, or an entry an image."""
    method.concrete = ("segments", "n_segments")  # type: ignore[attr-defined]
    method.bounds = {"n_segments": ("segments", most_labels)}  # type: ignore[attr-defined]
    method.forward_only = True  # type: ignore[attr-defined]
    return method


def segments_of(
    segments: ArrayLike, score: ScoreFn, image: Image, most: int | None = None
) -> Segments:
    """The segments that labels make.

    Args:
        segments: integers of the image's shape, or of its spatial shape. score, image: of these.
        most: `n_segments`, needed where the labels are traced.

    Raises:
        TypeError: traced labels without `most`, or no integers.
        ValueError: another shape, or more than `most`.
    """
    place, number = members(segments, score, image, most)
    traced = isinstance(place, jax.core.Tracer)
    return Segments(place, number, jnp.max(place) + 1 if traced else int(place.max()) + 1)


def shown_images(
    score: ScoreFn, image: Image, segments: Segments, baseline: Baseline
) -> Callable[[Coalition], Image]:
    """The image with a coalition's segments alone, as a function of the coalition.

    Raises:
        TypeError, ValueError: of the baseline, see `baseline_image`.
    """
    empty = baseline_image(with_axes(baseline, score, image), image)
    return lambda coalition: segments.shown(coalition, image, empty)


def shown_scores(
    score: ScoreFn, image: Image, segments: Segments, baseline: Baseline
) -> Callable[[Coalition], Scalar]:
    """The score of `shown_images`."""
    shown = shown_images(score, image, segments, baseline)
    return lambda coalition: wide(score(shown(coalition)))


def random_bits(key: Key, samples: int, number: int) -> Array:
    """32 bits for each segment in each sample, `[samples, number]`; sample j's from key j.

    JAX's generator gives a place the same bits in an array of any length, so that they do not
    depend on the number of segments that OTHER images of a batch have.
    """

    def draw(index: Array | np.ndarray) -> Array:
        return jax.random.bits(jax.random.fold_in(key, index), (number,), jnp.uint32)

    return jax.vmap(draw)(np.arange(samples, dtype=np.int32))


def places_of(bits: Array, segments: Segments) -> Int[Array, "samples segments"]:
    """Each segment's place in an order drawn at random; those that are not there come last."""
    bits = jnp.where(segments.present[None], bits, jnp.uint32(2**32 - 1))
    order = jnp.argsort(bits, axis=1)  # stable: those that are not there are the last labels
    return jnp.argsort(order, axis=1).astype(jnp.int32)


def coalitions_of(draws: Coalitions, segments: Segments) -> Bool[Array, "samples segments"]:
    """Draws as booleans; segments that the image has not are hidden.

    Raises:
        ValueError: of another number of segments.
    """
    drawn = jnp.asarray(draws).astype(bool)
    if drawn.ndim != 2 or drawn.shape[1] != segments.number or not len(drawn):
        raise ValueError(f"draws: expected [samples, {segments.number}], got {drawn.shape}")
    return drawn & segments.present[None]


def places(cells: int, length: int) -> Int[np.ndarray, " length"]:
    """For each pixel of an axis the cell over its centre, `⌊(i + 1/2) cells / length⌋`."""
    return (2 * np.arange(length, dtype=np.int32) + 1) * cells // (2 * length)


def most_labels(segments: np.ndarray) -> int:
    """The largest number of labels that one of the maps [B, ...] has.

    Raises:
        ValueError: labels that a device's integers do not hold.
    """
    if segments.dtype.kind not in "iub":
        return 1  # told where it is used
    maps = segments.reshape(len(segments), -1)
    if maps.size and (maps.min() < -(2**31) or maps.max() >= 2**31):
        raise ValueError(f"segments: expected labels of 32 bits, got {maps.min()} to {maps.max()}")
    return max((len(np.unique(labels)) for labels in maps), default=1)


def members(
    segments: ArrayLike, score: ScoreFn, image: Image, most: int | None
) -> tuple[Labels, int]:
    """For each element, or pixel, the place of its label among all labels, and their number."""
    traced = isinstance(segments, jax.core.Tracer)
    if traced and most is None:
        raise TypeError(f"segments: expected concrete integers, or n_segments=, got {segments!r}")
    try:
        array: Any = segments if traced else np.asarray(segments)
    except Exception as error:  # a list that holds a tracer raises an error of its own
        raise TypeError(f"segments: expected concrete integers, got {segments!r}") from error
    if array.dtype.kind not in "iub":
        raise TypeError(f"segments: expected integers, got {array.dtype}")
    if array.shape != image.shape:
        array = _with_channels(array, image, spatial_axes(score, image))
    number = 0 if most is None else count("n_segments", most)
    if traced:
        return _ranks(array), number
    labels, place = np.unique(array, return_inverse=True)
    if most is not None and len(labels) > number:
        raise ValueError(f"segments: expected {number} (n_segments) at most, got {len(labels)}")
    return place.astype(np.int32).reshape(array.shape), len(labels)


def _ranks(labels: Int[Array, "..."]) -> Int[Array, "..."]:
    """For each label how many smaller ones there are."""
    flat = labels.ravel().astype(jnp.int32)
    order = jnp.argsort(flat)
    ordered = flat[order]
    new = (ordered[1:] != ordered[:-1]).astype(jnp.int32)
    rank = jnp.concatenate([jnp.zeros_like(new, shape=1), jnp.cumsum(new)])
    return jnp.zeros_like(flat).at[order].set(rank).reshape(labels.shape)


def _with_channels(segments: Labels, image: Image, axes: SpatialAxes) -> Labels:
    """Segments of the spatial shape, with an axis of one for each of channels."""
    space = spatial_shape(image, axes)
    if segments.shape not in (space, over_axes(space, axes, [1] * image.ndim)):
        raise ValueError(
            f"segments: expected the image's shape {image.shape} or {space}, got {segments.shape}"
        )
    return segments.reshape(over_axes(space, axes, [1] * image.ndim))


def over_axes(values: Iterable[T], axes: SpatialAxes, others: Sequence[T]) -> tuple[T, ...]:
    """A value for each of the image's axes: those of the spatial ones among the others'."""
    found = list(others)
    for axis, value in zip(axes, values, strict=True):
        found[axis] = value
    return tuple(found)


def wide(scores: Array) -> Array:
    """Scores in the dtype that sums of them are kept in."""
    return scores.astype(accumulator(scores.dtype))
