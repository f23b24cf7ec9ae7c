"""LRP rules of layers: how a convolution or dense layer passes relevance to its input.

With z = W x + b, T(W, s) the transposed layer, x⁺ = max(x, 0), x⁻ = min(x, 0), likewise of W and b,
and st(z) = z + e sign(z), sign(0) = 1, a rule sends R to Σ x T(W, R / st(z)) of changed W, x and b.
W and b are those of the layer with the norm behind it folded in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array


class LrpOptions(NamedTuple):
    """The numbers that rules take, see `jaxsal.lrp`; `low` and `high` are of the layer's input."""

    epsilon: ArrayLike = 1e-6
    gamma: ArrayLike = 0.25
    alpha: ArrayLike = 2.0
    beta: ArrayLike = 1.0
    stabilizer: ArrayLike = 1e-6
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True)
class Layer:
    """A linear layer at one input.

    Attributes:
        x: its input.
        kernel: W.
        bias: b, or zero.
        z: its value, `W x + b`.
        bind: from `x` and `W` to `W x`.
        nonnegative: whether x has no negative part, whatever the image.
    """

    x: Array
    kernel: Array
    bias: ArrayLike
    z: Array
    bind: Callable[[Array, Array], Array]
    nonnegative: bool = False

    def pull(self, kernel: Array, s: Array) -> Array:
        """T(W, s)."""
        of_input = jax.ShapeDtypeStruct(self.x.shape, self.x.dtype)
        transposed = jax.linear_transpose(lambda x: self.bind(x, kernel), of_input)
        (share,) = transposed(s.astype(self.z.dtype))
        return share


LayerRule = Callable[[Layer, Array, LrpOptions], Array]
"""From a layer and the relevance of its value to that of its input."""


def stabilized(z: Array, e: ArrayLike) -> Array:
    """`z + e sign(z)`, of which `z = 0` counts as positive."""
    e = jnp.asarray(e, z.dtype)
    return z + jnp.where(z < 0, -e, e)


def epsilon(layer: Layer, relevance: Array, options: LrpOptions) -> Array:
    """x T(W, R / st(W x + b))."""
    s = relevance / stabilized(layer.z, options.epsilon)
    return layer.x * layer.pull(layer.kernel, s)


def zplus(layer: Layer, relevance: Array, options: LrpOptions) -> Array:
    """s = R / st(W⁺x⁺ + W⁻x⁻ + b⁺); x⁺ T(W⁺, s) + x⁻ T(W⁻, s)."""
    up, down = _parts(layer.kernel)
    return _signed(layer, up, down, _parts(layer.bias)[0], relevance, options)


def alphabeta(layer: Layer, relevance: Array, options: LrpOptions) -> Array:
    """α times zplus, less β times the same of the negative contributions."""
    (up, down), (raised, lowered) = _parts(layer.kernel), _parts(layer.bias)
    positive = _signed(layer, up, down, raised, relevance, options)
    negative = _signed(layer, down, up, lowered, relevance, options)
    alpha, beta = (jnp.asarray(w, positive.dtype) for w in (options.alpha, options.beta))
    return alpha * positive - beta * negative


def gamma(layer: Layer, relevance: Array, options: LrpOptions) -> Array:
    """W' = W + γ W⁺, W'' = W + γ W⁻: W' of x⁺ and W'' of x⁻ where z > 0, exchanged where z < 0."""
    (more, less), (raised, lowered) = (
        [jnp.add(each, jnp.asarray(options.gamma, part.dtype) * part) for part in _parts(each)]
        for each in (layer.kernel, layer.bias)
    )
    none = jnp.zeros_like(relevance)
    above = jnp.where(layer.z > 0, relevance, none)
    below = jnp.where(layer.z < 0, relevance, none)
    above = _signed(layer, more, less, raised, above, options)
    return above + _signed(layer, less, more, lowered, below, options)


def flat(layer: Layer, relevance: Array, options: LrpOptions) -> Array:
    """T(1, R / st(1 ⋆ 1)): by ones for W and x, without a bias."""
    ones = jnp.ones_like(layer.kernel)
    count = layer.bind(jnp.ones_like(layer.x), ones)
    return layer.pull(ones, relevance / stabilized(count, options.stabilizer))


def wsquare(layer: Layer, relevance: Array, options: LrpOptions) -> Array:
    """T(W², R / st(W² 1 + b²))."""
    squares = jnp.square(layer.kernel)
    total = layer.bind(jnp.ones_like(layer.x), squares) + jnp.square(layer.bias)
    return layer.pull(squares, relevance / stabilized(total, options.stabilizer))


def zbox(layer: Layer, relevance: Array, options: LrpOptions) -> Array:
    """s = R / st(W x - W⁺l - W⁻h); x T(W, s) - l T(W⁺, s) - h T(W⁻, s).

    Raises:
        ValueError: the bounds `low` and `high` of the images are not given.
    """
    if options.low is None or options.high is None:
        raise ValueError(
            "low, high: expected the least and the largest value of an image's pixels, which the "
            "rule zbox needs, got None; give both (numbers, or an array for each channel)"
        )
    up, down = _parts(layer.kernel)
    z = layer.z - layer.bias - layer.bind(options.low, up) - layer.bind(options.high, down)
    s = relevance / stabilized(z, options.stabilizer)
    by_pixel = layer.x * layer.pull(layer.kernel, s)
    return by_pixel - options.low * layer.pull(up, s) - options.high * layer.pull(down, s)


RULES: dict[str, LayerRule] = {
    rule.__name__: rule for rule in (epsilon, zplus, alphabeta, gamma, flat, wsquare, zbox)
}
"""Every rule of a layer by its name."""


def _parts(values: ArrayLike) -> tuple[Array, Array]:
    """The positive and the negative part."""
    values = jnp.asarray(values)
    zero = jnp.zeros((), values.dtype)
    return jnp.maximum(values, zero), jnp.minimum(values, zero)


def _signed(
    layer: Layer,
    of_positive: Array,
    of_negative: Array,
    bias: Array,
    relevance: Array,
    options: LrpOptions,
) -> Array:
    """R by the contributions of x⁺ through one kernel and of x⁻ through another."""
    high, low = _parts(layer.x)
    z = layer.bind(layer.x if layer.nonnegative else high, of_positive) + bias
    z = z if layer.nonnegative else z + layer.bind(low, of_negative)
    s = relevance / stabilized(z, options.stabilizer)
    share = layer.pull(of_positive, s)
    if not layer.nonnegative:
        share = jnp.where(layer.x > 0, share, layer.pull(of_negative, s))
    return layer.x * share
