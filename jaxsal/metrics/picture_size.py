"""The size of a picture in bytes: an estimate by its entropy, or that of a lossless file.

Of a picture of 8 bits, `[height, width, channels]`, so that both are of the same thing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxsal.types import Image, Scalar

Picture = UInt8[Array, "height width channels"]

Size = Callable[[Picture], Scalar]


def eight_bits(image: Image, low: Scalar, high: Scalar, axes: tuple[int, int]) -> Picture:
    """An image of the range [low, high] as a picture, its spatial axes first."""
    unit = (image - low) / jnp.where(high > low, high - low, 1)
    levels = jnp.round(jnp.clip(unit, 0, 1) * 255).astype(jnp.uint8)
    last = jnp.moveaxis(levels, axes, (0, 1))
    return last.reshape(*last.shape[:2], -1)


def entropy_size(picture: Picture) -> Scalar:
    """Bytes that an ideal coder needs for what each pixel differs from its neighbours' forecast.

    `Σ_c n H(r_c) / 8`, r the residuals of the median edge detector (of the left, the upper, and
    left + upper - upper left), H the entropy of their histogram in bits, of each channel. Neither
    the coder's tables nor repeated patterns count: an estimate, not the size of a file.

    References:
        Weinberger, Seroussi & Sapiro, "The LOCO-I lossless image compression algorithm", IEEE
        Transactions on Image Processing 2000
    """
    values = picture.astype(jnp.int32)
    padded = jnp.pad(values, ((1, 0), (1, 0), (0, 0)), mode="edge")
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    low, high = jnp.minimum(left, above), jnp.maximum(left, above)
    residual = (values - jnp.clip(left + above - corner, low, high)) % 256
    bits = jax.vmap(_entropy, in_axes=-1)(residual)
    return jnp.sum(bits) * (picture.shape[0] * picture.shape[1] / 8)


def webp_size(picture: Picture) -> Scalar:
    """Bytes of the lossless WebP file, written on the host: the authors' choice.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: neither one channel nor three.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError("webp_size needs Pillow: pip install 'jaxsal[study]'") from error
    if picture.shape[-1] not in (1, 3):
        raise ValueError(f"webp_size: expected one channel or three, got {picture.shape[-1]}")
    result = jax.ShapeDtypeStruct((), jnp.float32)
    return jax.pure_callback(_webp, result, picture, vmap_method="sequential")


def _webp(picture: Array | np.ndarray) -> np.ndarray:
    import io

    from PIL import Image as pillow

    shown = np.asarray(picture)
    shown = np.repeat(shown, 3, -1) if shown.shape[-1] == 1 else shown
    file = io.BytesIO()
    pillow.fromarray(shown).save(file, format="WEBP", lossless=True, quality=100)
    return np.asarray(len(file.getvalue()), np.float32)


def _entropy(residual: Int[Array, "height width"]) -> Float[Array, ""]:
    counts = jnp.zeros(256, jnp.float32).at[residual.ravel()].add(1.0)
    share = counts / residual.size
    return -jnp.sum(share * jnp.log2(jnp.where(share == 0, 1, share)))
