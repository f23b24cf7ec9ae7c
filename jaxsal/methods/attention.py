"""Attention as a map: which tokens the class token attends to, through all layers.

Called as `method(score, image, *, token=0, resize=True, spatial=None)`.

Args:
    score: image -> scalar, with self-attention in its program (`jaxsal.rewrite.attention`).
    image: `[...]` float.
    token: the token whose row of the product is shown, the class token unless it is given; None:
        the mean of all rows, for a model that averages its tokens.
    resize: as of `jaxsal.methods.cam`.
    spatial: from tokens `[n, 1]` to `[*s, 1]`, by reshaping and selecting; None: the last tokens as
        a grid of the image's proportions, where their number allows one.

Returns:
    A float32 map of the image's spatial shape.

Raises:
    TypeError: a token that is no integer.
    ValueError: no self-attention, or that of windows; matrices of different sizes; tokens that are
        no grid; all tokens are positions of the image, and none is given; a token there is none of.
"""

import math
import operator
from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsal.methods._featuremaps import Resize, Spatial, resized
from jaxsal.rewrite.attention import attention
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.types import Image, Map, ScoreFn, SpatialAxes

_FUSIONS: dict[str, Callable[..., Array]] = {"mean": jnp.mean, "max": jnp.max, "min": jnp.min}
_EXTRA = 8
"""The most tokens (class token, registers) that may precede those of the grid."""


class _ClassToken(int):
    """The class token's place, where nothing else was given: told apart from the same number."""


_CLASS = _ClassToken(0)


def attention_rollout(
    score: ScoreFn,
    image: Image,
    *,
    fusion: str = "mean",
    token: int | None = _CLASS,
    resize: Resize = True,
    spatial: Spatial | None = None,
) -> Map:
    """The product of all layers' attention, each with its residual connection; whatever the class.

    `A_L ... A_1` with A_l the heads' `fusion` plus the identity, each row divided by its own sum.

    Args:
        fusion: of the heads: "mean", "max" or "min".

    Other arguments, result and errors: `jaxsal.methods.attention`.

    References:
        Abnar, Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020,
        https://arxiv.org/abs/2005.00928
    """
    if not isinstance(fusion, str) or fusion not in _FUSIONS:
        raise ValueError(f"fusion: expected one of {', '.join(_FUSIONS)}, got {fusion!r}")
    layers = [_FUSIONS[fusion](each.weights, axis=0) for each in attention(score, image)]
    _check_sizes(layers)
    with_skip = [each + _identity(each) for each in layers]
    rows = [each / each.sum(axis=-1, keepdims=True) for each in with_skip]
    return _over_image(reduce(_product, rows), score, image, token, resize, spatial)


def generic_attention(
    score: ScoreFn,
    image: Image,
    *,
    token: int | None = _CLASS,
    resize: Resize = True,
    spatial: Spatial | None = None,
) -> Map:
    """Relevance carried through the layers by attention times its positive gradient.

    `R ← R + mean_heads(relu(∂s/∂A_l ⊙ A_l)) R`, layer by layer from the identity.

    Arguments, result and errors: `jaxsal.methods.attention`.

    References:
        Chefer, Gur, Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
        Encoder-Decoder Transformers", ICCV 2021, https://arxiv.org/abs/2103.15679
    """
    found = attention(score, image)
    layers = [jax.nn.relu(each.gradient * each.weights).mean(axis=0) for each in found]
    _check_sizes(layers)
    step = lambda relevance, each: relevance + _product(relevance, each)  # noqa: E731
    total = reduce(step, layers, _identity(layers[0]))
    return _over_image(total - _identity(total), score, image, token, resize, spatial)


def _identity(like: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.eye(len(like), dtype=like.dtype)


def _product(below: Float[Array, "n n"], above: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.matmul(above, below, precision="highest")


def _check_sizes(layers: list[Float[Array, "n n"]]) -> None:
    sizes = list(dict.fromkeys(len(each) for each in layers))
    if len(sizes) > 1:
        raise ValueError(
            f"score: expected attention over the same tokens in every layer, got {sizes} of them"
        )


def _over_image(
    relevance: Float[Array, "n n"],
    score: ScoreFn,
    image: Image,
    token: int | None,
    resize: Resize,
    spatial: Spatial | None,
) -> Map:
    row = _row(relevance, token)
    axes = spatial_axes(score, image)
    sizes = tuple(image.shape[axis] for axis in axes)
    if spatial is None:
        grid = _grid(len(row), sizes)
        values = row[len(row) - math.prod(grid) :].reshape(grid)
    else:
        values = _shaped(spatial, row, axes)
    if isinstance(token, _ClassToken) and values.size == len(row):
        raise ValueError(
            f"token: all {len(row)} tokens are positions of the image, so that none is a class "
            "token; give token=None for the mean of all rows, or the position whose row is meant"
        )
    return resized(values, sizes, resize)


def _row(relevance: Float[Array, "n n"], token: int | None) -> Float[Array, " n"]:
    """What a token has from each of them; None: what all of them have on average."""
    if token is None:
        return relevance.mean(axis=0)
    number = len(relevance)
    try:
        place = operator.index(token)
    except TypeError as error:
        raise TypeError(f"token: expected an integer or None, got {token!r}") from error
    if not -number <= place < number:
        raise ValueError(f"token: expected one of {number}, 0 to {number - 1}, got {place}")
    return relevance[place]


def _shaped(
    spatial: Spatial, row: Float[Array, " n"], axes: SpatialAxes
) -> Float[Array, "*spatial"]:
    values = spatial(row[:, None])
    if values.ndim != len(axes) + 1 or values.shape[-1] != 1:
        raise ValueError(
            f"spatial: expected it to turn tokens {row[:, None].shape} into {len(axes)} spatial "
            f"axes and one of length 1, got the shape {values.shape}"
        )
    return values[..., 0]


def _grid(tokens: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """How many tokens lie along each axis, if all but the first few are square patches."""
    for extra in range(min(_EXTRA + 1, tokens)):
        for side in range(1, min(sizes) + 1):
            grid = tuple(size // side for size in sizes)
            fits = all(size % side == 0 for size in sizes)
            if fits and math.prod(grid) == tokens - extra:
                return grid
    raise ValueError(
        f"spatial: {tokens} tokens are no grid of square patches of an image of {sizes}; give "
        "spatial=, a function from the tokens [n, 1] to spatial axes and one of length 1"
    )
