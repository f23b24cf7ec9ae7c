"""How a rule on a layer's value and its gradient becomes a class activation map's method."""

import functools
import inspect
from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from jaxsal.methods._featuremaps import (
    Layers,
    Resize,
    Spatial,
    channels_last,
    over_layers,
    weighted,
)
from jaxsal.rewrite.split_at_layer import SplitScore
from jaxsal.types import Image, Map, Scalar, ScoreFn

Rule = Callable[[Float[Array, "*s C"], Float[Array, "*s C"]], Float[Array, "*s"]]
"""From a layer's value A and its gradient G to the raw map."""

Derivative = Callable[[Callable[[Array], Scalar], Array], Array]
"""From the rest of a score and a layer's value to what stands for G, of the value's shape."""


def gradient_of(head: Callable[[Array], Scalar], value: Array) -> Array:
    """G, the gradient of the score with respect to a layer's value."""
    return jax.grad(head)(value)


def cam_method(rule: Rule, derivative: Derivative = gradient_of) -> Callable[..., Map]:
    """The method whose raw map is `rule(A, G)`, with the rule's name and docstring."""

    def method(
        score: ScoreFn,
        image: Image,
        *,
        layer: Layers = None,
        relu: bool = True,
        resize: Resize = True,
        spatial: Spatial | None = None,
    ) -> Map:
        raw = functools.partial(raw_map, rule, spatial=spatial, derivative=derivative)
        return over_layers(raw, score, image, layer, relu, resize)

    signature, annotations = inspect.signature(method), method.__annotations__
    functools.update_wrapper(method, rule)
    method.__annotations__ = annotations
    del method.__wrapped__  # type: ignore[attr-defined]
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


def raw_map(
    rule: Rule,
    parts: SplitScore,
    spatial: Spatial | None = None,
    derivative: Derivative = gradient_of,
) -> Float[Array, "*s"]:
    """`rule(A, G)` of a score that was split at a layer."""
    gradient = derivative(parts.head, parts.value)
    value, gradient = (channels_last(x, parts, spatial) for x in (parts.value, gradient))
    return rule(value, gradient)


def space(values: Float[Array, "*s C"]) -> tuple[int, ...]:
    """The spatial axes of a value with its channels last."""
    return tuple(range(values.ndim - 1))


def over_space(values: Float[Array, "*s C"]) -> Float[Array, " C"]:
    """The sum of each channel over positions."""
    return values.sum(axis=space(values))


def by_mean_gradient(
    values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]
) -> Float[Array, "*s"]:
    """Grad-CAM's rule: `sum_c mean_s(G)_c A_c`."""
    return weighted(values, gradients.mean(axis=space(values)))
