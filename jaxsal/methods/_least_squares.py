"""Normal equations of a small least-squares problem, solved on the device."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

NULL = 1e-5
"""The share of the largest eigenvalue up to which one is zero but for rounding."""

STEPS = 500
"""Of descent, where a penalty has no closed form."""


def solve(matrix: Float[Array, "n n"], right: Float[Array, " n"]) -> Float[Array, " n"]:
    """The solution of least norm of a symmetric, positive semi-definite system.

    By eigenvectors: what the system does not determine is zero, not rounding noise over a small
    number. Solved once more for what is left, which takes off the error of the eigenvectors.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    known = values > NULL * values[-1]

    def inverse(right: Float[Array, " n"]) -> Float[Array, " n"]:
        along = product(right, vectors) / jnp.where(known, values, 1)
        return product(vectors, jnp.where(known, along, 0))

    found = inverse(right)
    return found + inverse(right - product(matrix, found))


def solve_sparse(
    matrix: Float[Array, "n n"], right: Float[Array, " n"], penalty: Float[Array, ""]
) -> Float[Array, " n"]:
    """The least x·G x / 2 - b·x + penalty ‖x‖₁, G positive semi-definite, by FISTA.

    References:
        Beck & Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse
        Problems", SIAM Journal on Imaging Sciences 2009
    """
    largest = jnp.max(jnp.sum(jnp.abs(matrix), 1))  # no eigenvalue is larger
    step = 1 / jnp.where(largest > 0, largest, 1)

    def moved(count: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, ahead = state
        down = ahead - step * (product(matrix, ahead) - right)
        new = jnp.sign(down) * jnp.maximum(jnp.abs(down) - step * penalty, 0)
        # A step that turns back starts anew: without it, FISTA overshoots for long.
        back = jnp.sum((ahead - new) * (new - x)) > 0
        return new, jnp.where(back, new, new + count / (count + 3) * (new - x))

    zero = jnp.zeros_like(right)
    return lax.fori_loop(0, STEPS, moved, (zero, zero))[0]


def product(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """A matrix product of the operands' full precision, whatever the platform's default."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
