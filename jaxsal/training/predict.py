"""What a network says of images in host memory, and how often it is right."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from jaxsal.compiler import processes
from jaxsal.training.devices import over_batch, pad
from jaxsal.types import ApplyFn, Params

Predict = Callable[[Params, np.ndarray], np.ndarray]
"""`predict(variables, images [N, ...]) -> logits [N, K]`, NumPy."""


def batch_of(images: np.ndarray) -> int:
    """How many images, or volumes, [N, ...] are predicted at once."""
    return 256 if images.ndim < 5 else 16


def make_predict(
    apply: ApplyFn, *, batch_size: int, devices: Sequence[jax.Device] | None = None
) -> Predict:
    """`apply` on any number of images, in batches of one shape over `devices` (None: all local)."""
    forward = over_batch(apply, devices or processes.local_devices())

    def predict(variables: Params, images: np.ndarray) -> np.ndarray:
        padded = pad(images, batch_size)
        chunks = [
            forward(variables, padded[start : start + batch_size])
            for start in range(0, len(padded), batch_size)
        ]
        return np.concatenate(chunks)[: len(images)]

    return predict


def evaluate(
    logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> dict[str, float]:
    """Mean cross-entropy and accuracy."""
    losses = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), labels)
    return {
        "loss": float(jnp.mean(losses)),
        "accuracy": float(np.mean(np.argmax(logits, -1) == labels)),
    }
