"""What a model's outputs mean: how many classes, which one is predicted, the score of a class."""

import operator
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr

from jaxsal.rewrite.interval_arithmetic import bounds


@dataclass(frozen=True)
class Output:
    """One meaning of the outputs [K] of a model.

    Attributes:
        name: as the explainer is given it.
        plural: what several of them are called.
        noun: what a target counts.
        other: where one output tells two classes apart: from the score of class 1 to that of
            class 0. None: one output is one score.
        middle: of one output, what class 1 lies above.
        confined: whether outputs may lie between 0 and 1 alone.
    """

    name: str
    plural: str
    noun: str
    other: Callable[[jax.Array], jax.Array] | None
    middle: float = 0.0
    confined: bool = True

    def classes(self, outputs: int) -> int:
        """How many targets a model with so many outputs has."""
        return outputs if self.other is None else max(2, outputs)

    def score(self, outputs: jax.Array, target: int | jax.Array) -> jax.Array:
        """The score of one target."""
        if outputs.shape[0] == 1 and self.other is not None:
            return jnp.where(target == 1, outputs[0], self.other(outputs[0]))
        own = jnp.arange(outputs.shape[0], dtype=jnp.int32) == target
        return jnp.sum(jnp.where(own, outputs, 0))

    def class_logits(self, outputs: jax.Array) -> jax.Array:
        """Outputs [K] as logits of the classes, whose softmax the model's probabilities are.

        Raises:
            ValueError: values, which tell no classes.
        """
        if self.other is None:
            raise ValueError(f"output: {self.plural} tell no classes to compare; got {self.name!r}")
        binary = outputs.shape[0] == 1
        both = jnp.stack([self.other(outputs[0]), outputs[0]]) if binary else outputs
        if self.confined:
            return jnp.log(jnp.maximum(both, jnp.finfo(both.dtype).tiny))
        return both / 2 if binary else both  # of z/2 and -z/2 the softmax is z's sigmoid

    def probabilities(self, outputs: jax.Array) -> jax.Array:
        """Outputs [K] as the probability of each class.

        Raises:
            ValueError: values, which tell no classes.
        """
        if self.confined and outputs.shape[0] > 1 and self.other is not None:
            return outputs
        return jax.nn.softmax(self.class_logits(outputs))

    def predicted(self, outputs: jax.Array) -> jax.Array:
        """The target that the model predicts, int32: the largest output, the one above middle.

        Outputs of which one is NaN predict none: -1.
        """
        binary = outputs.shape[0] == 1 and self.other is not None
        largest = outputs[0] > self.middle if binary else jnp.argmax(outputs)
        return jnp.where(jnp.isnan(outputs).any(), -1, largest.astype(jnp.int32))

    def check_predicts(self, outputs: int) -> None:
        """Raises where no target is predicted.

        Raises:
            ValueError: several outputs of which none is the model's choice.
        """
        if self.other is None and outputs > 1:
            raise ValueError(
                f"targets: a model of {outputs} {self.plural} predicts none of them; expected the "
                f'number of one, or "all", got None'
            )

    def check_program(self, closed: ClosedJaxpr) -> None:
        """Raises where a model's program shows that its outputs, [1, K], are something else.

        Raises:
            ValueError: outputs between 0 and 1 that are said to be logits.
        """
        if self.confined:
            return
        least, most = bounds(closed)[0]
        if 0 <= least < most <= 1:
            raise ValueError(
                f"output: expected {self.plural}, but what the model returns lies between 0 and 1 "
                "for every image, as after a sigmoid or softmax; return what stands before it, or "
                'give output="probability" (of a regression output="value")'
            )


def _against(probability: jax.Array) -> jax.Array:
    return 1 - probability


OUTPUTS = {
    each.name: each
    for each in (
        Output("logits", "logits", "class", operator.neg, confined=False),
        Output("probability", "probabilities", "class", _against, middle=0.5),
        Output("value", "values", "output", None),
    )
}
"""Every meaning by its name."""


def output_of(name: object) -> Output:
    """The meaning of that name.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(name, str) or name not in OUTPUTS:
        raise ValueError(f"output: expected one of {', '.join(OUTPUTS)}, got {name!r}")
    return OUTPUTS[name]
