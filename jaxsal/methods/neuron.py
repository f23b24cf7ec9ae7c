"""A neuron as a score, so that every method explains it."""

import operator

import jax
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxsal.methods._classes import like
from jaxsal.rewrite.layers.find import LayerName
from jaxsal.rewrite.split_at_layer import cut
from jaxsal.types import Image, Scalar, ScoreFn

Index = ArrayLike | tuple[ArrayLike, ...]
"""A position in a layer's value: one integer for each axis."""


def neuron(score: ScoreFn, layer: LayerName, index: Index) -> ScoreFn:
    """One neuron of a score's program as a score of its own.

    `neuron(score, layer, index)(x) = A(x)[index]`, A the layer's value: any method explains it,
    `integrated_gradients(neuron(score, "Conv_1", (4, 4, 7)), image)`, and so does a method of the
    explainer, `lambda score, image: gradient(neuron(score, "Conv_1", (4, 4, 7)), image)`.

    Args:
        score: image -> scalar, in whose program the neuron is.
        layer: see `jaxsal.rewrite.split_at_layer.cut`.
        index: an integer for each axis of the layer's value, a batch axis of one left out or not;
            traced ones are not checked.

    Returns:
        A score with the parameters, the spatial axes, the dtype, `rewrite` and `platform` of the
        first.

    Raises:
        TypeError: (when called) an index that is no integers.
        ValueError: (when called) as of `cut`; an index of another length, or out of range.
    """

    def value_of(image: Image) -> Scalar:
        value = cut(score, image, layer)[0]
        return value[_checked(index, value)]

    return like(score, value_of)


def _checked(index: Index, value: Array) -> tuple[ArrayLike, ...]:
    parts = [*index] if isinstance(index, tuple | list) else [index]
    parts = [each if _is_traced(each) else _integer(each) for each in parts]
    sizes = value.shape
    if len(parts) + 1 == value.ndim and sizes[0] == 1:
        parts = [0, *parts]
    known = zip(parts, sizes, strict=False)
    if len(parts) != value.ndim or any(
        isinstance(each, int) and not -size <= each < size for each, size in known
    ):
        raise ValueError(f"index: expected a position in the layer's {sizes}, got {index!r}")
    return tuple(parts)


def _is_traced(value: ArrayLike) -> bool:
    return isinstance(value, jax.core.Tracer)


def _integer(value: ArrayLike) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"index: expected integers, got {value!r}") from error
