"""Maps that know nothing of the network: what a measure must be compared with."""

import jax.numpy as jnp

from experiments.head import head
from jaxsal import metrics
from jaxsal.types import Image, Method, ScoreFn


def even_in_head(score: ScoreFn | None, image: Image) -> Image:
    """1 in the head, 0 on the background around it.

    A method like any other, blind to the model: what chance is where a background is black, on
    which most methods put nothing whatever the model says.

    Args:
        image: [*space, channels].
    """
    del score
    return jnp.broadcast_to(head(image)[..., None], image.shape).astype(image.dtype)


CONTROLS: dict[str, Method] = {
    "centre prior": metrics.centre_prior,
    "even in the head": even_in_head,
    "edge detector": metrics.edge_detector,
    "uniform random": metrics.uniform_random,
}
