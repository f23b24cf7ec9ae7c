"""Normal equations of a small least-squares problem, solved on the device."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

ROUNDS = 5
"""Of refinement."""

STEPS = 500
"""Of descent, where a penalty has no closed form."""

SHIFT = 1e-4
"""Of the matrix's mean eigenvalue: what a round adds, and the next takes off the error again."""


def solve(matrix: Float[Array, "n n"], right: Float[Array, " n"]) -> Float[Array, " n"]:
    """The solution of least norm of a symmetric, positive semi-definite system.

    A Cholesky factor of the matrix with a small shift, and a few rounds of refinement, as in
    iterated Tikhonov regularisation: `x += (G + d I)⁻¹ (b - G x)` multiplies the error along an
    eigenvector by d / (λ + d), and leaves what the system does not determine at zero. A batch of
    such factors is fast on every platform, where decompositions into eigenvectors are not.

    References:
        Hanke & Hansen, "Regularization methods for large-scale problems", Surveys on Mathematics
        for Industry 1993
    """
    mean = jnp.trace(matrix) / len(matrix)
    shift = jnp.where(mean > 0, SHIFT * mean, 1)
    factor = jax.scipy.linalg.cho_factor(matrix + shift * jnp.eye(len(matrix), dtype=matrix.dtype))

    def refined(_: Array, x: Float[Array, " n"]) -> Float[Array, " n"]:
        return x + jax.scipy.linalg.cho_solve(factor, right - product(matrix, x))

    return lax.fori_loop(0, ROUNDS, refined, jnp.zeros_like(right))


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
