"""What a program does to each channel between two other operations: biases, normalisations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var
from jaxtyping import Array, Float

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import Atom, play, shape_of, variables

STEPS: dict[str, Callable[[Array, Array], Array]] = {
    "add": lambda y, vector: y + vector,
    "mul": lambda y, vector: y * vector,
    "sub": lambda y, vector: y - vector,
}
"""What may be done with each channel between convolution and ReLU, by its primitive's name."""


class Step(NamedTuple):
    """An operation with a number for each channel, or a reshape of the axes before an image's.

    Attributes:
        side: which of its inputs holds the numbers; None of a reshape.
    """

    eqn: JaxprEqn
    side: int | None


def before(atom: Atom, frame: Frame, names: tuple[str, ...]) -> tuple[JaxprEqn | None, list[Step]]:
    """What made a value, but for operations of those names with each channel: these, in order."""
    made, steps = frame.producer(atom), []
    while made is not None:
        step = _step(made, frame, names)
        if step is None:
            break
        steps.append(step)
        made = frame.producer(made.invars[0 if step.side is None else 1 - step.side])
    return made, steps[::-1]


def _step(eqn: JaxprEqn, frame: Frame, names: tuple[str, ...]) -> Step | None:
    """An operation as a step; None where it is none."""
    name, shapes = eqn.primitive.name, [*map(shape_of, (*eqn.invars, *eqn.outvars))]
    if name == "reshape" and len(eqn.invars) == 1 and shapes[0][-3:] == shapes[1][-3:]:
        return Step(eqn, None)
    if name not in names:
        return None
    for side in (1,) if name == "sub" else (1, 0):
        if _source(eqn.invars[side], frame) is not None and shapes[1 - side] == shapes[2]:
            return Step(eqn, side)
    return None


def vectors_of(steps: list[Step], frame: Frame) -> list[Array]:
    found = [
        vector_of(step.eqn.invars[step.side], frame) for step in steps if step.side is not None
    ]
    return [vector for vector in found if vector is not None]


def played(steps: list[Step], start: Var, value: Array, vectors: Sequence[Array]) -> Array:
    """What steps make of a value, with these vectors."""
    known, left = {start: value}, iter(vectors)
    for step in steps:
        if step.side is not None:
            (atom,) = variables([step.eqn.invars[step.side]])
            shape = shape_of(atom)
            vector = next(left).reshape([1] * (len(shape) - 1) + [-1])
            known[atom] = jnp.broadcast_to(vector, shape)
    play([step.eqn for step in steps], known)
    return known[steps[-1].eqn.outvars[0]] if steps else value


def vector_of(atom: Atom, frame: Frame) -> Float[Array, " channels"] | None:
    """The numbers of an array that has one for each channel, in its last axis; None of another."""
    source = _source(atom, frame)
    return None if source is None else jnp.reshape(frame.read(source), -1)


def _source(atom: Atom, frame: Frame) -> Var | None:
    """The array that holds them, before it was broadcast."""
    made, shape = frame.producer(atom), shape_of(atom)
    if made is not None and made.primitive.name == "broadcast_in_dim":
        inner, axes = shape_of(made.invars[0]), made.params["broadcast_dimensions"]
        if inner and axes[-1] == len(shape) - 1 and inner[-1] == shape[-1]:
            atom, shape = made.invars[0], inner
    return None if isinstance(atom, Literal) or not shape or math.prod(shape[:-1]) > 1 else atom
