"""Batches of a set that fits on the device: the host draws numbers, the device the images."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from jaxsal.data.examples import Examples


class Batch(NamedTuple):
    """The part of examples that a device can hold, or some rows of it."""

    images: Float32[Array, "B H W C"]
    labels: Int32[Array, " B"]
    masks: Bool[Array, "B H W"]


def on_device(examples: Examples, sharding: Any = None) -> Batch:
    """Puts a whole set on the device, once; replicated where a sharding says so."""
    return Batch(*jax.device_put((examples.images, examples.labels, examples.masks), sharding))


def draw(batch: Batch, indices: Int32[Array, " B"]) -> Batch:
    """Takes rows on the device: inside jit, a gather that reads B images."""
    return jax.tree.map(lambda column: column[indices], batch)


def batches(
    count: int, batch_size: int, *, seed: int, epoch: int
) -> Int32[np.ndarray, "steps batch_size"]:
    """Draws the rows of one training epoch: every example at least once, every step full.

    The last step is filled up with examples of earlier steps, drawn anew: none twice in one step
    unless a step is larger than the set. A function of its arguments alone, so that step s of
    epoch e is the same after a restart.

    Args:
      count: the number of examples, 1 or more.
      batch_size: rows a step, 1 or more.
      seed: an integer >= 0.
      epoch: an integer >= 0.

    Returns:
      int32 [ceil(count / batch_size), batch_size].

    Raises:
      ValueError: if an argument is too small.
    """
    _check(count, batch_size)
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed={seed} and epoch={epoch}, expected integers >= 0")
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(count)
    earlier = order[: count - count % batch_size]
    spare = random.permutation(earlier if earlier.size else order)
    filled = np.concatenate([order, np.resize(spare, -count % batch_size)])
    return filled.reshape(-1, batch_size).astype(np.int32)


def in_order(
    count: int, batch_size: int
) -> tuple[Int32[np.ndarray, "steps batch_size"], Float32[np.ndarray, "steps batch_size"]]:
    """The rows of an evaluation, in order, with weights: 1, and 0 for the padding of the last step.

    Raises:
      ValueError: if an argument is too small.
    """
    _check(count, batch_size)
    rows = np.arange(count + -count % batch_size)
    weights = (rows < count).astype(np.float32)
    rows = np.minimum(rows, count - 1).astype(np.int32)
    return rows.reshape(-1, batch_size), weights.reshape(-1, batch_size)


def _check(count: int, batch_size: int) -> None:
    if count < 1 or batch_size < 1:
        raise ValueError(f"count={count} and batch_size={batch_size}, expected both at least 1")
