"""The mask as what a map is to find: average precision, and hits among the first k pixels.

Relevance, ties and what is undefined (NaN, never a hit) are as in `localization`.
"""

import jax.numpy as jnp

from jaxsal.common.options import count
from jaxsal.metrics import ranks
from jaxsal.metrics._relevance import Mask, hits_among_top
from jaxsal.metrics._relevance import relevance as relevance_of
from jaxsal.types import Image, Map, Scalar, ScoreFn, may_be_nan


@may_be_nan
def average_precision(
    score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask
) -> Scalar:
    """Area under the precision-recall curve of |map| as a classifier of the mask's pixels.

    `sum over thresholds of (recall - last recall) precision`; chance is the mask's share of the
    area, which is what a constant map gets.

    Arguments, result and errors as for `relevance_mass`.
    """
    del image
    relevance, defined = relevance_of(score, map, mask)
    ordered, hits = ranks.sort_marked(relevance.ravel(), mask.ravel())
    return jnp.where(defined, ranks.average_precision_in_order(ordered, hits), jnp.nan)


@may_be_nan
def top_k_intersection(
    score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask, k: int = 100
) -> Scalar:
    """Top-k intersection: `|top-k pixels in the mask| / k` (Theiner et al. 2022).

    Where the mask has fewer than k pixels, it is below 1 for any map: rank accuracy has k = |mask|.
    Pixels tied at the k-th place share the places left.

    Other arguments, result and errors as for `relevance_mass`, and:

    Raises:
        TypeError: `k` is no concrete integer.
        ValueError: k is below one, or above the number of pixels.
    """
    del image
    k = count("k", k)
    if k > mask.size:
        raise ValueError(f"k: expected at most the {mask.size} pixels of the image, got {k}")
    relevance, defined = relevance_of(score, map, mask)
    return jnp.where(defined, hits_among_top(relevance, mask, k) / k, jnp.nan)
