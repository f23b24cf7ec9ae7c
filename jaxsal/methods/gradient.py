"""The gradient of the score, and its product with the image."""

import jax

from jaxsal.types import Image, ScoreFn, accumulator


def gradient(score: ScoreFn, image: Image) -> Image:
    """The gradient of the score with respect to the image.

    .. math:: A = ∂s/∂x

    Signed: the absolute value, if any, is for the picture.

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating, of any shape.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: the image is not floating, or the score is no real scalar.

    References:
        Simonyan, Vedaldi & Zisserman, "Deep Inside Convolutional Networks: Visualising Image
        Classification Models and Saliency Maps", ICLR Workshop 2014,
        https://arxiv.org/abs/1312.6034
    """
    return jax.grad(score)(image).astype(accumulator(image.dtype))


def input_x_gradient(score: ScoreFn, image: Image) -> Image:
    """The image times the gradient of the score.

    .. math:: A = x ⊙ ∂s/∂x

    Sums to the score where the model is linear without bias, or piecewise linear without bias.

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating, of any shape.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: the image is not floating, or the score is no real scalar.

    References:
        Shrikumar, Greenside, Shcherbina & Kundaje, "Not Just a Black Box: Learning Important
        Features Through Propagating Activation Differences", 2016, https://arxiv.org/abs/1605.01713
    """
    slope = gradient(score, image)
    return image.astype(slope.dtype) * slope
