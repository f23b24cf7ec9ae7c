"""How few pixels does a map need? Sparseness and entropy of |map|.

Of ONE map, its channels summed; of the model, its reading of the axes alone counts. Both ignore the
map's scale and sign. An all-zero map, and one with a value that is not finite, has neither (NaN).
Without a model, an image [H, W] is given with a channel, [H, W, 1]: of two axes the last holds
channels.
"""

import jax
import jax.numpy as jnp

from jaxsal.metrics._relevance import Pixels, pixels
from jaxsal.types import Image, Map, Scalar, ScoreFn, may_be_nan


@may_be_nan
def sparseness(score: ScoreFn | None, image: Image, map: Map) -> Scalar:
    """The Gini index of |map| over pixels: 0 for a constant map, near 1 for a single pixel.

    .. math:: Σᵢ (2i - n - 1) a_i / (n Σ a),  a in increasing order

    References:
        Chalasani, Chen, Chowdhury, Wu & Jha, "Concise Explanations of Neural Networks using
        Adversarial Training", ICML 2020, https://arxiv.org/abs/1810.06583
    """
    share = jnp.sort(_shares(score, map, image).ravel())
    rank = (2 * jnp.arange(share.size) + 1 - share.size) / share.size
    return jnp.sum(rank.astype(share.dtype) * share)


@may_be_nan
def entropy(score: ScoreFn | None, image: Image, map: Map) -> Scalar:
    """The entropy of |map| as a distribution over n pixels, in nats: 0 for one pixel, at most ln n.

    .. math:: - Σ p ln p,  p = a / Σ a

    References:
        Bhatt, Weller & Moura, "Evaluating and Aggregating Feature-based Model Explanations", IJCAI
        2020, https://arxiv.org/abs/2005.00631
    """
    return jnp.sum(jax.scipy.special.entr(_shares(score, map, image)))


def _shares(score: ScoreFn | None, map: Map, image: Image) -> Pixels:
    """Each pixel's share of |map|; NaN without relevance."""
    values = pixels(score, map, image)
    top = jnp.max(values)
    values = values / jnp.where((top > 0) & jnp.isfinite(top), top, jnp.nan)
    return values / jnp.sum(values)
