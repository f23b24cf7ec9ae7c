"""The first principal component of a feature map, differentiable where others are degenerate."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def principal_projection(values: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """`X v`: X the values less their mean over positions, v X's first right-singular vector.

    The sign is the one that correlates positively with the mean over channels. Zero where X is.
    """
    rows = values.reshape(-1, values.shape[-1])
    centred = rows - rows.mean(axis=0, keepdims=True)
    positions, channels = rows.shape
    # An accelerator would round the factors of the covariance to half of their digits.
    with jax.default_matmul_precision("highest"):
        if channels <= positions:
            direction = _leading(centred.T @ centred)
        else:
            direction = _unit(centred.T @ _leading(centred @ centred.T))
        projection = centred @ direction
    agrees = jnp.vdot(projection, centred.mean(axis=1)) >= 0
    return jnp.where(agrees, projection, -projection).reshape(values.shape[:-1])


@jax.custom_jvp
def _leading(matrix: Float[Array, "n n"]) -> Float[Array, " n"]:
    """The eigenvector of a symmetric matrix's largest eigenvalue."""
    return jnp.linalg.eigh(matrix)[1][:, -1]


@_leading.defjvp
def _leading_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    # That of `eigh` divides by the difference of every pair of eigenvalues, equal ones too; this
    # one vector needs those from the largest only.
    (matrix,), (change,) = primals, tangents
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    largest, leading, others = eigenvalues[-1], vectors[:, -1], vectors[:, :-1]
    gaps = largest - eigenvalues[:-1]
    apart = gaps > 1e-6 * jnp.abs(largest)
    inverse = jnp.where(apart, 1 / jnp.where(apart, gaps, 1), 0)
    return leading, others @ (inverse * (others.T @ (change @ leading)))


def _unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    square = jnp.vdot(vector, vector)
    return vector * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


def kernel_projection(values: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """`v √λ`: λ the largest eigenvalue, v its eigenvector, of the rows' centred sigmoid kernel.

    The sign makes the largest |v| positive. Zero where all positions are alike.
    """
    rows = values.reshape(-1, values.shape[-1])
    rows = rows - rows.mean(axis=0, keepdims=True)
    with jax.default_matmul_precision("highest"):
        kernel = jnp.tanh(rows @ rows.T / rows.shape[1] + 1)
        kernel = kernel - kernel.mean(axis=0, keepdims=True)
        kernel = kernel - kernel.mean(axis=1, keepdims=True)
        direction = _leading(kernel)
        square = jnp.vdot(direction, kernel @ direction)
    size = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    largest = direction[jnp.argmax(jnp.abs(direction))]
    return (direction * jnp.where(largest < 0, -size, size)).reshape(values.shape[:-1])
