"""The backward pass: from the score to the image, an operation at a time.

An operation's rule is called as `rule(operation, given)`, with what the operation's value has been
given by all that read it, and returns what each of its inputs gets. Everything is plain JAX: it can
be vmapped, differentiated and compiled with what is around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal, Var
from jaxtyping import Array

from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.notes import Note, note
from jaxsal.rewrite.program import JaxValue, dtype_of, live_equations, play, shape_of
from jaxsal.rewrite.relevance import operations
from jaxsal.rewrite.relevance.flat_score import stopped
from jaxsal.rewrite.relevance.operations import Operation
from jaxsal.rewrite.relevance.read_operations import read_operations
from jaxsal.types import Image, Scalar

Pull = Callable[[Operation, Array], Sequence[Array]]
"""From an operation and what its value is given to what each of its inputs gets."""

Known = dict[Var, JaxValue]
"""The values of a program's variables at one image."""


@dataclass(frozen=True)
class Walk:
    """A score that is read as operations.

    Attributes:
        flat: its program, see `flat_score`.
        layers: whether batch norms and biases are parts of the layers before them.
    """

    flat: ClosedJaxpr
    layers: bool = False

    @cached_property
    def flow(self) -> Dataflow:
        """What depends on the image and is not held constant."""
        return Dataflow(self.flat, stopped(self.flat))

    @cached_property
    def operations(self) -> list[Operation]:
        """From the score to the image."""
        return read_operations(self.flat, self.flow, layers=self.layers)

    @property
    def image(self) -> Var:
        return self.flat.jaxpr.invars[0]

    @property
    def score(self) -> Var:
        """The variable that is the score.

        Raises:
            ValueError: it does not depend on the image, but through what is held constant.
        """
        out = self.flat.jaxpr.outvars[0]
        if isinstance(out, Literal) or not self.flow.depends(out):
            raise ValueError(
                "score: expected one that depends on the image, got one that does not, or only "
                "through what rules hold constant (stop_gradient, the deviation of a norm)"
            )
        return out

    def values(self, image: Image) -> Known:
        """The value of every variable at an image."""
        known: Known = dict(zip(self.flat.jaxpr.constvars, self.flat.consts, strict=True))
        known[self.image] = image
        play(live_equations(self.flat.jaxpr), known)
        return known

    def back(self, start: Scalar, pull: Pull) -> Image:
        """What the image is given, where the score is given `start`.

        Args:
            start: what the score has.
            pull: the rules.
        """
        given: dict[Var, Array] = {self.score: start}
        for operation in self.operations:
            mine = given.pop(operation.output, None)
            if mine is None:
                continue
            shares = pull(operation, mine.astype(dtype_of(operation.output)))
            for var, share in zip(operation.inputs, shares, strict=True):
                given[var] = given[var] + share if var in given else share
        return given.get(self.image, jnp.zeros(shape_of(self.image), dtype_of(self.image)))


def transposed(operation: Operation, known: Known, given: Array) -> Sequence[Array]:
    """What the derivative makes of `given`: of a linear operation, its transpose."""
    values = [known[var] for var in operation.inputs]
    _, back = jax.vjp(lambda *xs: operation.apply(known, *xs), *values)
    return list(back(given))


_COSTLY = (operations.CONVOLUTION, operations.DENSE, operations.SUM)


def linear(operation: Operation, known: Known, given: Array) -> Sequence[Array]:
    """The transpose of a linear operation; what costs much is not computed again for it."""
    if operation.kind not in _COSTLY or operation.shift_axes is not None:
        return transposed(operation, known, given)
    values = [known[var] for var in operation.inputs]
    types = [jax.ShapeDtypeStruct(jnp.shape(x), x.dtype) for x in values]
    return list(jax.linear_transpose(lambda *xs: operation.apply(known, *xs), *types)(given))


def no_rule(operation: Operation, method: str) -> ValueError:
    """The error of an operation that a method has no rule for."""
    return ValueError(
        f"score: {method} has no rule for {operation}; write it by operations that it has rules "
        "for (convolutions, products, sums, pools, activations, norms, softmax, moves), or take "
        "another method"
    )


def told(name: str, operation: Operation, rule: str) -> None:
    """Notes which rule an operation got, for `explainer.describe`."""
    note(Note(name, f"{operation}: {rule}", True))
