"""The rows of each training step: drawn on the host, by seed and epoch alone."""

import numpy as np
from jaxtyping import Int32


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
    if count < 1 or batch_size < 1:
        raise ValueError(f"count={count} and batch_size={batch_size}, expected both at least 1")
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed={seed} and epoch={epoch}, expected integers >= 0")
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(count)
    earlier = order[: count - count % batch_size]
    spare = random.permutation(earlier if earlier.size else order)
    filled = np.concatenate([order, np.resize(spare, -count % batch_size)])
    return filled.reshape(-1, batch_size).astype(np.int32)
