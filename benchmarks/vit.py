"""A vision transformer (Dosovitskiy et al., ICLR 2021) in Flax, as small as ViT-Ti/16."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class ViT(nn.Module):
    """Patches, a class token, `depth` blocks before whose halves values are normalised, dense.

    Attributes:
        classes: number of logits, K.
        patch: side of a patch.
        width: of a token.
        heads: of the attention.
        dtype: of the computation; parameters are float32.
    """

    classes: int
    patch: int
    width: int
    depth: int
    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch classes"]:
        kernel = (self.patch, self.patch)
        x = nn.Conv(self.width, kernel, kernel, dtype=self.dtype)(images.astype(self.dtype))
        x = x.reshape(x.shape[0], -1, self.width)
        normal = nn.initializers.normal()
        token = self.param("token_kernel", normal, (1, 1, self.width)).astype(self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, self.width)), x], axis=1)
        position = self.param("position_kernel", normal, (1, x.shape[1], self.width))
        x = x + position.astype(self.dtype)
        for _ in range(self.depth):
            y = nn.LayerNorm(dtype=self.dtype)(x)
            x = x + nn.MultiHeadDotProductAttention(self.heads, dtype=self.dtype)(y)
            y = nn.Dense(4 * self.width, dtype=self.dtype)(nn.LayerNorm(dtype=self.dtype)(x))
            x = x + nn.Dense(self.width, dtype=self.dtype)(nn.gelu(y))
        x = nn.LayerNorm(dtype=self.dtype)(x)[:, 0]
        return nn.Dense(self.classes)(x.astype(jnp.float32))
