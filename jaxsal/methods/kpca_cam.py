"""KPCA-CAM: the first component of the activations under a sigmoid kernel."""

from jaxtyping import Array, Float

from jaxsal.methods._cam_method import cam_method
from jaxsal.methods._principal import kernel_projection


@cam_method
def kpca_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """The first kernel principal component of the activations, whatever the class.

    `v √λ` of the largest eigenvalue λ of the doubly centred `tanh(Ā Āᵀ / C + 1)`, a matrix of
    positions by positions; Ā is A less its mean over positions, and the largest |v| is positive.
    Memory grows with the square, time with the cube of the number of positions.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Karmani, Sivakaran, Prasad, Ali, Yang, Tang, "KPCA-CAM: Visual Explainability of Deep
        Computer Vision Models using Kernel PCA", MMSP 2024, https://arxiv.org/abs/2410.00267
    """
    del gradients
    return kernel_projection(values)
