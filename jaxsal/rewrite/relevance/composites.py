"""Composites of LRP: which layer gets which rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxsal.rewrite.relevance import operations
from jaxsal.rewrite.relevance.layer_rules import RULES, LayerRule
from jaxsal.rewrite.relevance.operations import Operation

PASS = "pass"
GRADIENT = "gradient"

Composite = Callable[[Operation], "str | LayerRule | None"]
"""From an operation to the name of its rule, or a layer's rule itself; `None`: the usual one.

Layers are asked for, and activations, which heed `gradient` alone: all else passes relevance.
"""


@dataclass(frozen=True)
class _Named:
    """A composite of the literature.

    Attributes:
        convolution, dense: the rule of these layers.
        first: of a layer that no other comes before; `None`: like the others.
        first_convolution: of a convolution that no other comes before; `None`: like the others.
        activation: of elementwise functions.
    """

    convolution: str = "epsilon"
    dense: str = "epsilon"
    first: str | None = None
    first_convolution: str | None = None
    activation: str = PASS

    def __call__(self, operation: Operation, /) -> str | LayerRule | None:
        if operation.first_convolution and self.first_convolution:
            return self.first_convolution
        if operation.first and self.first:
            return self.first
        kinds = {
            operations.CONVOLUTION: self.convolution,
            operations.DENSE: self.dense,
            operations.ACTIVATION: self.activation,
        }
        return kinds.get(operation.kind)


COMPOSITES: dict[str, _Named] = {
    "epsilon": _Named(),
    "epsilon_plus": _Named("zplus"),
    "epsilon_plus_flat": _Named("zplus", first="flat"),
    "epsilon_gamma_box": _Named("gamma", first_convolution="zbox"),
    "epsilon_alpha2_beta1": _Named("alphabeta"),
    "epsilon_alpha2_beta1_flat": _Named("alphabeta", first="flat"),
    "excitation_backprop": _Named("zplus", "zplus", activation=GRADIENT),
}
"""Every composite by its name."""


def composite_of(composite: str | Composite) -> Composite:
    """A composite by its name, or the function that it is.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a function.
    """
    if callable(composite):
        return composite
    if not isinstance(composite, str):
        raise TypeError(
            "composite: expected a name or a function from an operation to the name of its rule, "
            f"got {composite!r}"
        )
    if composite not in COMPOSITES:
        raise ValueError(f"composite: expected one of {', '.join(COMPOSITES)}, got {composite!r}")
    return COMPOSITES[composite]


def layer_rule(chosen: str | LayerRule | None, operation: Operation) -> tuple[str, LayerRule]:
    """The rule of a layer, with its name.

    Raises:
        ValueError: a composite of the user's own names no rule.
    """
    if callable(chosen):
        return getattr(chosen, "__name__", "a function"), chosen
    name = "epsilon" if chosen is None else chosen
    if name not in RULES:
        raise ValueError(
            f"composite: expected one of {', '.join(RULES)} for {operation}, got {name!r}"
        )
    return name, RULES[name]
