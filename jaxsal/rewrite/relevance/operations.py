"""What a rule is about: one operation of a score, as people who build networks speak of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jax.extend.core import JaxprEqn, Literal, Var

from jaxsal.rewrite.activations.find import in_words
from jaxsal.rewrite.layers.names import scopes
from jaxsal.rewrite.program import Atom, JaxValue, bind, call_name, shape_of

MOVE = "move"
"""Values go elsewhere, unchanged: reshapes, slices, pads, concatenations, gathers."""
CONVOLUTION = "convolution"
DENSE = "dense"
"""A product with a kernel that does not depend on the image: dense layers, einsums."""
SUM = "sum"
"""A sum of values, or their mean: pools, reductions."""
ADD = "add"
"""A sum or a difference of two values that depend on the image: residuals."""
CONSTANTS = "constants"
"""Constants added and multiplied: a batch norm, a bias, a scale."""
ACTIVATION = "activation"
"""An elementwise function of one value."""
PRODUCT = "product"
"""A product, of any axes, of two values that depend on the image: attention, gates."""
QUOTIENT = "quotient"
MAXIMUM = "maximum"
"""A maximum or minimum over windows, over axes, or of two values."""
SOFTMAX = "softmax"
OTHER = "other"
"""What there is no kind for."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a score.

    Attributes:
        kind: e.g. `"convolution"`; see the constants of this module.
        equations: the equations that compute it, in order.
        inputs: the values that it is a function of and that depend on the image.
        output: its value.
        positions: of a single equation, which of its operands the inputs are.
        same: from a value that is computed twice to the one that is read in its place.
        first: whether a layer (a convolution or a product with a kernel) has no other before it.
        first_convolution: whether a convolution has no other before it.
        homogeneous: whether an activation is f(x) = f'(x) x, as ReLU and leaky ReLU are.
        axes: of a softmax, those that it goes over.
        scale_axes: of a layer, the axes of the linear operation's result along which what it is
            multiplied with afterwards varies; `None` where nothing is.
        shift_axes: the same of what is added to it.
    """

    kind: str
    equations: tuple[JaxprEqn, ...]
    inputs: tuple[Var, ...]
    output: Var
    positions: tuple[int, ...] = ()
    same: Mapping[Var, Var] = field(default_factory=dict)
    first: bool = False
    first_convolution: bool = False
    homogeneous: bool = False
    axes: tuple[int, ...] = ()
    scale_axes: frozenset[int] | None = None
    shift_axes: frozenset[int] | None = None

    @property
    def name(self) -> str:
        """The operation by JAX's name, or by that of the function that is called."""
        eqn = self.equations[0] if self.kind in (CONVOLUTION, DENSE, SUM) else self.equations[-1]
        return call_name(eqn) or eqn.primitive.name

    @property
    def scope(self) -> str:
        """The named scopes around it, e.g. `"CNN/Conv_0"`."""
        return "/".join(scopes(self.equations[0]))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its value."""
        return shape_of(self.output)

    def __str__(self) -> str:
        words = self.name if self.name == self.kind else f"{self.kind} by {self.name}"
        if self.kind in (OTHER, MAXIMUM):
            words = self.name
        eqn = self.equations[0] if self.kind in (CONVOLUTION, DENSE, SUM) else self.equations[-1]
        return in_words(eqn, words)

    def apply(self, known: Mapping[Var, JaxValue], *values: JaxValue) -> JaxValue:
        """The operation's value at other inputs.

        Args:
            known: the values of everything else that it reads.
            *values: those of its inputs.
        """
        if self.positions:
            return self._bound(known, values)
        local = dict(zip(self.inputs, values, strict=True))

        def read(atom: Atom) -> JaxValue:
            if isinstance(atom, Literal):
                return atom.val
            atom = self.same.get(atom, atom)
            return local[atom] if atom in local else known[atom]

        for eqn in self.equations:
            outs = bind(eqn, [read(atom) for atom in eqn.invars])
            local.update(zip(eqn.outvars, outs, strict=True))
        return local[self.output]

    def _bound(self, known: Mapping[Var, JaxValue], values: tuple[JaxValue, ...]) -> JaxValue:
        (eqn,) = self.equations
        given = dict(zip(self.positions, values, strict=True))
        operands = [
            given[i] if i in given else atom.val if isinstance(atom, Literal) else known[atom]
            for i, atom in enumerate(eqn.invars)
        ]
        return bind(eqn, operands)[eqn.outvars.index(self.output)]
