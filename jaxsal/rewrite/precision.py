"""How finely a program computes: the coarsest of the dtypes of its convolutions and products."""

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr

from jaxsal.rewrite.cost import products
from jaxsal.rewrite.program import dtype_of


def computes_in(jaxpr: Jaxpr, *more: np.dtype) -> np.dtype | None:
    """The floating dtype, of what convolutions and products take, whose numbers lie farthest apart.

    Args:
        more: dtypes that count beside them. Where there is none at all it is `None`.
    """
    dtypes = (*more, *(dtype_of(atom) for eqn in products(jaxpr) for atom in eqn.invars))
    floating = [each for each in dtypes if jnp.issubdtype(each, jnp.floating)]
    return max(floating, key=lambda each: float(jnp.finfo(each).eps), default=None)
