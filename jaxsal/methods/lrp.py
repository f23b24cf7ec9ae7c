"""Layer-wise relevance propagation: the score handed back to the image, layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxsal.common.options import numbers, scale
from jaxsal.rewrite.relevance.composites import Composite, composite_of
from jaxsal.rewrite.relevance.layer_rules import LrpOptions
from jaxsal.rewrite.relevance.lrp_rules import relevance
from jaxsal.types import Image, ScoreFn, accumulator


def lrp(
    score: ScoreFn,
    image: Image,
    *,
    composite: str | Composite = "epsilon_plus",
    epsilon: ArrayLike = 1e-6,
    gamma: ArrayLike = 0.25,
    alpha: ArrayLike = 2.0,
    beta: ArrayLike = 1.0,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    stabilizer: ArrayLike = 1e-6,
) -> Image:
    """The score, handed back from each operation to its inputs by what they contribute.

    .. math:: R_i = Σⱼ (x_i w_ij / Σₖ x_k w_kj) R_j,  R of the score = s(x)

    The map sums to the score, less what biases and the stabilisers absorb. Batch norms are folded
    into the layers before them. `jaxsal.rewrite.relevance` has the rules of every operation;
    `explainer.describe` lists which one each got.

    | composite | convolution | dense | first layer |
    |---|---|---|---|
    | `epsilon` | epsilon | epsilon | |
    | `epsilon_plus` | zplus | epsilon | |
    | `epsilon_plus_flat` | zplus | epsilon | flat |
    | `epsilon_gamma_box` | gamma | epsilon | zbox (first convolution) |
    | `epsilon_alpha2_beta1` | alphabeta | epsilon | |
    | `epsilon_alpha2_beta1_flat` | alphabeta | epsilon | flat |
    | `excitation_backprop` | zplus | zplus | activations by their gradient |

    Args:
        score: image -> scalar.
        image: one image, floating, of any shape.
        composite: a name of the table; or a function of an `Operation` (`kind`, `name`, `scope`,
            `shape`, `first`) to the name of its rule (`epsilon`, `zplus`, `alphabeta`, `gamma`,
            `flat`, `wsquare`, `zbox`), to a function `(layer, relevance, options) -> relevance` as
            in `jaxsal.rewrite.relevance.layer_rules`, or to `None` for the usual rule.
        epsilon: what the epsilon rule stabilises denominators by.
        gamma: how much more the gamma rule weighs positive contributions.
        alpha, beta: weights of positive and negative contributions; `alpha - beta = 1`.
        low, high: the least and the largest value of pixels, for zbox: numbers, or arrays that
            broadcast to the image.
        stabilizer: what all other rules stabilise denominators by.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: a composite that is neither a name nor a function, options that are no numbers.
        ValueError: an unknown composite or rule, `alpha - beta` is not 1, `epsilon` or
            `stabilizer` is not above 0, zbox without bounds, one bound alone or `low > high`, an
            operation that has no rule.

    References:
        Bach, Binder, Montavon, Klauschen, Müller & Samek, "On Pixel-Wise Explanations for
        Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation", PLoS ONE 2015,
        https://doi.org/10.1371/journal.pone.0130140; Montavon, Binder, Lapuschkin, Samek & Müller,
        "Layer-Wise Relevance Propagation: An Overview", 2019
    """
    bounds = [_bound(name, value, image) for name, value in (("low", low), ("high", high))]
    _check_weights(alpha, beta)
    _check_bounds(low, high)
    options = LrpOptions(
        epsilon=_positive("epsilon", epsilon),
        gamma=scale("gamma", gamma),
        alpha=alpha,
        beta=beta,
        stabilizer=_positive("stabilizer", stabilizer),
        low=bounds[0],
        high=bounds[1],
    )
    return relevance(score, image, composite_of(composite), options).astype(
        accumulator(image.dtype)
    )


def _positive(name: str, value: ArrayLike) -> ArrayLike:
    found = scale(name, value)
    if not isinstance(found, jax.core.Tracer) and np.asarray(found) == 0:
        raise ValueError(
            f"{name}: expected a number above 0, without which 0 / 0 is no number, got {value!r}; "
            "take a small one, e.g. 1e-9"
        )
    return found


def _check_bounds(low: ArrayLike | None, high: ArrayLike | None) -> None:
    given = [x for x in (low, high) if x is not None]
    if len(given) == 1:
        raise ValueError(f"low, high: expected both or neither, got low={low!r}, high={high!r}")
    if given and not any(isinstance(x, jax.core.Tracer) for x in given):
        if np.any(np.asarray(low) > np.asarray(high)):
            raise ValueError(f"low, high: expected low <= high, got {low!r} and {high!r}")


def _check_weights(alpha: ArrayLike, beta: ArrayLike) -> None:
    weights = [numbers(name, value) for name, value in (("alpha", alpha), ("beta", beta))]
    if not any(isinstance(x, jax.core.Tracer) for x in weights):
        difference = float(np.asarray(weights[0])) - float(np.asarray(weights[1]))
        if abs(difference - 1) > 1e-6:
            raise ValueError(f"alpha, beta: expected alpha - beta = 1, got {alpha!r} and {beta!r}")


def _bound(name: str, value: ArrayLike | None, image: Image) -> Image | None:
    if value is None:
        return None
    array = jnp.asarray(numbers(name, value), image.dtype)
    try:
        return jnp.broadcast_to(array, image.shape)
    except ValueError as error:
        raise ValueError(
            f"{name}: expected a number or an array that broadcasts to the image's "
            f"{image.shape}, got shape {array.shape}"
        ) from error
