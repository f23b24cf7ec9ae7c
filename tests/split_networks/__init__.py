"""Small real networks, each whole and split by hand at the value that a CAM is taken from.

By the field's convention that value is the last spatial one, after norm and activation and before
the global pool. Images are not square, so that no exchange of axes goes unseen.
"""

import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

CLASSES = 3
HEIGHT, WIDTH, CHANNELS = 16, 24, 3


class Split(NamedTuple):
    """A network and its two halves.

    Attributes:
        apply: `(params, images [B, ...]) -> logits [B, 3]`.
        params: its parameters, random and fixed.
        images: two of them.
        features: `(params, image) -> value`, of ONE image, without a batch axis.
        head: `(params, value) -> logits [3]`.
        layer: what has to be given as `layer=` where the default cannot know; else None.
        spatial: from that value without its batch axis to `[h, w, C]`, where it is needed.
    """

    apply: Callable[[Any, Array], Float[Array, "b 3"]]
    params: Any
    images: Float[Array, "2 ..."]
    features: Callable[[Any, Array], Array]
    head: Callable[[Any, Array], Float[Array, "3"]]
    layer: str | None = None
    spatial: Callable[[Array], Float[Array, "h w c"]] | None = None


def images(*, channels_first: bool = False) -> Float[Array, "2 ..."]:
    """Noise with a bright rectangle in another place each, so that maps have something to find."""
    noise = np.random.default_rng(7).uniform(size=(2, HEIGHT, WIDTH, CHANNELS))
    noise[0, 2:7, 3:12] += 2
    noise[1, 8:14, 15:21] += 2
    return jnp.asarray(np.moveaxis(noise, -1, 1) if channels_first else noise, jnp.float32)


def drawn(shapes: Any, *, channels_first: bool = False) -> Any:
    """Parameters and statistics as training might leave them, none of them 0 or 1.

    Kernels are normal, by their number of inputs; what is initialised as 1 (a scale, a variance)
    lies in [0.7, 1.3], a bias or mean in [-0.3, 0.3]. No initialiser is run: they take seconds to
    compile.
    """
    draw = np.random.default_rng(11)

    def leaf(path: Any, known: Any) -> Any:
        if not jnp.issubdtype(known.dtype, jnp.floating):
            return jnp.zeros(known.shape, known.dtype)
        inputs = known.shape[1:] if channels_first else known.shape[:-1]
        if math.prod(inputs) > 1:
            value = draw.normal(size=known.shape) / math.sqrt(math.prod(inputs))
        else:
            value = 0.3 * draw.uniform(-1, 1, known.shape) + _starts_at_one(path)
        return jnp.asarray(value, known.dtype)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


_ONES = re.compile(r"(scale|var|norm.*weight|flat index \d+>\]\[1\])\W*(value)?\W*$")
"""Flax's scales and variances; Equinox's weights of norms, and the second part of their state."""


def _starts_at_one(path: Any) -> bool:
    return bool(_ONES.search(jax.tree_util.keystr(path)))


def networks(split: Callable[..., Split], **kinds: Any) -> dict[str, Callable[[], Split]]:
    """For each name what makes its network, once: `split` of its arguments, or of a class alone."""
    made = {}
    for name, kind in kinds.items():
        arguments = kind if isinstance(kind, tuple) else (kind,)
        made[name.replace("_", "-")] = functools.cache(functools.partial(split, *arguments))
    return made
