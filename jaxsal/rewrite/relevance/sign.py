"""Which values of a program are never negative, whatever the image."""

from __future__ import annotations

from jax.extend.core import JaxprEqn, Literal, Var

from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.program import CUSTOM_CALLS, Atom, call_name, variables

_ALWAYS = frozenset({"abs", "exp", "exp2", "logistic", "square", "sqrt", "erfc"})
_ALIKE = frozenset(
    {"add", "add_any", "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p"}
    | {"cumsum", "div", "dynamic_slice", "expand_dims", "gather", "min", "mul", "name", "pvary"}
    | {"reduce_max", "reduce_min", "reduce_precision", "reduce_sum", "reduce_window_max"}
    | {"reduce_window_sum", "reshape", "rev", "select_n", "slice", "squeeze", "stop_gradient"}
    | {"transpose"}
)
"""Operations whose result is not negative where none of their floating operands is."""


class Signs:
    """The values of one flat program that are never negative."""

    def __init__(self, flow: Dataflow):
        self._flow = flow
        self._known: dict[Var, bool] = {}

    def is_nonnegative(self, atom: Atom) -> bool:
        """Whether it is known that no element of a value is below zero."""
        value = self._flow.constant(atom)
        if value is not None or isinstance(atom, Literal):
            return value is not None and value >= 0
        if atom not in self._known:
            eqn = self._flow.producer(atom)
            self._known[atom] = eqn is not None and self._result(eqn)
        return self._known[atom]

    def _result(self, eqn: JaxprEqn) -> bool:
        name = eqn.primitive.name
        if name in _ALWAYS or call_name(eqn) in ("relu", "relu6"):
            return True
        if name == "integer_pow":
            return eqn.params["y"] % 2 == 0
        if name in ("max", "clamp"):
            bounds = eqn.invars if name == "max" else eqn.invars[:1]
            return any(map(self.is_nonnegative, bounds))
        if name in CUSTOM_CALLS or name not in _ALIKE:
            return False
        if name == "gather" and (eqn.params["fill_value"] or 0) < 0:
            return False
        skipped = 1 if name == "select_n" else 0
        operands = eqn.invars[:1] if name in ("gather", "dynamic_slice") else eqn.invars[skipped:]
        return bool(variables(operands)) and all(map(self.is_nonnegative, operands))
