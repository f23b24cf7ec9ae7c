"""AttnLRP: layer-wise relevance propagation for transformers."""

from jaxsal.rewrite.relevance.attn_lrp_rules import modified_gradient
from jaxsal.types import Image, ScoreFn, accumulator


def attn_lrp(score: ScoreFn, image: Image, *, values_only: bool = False) -> Image:
    """The image times the gradient of a score whose operations keep relevance.

    .. math:: A = x ⊙ ∂'s/∂x

    where ∂' is the derivative, but for activations, of which it is the secant (f(x) - f(0)) / x
    (the derivative still where f(0) is not finite, as a logarithm's);
    products of two values that depend on the image, of which it is half (so that queries and keys
    get a quarter each, values a half); and norms, whose deviation is constant.

    Linear layers and convolutions have the plain rule, gamma 0. For ViTs the authors' example (lxt,
    vit_torch.py) has LRP-gamma, of 0 to 1 in linear layers, 0.1 to 100 in the patch embedding.

    Args:
        score: image -> scalar.
        image: one image, floating, of any shape.
        values_only: whether attention weights are constant too (CP-LRP): all relevance goes through
            the values.

    Returns:
        A map of the image's shape, float32. Biases absorb relevance: it does not sum to the score.

    Raises:
        TypeError: `values_only` is no bool.
        ValueError: an operation that has no rule.

    References:
        Achtibat, Hatefi, Dreyer, Jain, Wiegand, Lapuschkin & Samek, "AttnLRP: Attention-Aware
        Layer-Wise Relevance Propagation for Transformers", ICML 2024,
        https://arxiv.org/abs/2402.05602; Ali, Schnake, Eberle, Montavon, Müller & Wolf, "XAI for
        Transformers: Better Explanations through Conservative Propagation", ICML 2022,
        https://arxiv.org/abs/2202.07304
    """
    if not isinstance(values_only, bool):
        raise TypeError(f"values_only: expected True or False, got {values_only!r}")
    slope = modified_gradient(score, image, values_only=values_only)
    wide = accumulator(image.dtype)
    return image.astype(wide) * slope.astype(wide)
