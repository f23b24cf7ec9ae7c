"""What a model says of images: the class that it predicts, and how likely each one is."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler.outputs import Output


class Answers(NamedTuple):
    """Of B images: predicted [B], -1 where none is; probabilities [B, K], None of a regression."""

    predicted: np.ndarray
    probabilities: np.ndarray | None


def answers(output: Output, outputs: np.ndarray | jax.Array) -> Answers:
    """The answers that a model's outputs [B, K] mean."""
    if output.other is None:
        return Answers(np.full(len(outputs), -1, np.int32), None)
    found = _answers(output, jnp.asarray(outputs, jnp.float32))
    return Answers(*jax.device_get(found))


@functools.partial(jax.jit, static_argnums=0)
def _answers(output: Output, outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(output.predicted)(outputs), jax.vmap(output.probabilities)(outputs)
