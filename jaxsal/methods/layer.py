"""Attribution to a layer's units: gradients and paths, with maps of the layer's own shape.

Called as `method(score, image, *, layer=None, ...)`.

Args:
    score: image -> scalar.
    image: `[...]` float.
    layer: which layer, see `jaxsal.rewrite.split_at_layer`; `None` = the last feature map that
        every path from the image to the score passes.

Returns:
    A float32 map of the shape of the layer's value, without its batch axis of one.

Raises:
    ValueError: the layer is unknown or ambiguous, or inside a `while` or `cond`; it is `None`, and
        there is no such feature map or attention comes after it; a baseline of another shape.
    TypeError: `layer` is no int, string or `None`, a count no concrete integer, the baseline no
        real array.
"""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxsal.common.options import Baseline, baseline_image, count
from jaxsal.common.points import sum_increments, sum_points
from jaxsal.methods.quadrature import quadrature
from jaxsal.rewrite.axes.spatial import with_axes
from jaxsal.rewrite.layers.find import LayerName
from jaxsal.rewrite.split_at_layer import cut
from jaxsal.types import Image, ScoreFn, accumulator


def layer_gradient_x_activation(
    score: ScoreFn, image: Image, *, layer: LayerName = None
) -> Float[Array, "..."]:
    """The layer's value times the score's gradient there: `A ⊙ ∂s/∂A`.

    Arguments, result and errors: `jaxsal.methods.layer`. Complete where the rest of the score is
    linear without a constant.

    References:
        Kokhlikyan et al., "Captum: A unified and generic model interpretability library for
        PyTorch", 2020, https://arxiv.org/abs/2009.07896
    """
    value, head = cut(score, image, layer)
    return _alone(_wide(value) * _wide(jax.grad(head)(value)))


def layer_integrated_gradients(
    score: ScoreFn,
    image: Image,
    *,
    layer: LayerName = None,
    baseline: Baseline = 0.0,
    steps: int = 50,
    rule: str = "gausslegendre",
    chunk: int = 1,
) -> Float[Array, "..."]:
    """Integrated gradients along the straight path between two values of the layer.

    .. math:: (A(x) - A(b)) ⊙ Σₖ wₖ ∂s/∂A at A(b) + αₖ (A(x) - A(b))

    What else the score computes from the image (a skip past the layer) stays at x: the map sums to
    the difference that the layer alone makes.

    Args:
        baseline: b, an image: a scalar, an image of the same shape, or a function of the image.
        steps, rule, chunk: as of `jaxsal.integrated_gradients`.

    Other arguments, result and errors: `jaxsal.methods.layer`.

    References:
        Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
        https://arxiv.org/abs/1703.01365; Kokhlikyan et al., 2020, https://arxiv.org/abs/2009.07896
    """
    value, head = cut(score, image, layer)
    start = cut(score, baseline_image(with_axes(baseline, score, image), image), layer)[0]
    positions, weights = quadrature(rule, count("steps", steps))

    def at(position: Array) -> Array:
        place = start + position.astype(value.dtype) * (value - start)
        return jax.grad(head)(place)

    positions = positions.astype(accumulator(image.dtype))
    total = sum_points(at, positions, weights, like=image, chunk=count("chunk", chunk))
    return _alone(_wide(value - start) * total)


def internal_influence(
    score: ScoreFn,
    image: Image,
    *,
    layer: LayerName = None,
    baseline: Baseline = 0.0,
    steps: int = 50,
    rule: str = "gausslegendre",
    chunk: int = 1,
) -> Float[Array, "..."]:
    """The score's mean gradient in the layer, along the straight path from a baseline to the image.

    .. math:: Σₖ wₖ ∂s/∂A at A(b + αₖ (x - b))

    A gradient, not multiplied by what the layer is. Arguments, result and errors: as of
    `layer_integrated_gradients`.

    References:
        Leino, Sen, Datta, Fredrikson & Li, "Influence-Directed Explanations for Deep Convolutional
        Networks", ITC 2018, https://arxiv.org/abs/1802.03788
    """
    at = _along(score, image, layer, baseline)
    positions, weights = quadrature(rule, count("steps", steps))
    positions = positions.astype(accumulator(image.dtype))
    gradient = lambda position: at(position)[1]  # noqa: E731
    return _alone(sum_points(gradient, positions, weights, like=image, chunk=count("chunk", chunk)))


def layer_conductance(
    score: ScoreFn,
    image: Image,
    *,
    layer: LayerName = None,
    baseline: Baseline = 0.0,
    steps: int = 50,
    chunk: int = 1,
) -> Float[Array, "..."]:
    """How much of the score's change flows through each unit, on the way from a baseline.

    .. math:: Σₖ (A(xₖ₊₁) - A(xₖ)) ⊙ ∂s/∂A(xₖ),  xₖ = b + (k / n) (x - b),  k < n

    Both ends are among the n + 1 points. Of a layer that every path from the image to the score
    passes, the map sums to s(x) - s(b): to rounding where the rest of the score is affine, else up
    to the error of n steps. Arguments, result and errors: as of `layer_integrated_gradients`.

    References:
        Dhamdhere, Sundararajan & Yan, "How Important Is a Neuron?", ICLR 2019,
        https://arxiv.org/abs/1805.12233
    """
    at = _along(score, image, layer, baseline)
    positions = np.linspace(0, 1, count("steps", steps) + 1).astype(accumulator(image.dtype))
    return _alone(sum_increments(at, positions, like=image, chunk=count("chunk", chunk)))


def _along(
    score: ScoreFn, image: Image, layer: LayerName, baseline: Baseline
) -> Callable[[Array], tuple[Array, Array]]:
    """From a position on the straight path to the layer's value and the score's gradient there."""
    start = baseline_image(with_axes(baseline, score, image), image)

    def at(position: Array) -> tuple[Array, Array]:
        value, head = cut(score, start + position.astype(image.dtype) * (image - start), layer)
        return _wide(value), _wide(jax.grad(head)(value))

    return at


def _wide(values: Float[Array, "..."]) -> Float[Array, "..."]:
    return values.astype(accumulator(values.dtype))


def _alone(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Without the batch axis of one that a program has."""
    return values[0] if values.shape[:1] == (1,) and values.ndim > 1 else values
