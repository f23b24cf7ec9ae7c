"""What a score's model says of every class."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxsal.types import Image, Logits, ScoreFn


def told_classes(score: ScoreFn) -> tuple[Callable[[Image], Logits], Int[Array, ""]] | None:
    """`logits(image) -> [K]` and the target that is scored; None where the score does not say.

    Args:
        score: one of the explainer's, or a function with the attributes `class_logits` and
            `target`.
    """
    logits: Any = getattr(score, "class_logits", None)
    target: Any = getattr(score, "target", None)
    if logits is None or target is None:
        return None
    return logits, jnp.asarray(target).astype(jnp.int32)
