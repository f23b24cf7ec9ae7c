"""What a score's model says of every class, for methods that compare its classes."""

from collections.abc import Callable

from jaxtyping import Array, Int

from jaxsal.common.classes import told_classes
from jaxsal.types import Image, Logits, Scalar, ScoreFn


def classes_of(score: ScoreFn, who: str) -> tuple[Callable[[Image], Logits], Int[Array, ""]]:
    """`logits(image) -> [K]` and the target that is scored.

    Args:
        score: one of the explainer's, or a function with the attributes `class_logits` and
            `target`.
        who: the method that asks, for the error.

    Raises:
        TypeError: a score that says nothing of the other classes.
    """
    found = told_classes(score)
    if found is None:
        raise TypeError(
            f"score: {who} compares classes; expected a score with the attributes "
            f"`class_logits(image) -> [K]` and `target`, as the explainer's have, got {score!r}"
        )
    return found


def like(score: ScoreFn, function: Callable[[Image], Scalar]) -> ScoreFn:
    """A function of the image as a score of the same model: its options, axes and parameters."""
    for name in ("rewrite", "platform", "spatial_axes", "parameters", "dtype"):
        if hasattr(score, name):
            setattr(function, name, getattr(score, name))
    return function
