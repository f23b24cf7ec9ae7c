"""By how much scores that are equal may differ, and sums of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxsal.types import Image, Scalar, ScoreFn, accumulator

ULPS = 4
"""By how many units in the last place of the largest value equal ones may differ."""


def dtype_of(score: ScoreFn, image: Image) -> np.dtype:
    """What a score computes in: its attribute `dtype`, or else that of its value.

    Of a score of integers, such as a count, what they are added up in.
    """
    told = getattr(score, "dtype", None)
    found = jnp.dtype(jax.eval_shape(score, image).dtype if told is None else told)
    return found if jnp.issubdtype(found, jnp.floating) else jnp.dtype(accumulator(found))


def rounding(values: Float[Array, "..."], dtype: DTypeLike | None = None) -> Scalar:
    """By how much values that are equal may differ: a few units in the largest's last place.

    Args:
        dtype: what they were computed in, where they are kept in a wider one; see `dtype_of`.
    """
    dtypes = (values.dtype, values.dtype if dtype is None else dtype)
    eps = max(float(jnp.finfo(each).eps) for each in dtypes)
    return ULPS * eps * jnp.max(jnp.abs(values.astype(accumulator(values.dtype))))
