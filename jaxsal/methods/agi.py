"""Adversarial gradient integration: along the paths that turn the image into other classes."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxsal.common.options import count, numbers, scale
from jaxsal.common.points import sum_points
from jaxsal.methods._classes import classes_of
from jaxsal.types import Image, Logits, ScoreFn, accumulator


def agi(
    score: ScoreFn,
    image: Image,
    *,
    eps: ArrayLike = 0.05,
    steps: int = 15,
    targets: ArrayLike | None = None,
    chunk: int = 1,
) -> Image:
    """The gradient of the target's probability along the steepest ways to other classes.

    Of each other class l, from q = x on, until q is classified as l or `steps` are done:

    .. math:: d = clip(q + ε sign ∇p_l(q), 0, 1) - q,  A ← A - ∇p_t(q) ⊙ d,  q ← q + d

    summed over l; p is the softmax of the logits, t the target. No baseline is needed. Steps run
    from where the last one ended: away from the image, not around it.

    Args:
        score: one of the explainer's, or a function with the attributes `class_logits`
            (image -> [K]) and `target`; its objective is not used.
        image: one image, floating, in [0, 1]; of one that is not, the steps are clipped to its own
            range where that is wider.
        eps: ε, the length of a step, in the image's units.
        steps: the most steps to one class.
        targets: [n] integers, the classes l; None: all. The target itself is left out of them.
        chunk: classes evaluated at a time.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: a score that says nothing of the other classes, a count that is no concrete
            integer, targets that are no integers.
        ValueError: no steps, negative `eps`, no targets, or one that is no class.

    References:
        Pan, Li & Zhu, "Explaining Deep Neural Network Models with Adversarial Gradient
        Integration", IJCAI 2021, https://doi.org/10.24963/ijcai.2021/396
    """
    logits, target = classes_of(score, "agi")
    classes = jax.eval_shape(logits, image).shape[0]
    others = _classes(targets, classes)
    length = jnp.asarray(scale("eps", eps), image.dtype)
    count("steps", steps)
    least, most = jnp.minimum(jnp.min(image), 0), jnp.maximum(jnp.max(image), 1)
    wide = accumulator(image.dtype)

    def ascent(other: Int[Array, ""]) -> Image:
        def step(_: object, state: tuple[Image, Image]) -> tuple[Image, Image]:
            place, total = state
            values, back = jax.vjp(lambda x: jax.nn.softmax(logits(x)), place)
            (towards,), (own,) = back(_one(other, values)), back(_one(target, values))
            end = jnp.clip(place + length * jnp.sign(towards), least, most)
            there = (jnp.argmax(values).astype(other.dtype) == other) | (other == target)
            change = jnp.where(there, 0, end - place)
            return place + change, total - own.astype(wide) * change.astype(wide)

        start = (image, jnp.zeros_like(image, dtype=wide))
        return jax.lax.fori_loop(0, steps, step, start)[1]

    weights = jnp.ones(others.shape, wide)
    return sum_points(ascent, others, weights, like=image, chunk=count("chunk", chunk))


def _one(index: Int[Array, ""], values: Logits) -> Float[Array, " K"]:
    return (jnp.arange(values.size, dtype=index.dtype) == index).astype(values.dtype)


def _classes(targets: ArrayLike | None, classes: int) -> Int[Array, " n"]:
    """The classes to go to; traced ones are not checked."""
    if targets is None:
        return jnp.arange(classes, dtype=jnp.int32)
    array = numbers("targets", targets)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"targets: expected integers [n], got {array.dtype}")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"targets: expected integers [n], n >= 1, got the shape {array.shape}")
    known = not isinstance(array, jax.core.Tracer)
    if known and not ((array >= 0) & (array < classes)).all():
        raise ValueError(f"targets: expected classes from 0 to {classes - 1}, got {targets!r}")
    return jnp.asarray(array, jnp.int32)
