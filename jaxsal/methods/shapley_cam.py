"""ShapleyCAM: Grad-CAM whose gradient is corrected by the curvature of the score."""

import functools
from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from jaxsal.methods._cam_method import by_mean_gradient, cam_method
from jaxsal.types import Scalar


def _corrected(head: Callable[[Array], Scalar], value: Array) -> Array:
    """`G - H A / 2`, H the Hessian of the score with respect to the layer's value A."""
    gradient, product = jax.jvp(jax.grad(head), (value,), (value,))
    return gradient - product / 2


@functools.partial(cam_method, derivative=_corrected)
def shapley_cam(
    values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]
) -> Float[Array, "*s"]:
    """Channels weighted by their Shapley values in the score's second-order expansion.

    `Σ_c mean_s(G - H A / 2)_c A_c`, H A the product of the score's Hessian in the layer's value
    with that value. Grad-CAM's map where the rest of the score is piecewise linear.

    The paper proposes the score ReST, the class's logit plus its log-probability; here it is the
    logit unless `objective=lambda z, t: z[t] + jax.nn.log_softmax(z)[t]` is given.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Cai, "CAMs as Shapley Value-based Explainers", The Visual Computer 2025,
        https://arxiv.org/abs/2501.06261
    """
    return by_mean_gradient(values, gradients)
