"""Which of the image's axes a pool divides into windows, or a reshape into patches."""

from __future__ import annotations

from collections.abc import Sequence

from jax.extend.core import JaxprEqn

from jaxsal.rewrite.axes.factors import Labels, image_axes


def tiled_axes(
    eqn: JaxprEqn, before: Labels | None, after: Labels, image: Sequence[int]
) -> set[int]:
    """The image's axes that an operation tiles; none where it may do something else.

    Args:
        eqn: a pool, a reshape or anything else.
        before, after: the labels of its first operand and of its first result.
        image: the image's shape.
    """
    name = eqn.primitive.name
    if before is None:
        return set()
    if name.startswith("reduce_window"):
        windows = zip(before, eqn.params["window_dimensions"], strict=True)
        found = set().union(*(image_axes(factors) for factors, size in windows if size > 1))
        return found if len(found) > 1 or sum(n > 1 for n in image) < 3 else set()
    return _patches(before, after, image) if name == "reshape" else set()


def _patches(before: Labels, after: Labels, image: Sequence[int]) -> set[int]:
    """The axes that a reshape splits: two or more of them, or that of a signal `[T, C]`.

    One axis of several may as well be that of the channels, split into groups. That of a signal is
    known by its patches: they stand in an axis of their own, and their positions among channels.
    """
    split = _split(after)
    if len(split - _split(before)) > 1:
        return split
    if sum(n > 1 for n in image) > 2 or not any(len(image_axes(f)) > 1 for f in after):
        return set()
    alone = [factors[0] for factors in after if len(factors) == 1]
    return {f.axis for f in alone if f.axis in split and abs(f.unit) * f.size == f.extent}


def _split(labels: Labels) -> set[int]:
    """The axes with digits in several axes of a value."""
    found = [axis for factors in labels for axis in image_axes(factors)]
    return {axis for axis in found if found.count(axis) > 1}
