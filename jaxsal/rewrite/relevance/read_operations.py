"""Reads a flat score as operations, from the score to the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from jax.extend.core import ClosedJaxpr, JaxprEqn, Var

from jaxsal.rewrite.activations.functions import ElementwiseGraph
from jaxsal.rewrite.dataflow import Dataflow, is_floating
from jaxsal.rewrite.program import shape_of, variables
from jaxsal.rewrite.relevance import folding, operations
from jaxsal.rewrite.relevance.operations import Operation
from jaxsal.rewrite.relevance.softmax import find_softmaxes

MOVES = frozenset(
    {"broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "dynamic_slice"}
    | {"dynamic_update_slice", "expand_dims", "gather", "name", "pad", "pcast", "pvary"}
    | {"reduce_precision", "reshape", "rev", "scatter", "select_n", "sharding_constraint"}
    | {"slice", "squeeze", "stack", "tile", "transpose"}
)
SUMS = frozenset({"cumsum", "reduce_sum", "reduce_window_sum", "scatter-add", "scatter_add"})
LAYERS = {"conv_general_dilated": operations.CONVOLUTION, "dot_general": operations.DENSE}
ADDS = frozenset({"add", "add_any", "sub"})
MAXIMA = frozenset(
    {"max", "min", "reduce_max", "reduce_min", "reduce_window_max", "reduce_window_min"}
)
_CONSTANTS = ADDS | folding.SCALES


def read_operations(flat: ClosedJaxpr, flow: Dataflow, *, layers: bool) -> list[Operation]:
    """The operations of a flat score, each after all that read its value.

    Args:
        flat: the program, see `flat_score`.
        flow: its data flow, which says what is held constant.
        layers: whether constants that are added to and multiplied with the result of a linear
            operation are a part of it, as a batch norm behind a convolution.
    """
    reader = _Reader(flat, flow, layers)
    found = list(reader.operations())
    return _numbered(found, flat.jaxpr.invars[0])


class _Reader:
    def __init__(self, flat: ClosedJaxpr, flow: Dataflow, layers: bool):
        self.flat, self.flow, self.layers = flat, flow, layers
        self.graph = ElementwiseGraph(flat.jaxpr, flow)
        self.softmaxes = find_softmaxes(flat)
        self.made = {out: eqn for eqn in flat.jaxpr.eqns for out in eqn.outvars}

    def operations(self) -> Iterator[Operation]:
        needed = {v for v in variables(self.flat.jaxpr.outvars) if self.flow.depends(v)}
        for eqn in reversed(self.flat.jaxpr.eqns):
            for out in eqn.outvars:
                if out in needed:
                    operation = self.operation(out)
                    needed.update(operation.inputs)
                    yield operation

    def operation(self, out: Var) -> Operation:
        """The operation that computes a value."""
        found = self._softmax(out) or self._function(out) or self._layer(out)
        return found or self._constants(out) or self._single(out)

    def moving(self, eqn: JaxprEqn) -> list[Var]:
        """The operands that depend on the image."""
        return [v for v in variables(eqn.invars) if self.flow.depends(v)]

    def _softmax(self, out: Var) -> Operation | None:
        found = self.softmaxes.get(out)
        if found is None or not self.flow.depends(found.root):
            return None
        kind = operations.SOFTMAX
        return Operation(kind, found.equations, (found.root,), out, axes=found.axes)

    def _function(self, out: Var) -> Operation | None:
        """An elementwise function of one value by several equations, or that reads it twice."""
        eqn, root = self.made[out], self.graph.above(out)
        if root is None or out not in self.graph.made:
            return None
        sources = self.graph.sources(eqn)
        if len(sources) == 1 == len(self.moving(eqn)) and is_floating(sources[0]):
            return None
        return Operation(
            operations.ACTIVATION,
            tuple(self.graph.between(out, root)),
            (root,),
            out,
            same=self.graph.same,
            homogeneous=self._is_homogeneous(out, root),
        )

    def _layer(self, out: Var) -> Operation | None:
        """A linear operation, with the constants behind it."""
        chain: list[JaxprEqn] = []
        var = out
        while (eqn := self.made.get(var)) is not None and not self._is_linear(eqn):
            moved = eqn.primitive.name in folding.RESHAPES | folding.SAME and len(chain) > 0
            through = moved and all(map(is_floating, (*eqn.invars, *eqn.outvars)))
            if not self.layers or not (through or self._is_constant(eqn)):
                return None
            chain.insert(0, eqn)
            (var,) = self.moving(eqn)
            if not self._read_once(var):
                return None
        if eqn is None:
            return None
        found = folding.fold(eqn, chain, self.flow)
        kind = LAYERS.get(eqn.primitive.name, operations.SUM)
        if found is None or (kind is operations.SUM and found.shift is not None):
            return None
        positions = tuple(i for i, v in enumerate(eqn.invars) if self.flow.depends(v))
        return Operation(
            kind,
            (eqn, *chain),
            tuple(self.moving(eqn)),
            out,
            positions=() if chain else positions,
            scale_axes=found.scale,
            shift_axes=found.shift,
        )

    def _constants(self, out: Var) -> Operation | None:
        """All constants added and multiplied one after the other, from `out` up.

        The one that is added first to a linear operation's result is a bias of its own.
        """
        chain: list[JaxprEqn] = []
        var = out
        while (eqn := self.made.get(var)) is not None and self._is_constant(eqn):
            if chain and (not self._read_once(var) or self._layer(var) or self._is_bias(eqn)):
                break
            chain.insert(0, eqn)
            (var,) = self.moving(eqn)
        if not chain:
            return None
        return Operation(operations.CONSTANTS, tuple(chain), (var,), out)

    def _single(self, out: Var) -> Operation:
        eqn = self.made[out]
        atoms = enumerate(eqn.invars)
        places = [(i, v) for i, v in atoms if isinstance(v, Var) and self.flow.depends(v)]
        kind = self._kind(eqn) if all(is_floating(v) for _, v in places) else operations.OTHER
        inputs = tuple(v for _, v in places if is_floating(v))
        positions = tuple(i for i, v in places if is_floating(v))
        function = kind == operations.ACTIVATION
        homogeneous = function and self._is_homogeneous(out, self.graph.sources(eqn)[0])
        return Operation(kind, (eqn,), inputs, out, positions, homogeneous=homogeneous)

    def _is_homogeneous(self, out: Var, root: Var) -> bool:
        """Whether an activation is `f(x) = f'(x) x`: ReLU, leaky ReLU, the absolute value."""
        function = self.graph.function(out, root)
        return function is not None and all(
            part.start == 0 and part.slope == part.derivative for part in function.pieces
        )

    def _kind(self, eqn: JaxprEqn) -> str:
        name, count = eqn.primitive.name, len(self.moving(eqn))
        if count == 1 and name in LAYERS:  # a kernel that depends on the image, on a constant
            return operations.SUM
        if name in MOVES:
            return operations.MOVE
        if name in SUMS or (name in ADDS and count == 2):
            return operations.SUM if name in SUMS else operations.ADD
        if count == 2 and (name == "mul" or name in LAYERS):
            return operations.PRODUCT
        if count == 2 and name == "div":
            return operations.QUOTIENT
        if name in MAXIMA and (count == 2 or name not in ("max", "min")):
            return operations.MAXIMUM
        function = count == 1 and eqn.outvars[0] in self.graph.made
        return operations.ACTIVATION if function else operations.OTHER

    def _is_linear(self, eqn: JaxprEqn) -> bool:
        """Whether an equation is a sum, or a product with a kernel that is constant."""
        if len(self.moving(eqn)) != 1:
            return False
        name = eqn.primitive.name
        layer = name == "dot_general" or (name in LAYERS and self.flow.depends(eqn.invars[0]))
        return layer or (name in SUMS and len(eqn.invars) == 1)

    def _is_constant(self, eqn: JaxprEqn) -> bool:
        """Whether an equation adds or multiplies a constant."""
        moving = self.moving(eqn)
        if len(moving) != 1 or eqn.primitive.name not in _CONSTANTS:
            return False
        if eqn.primitive.name == "div" and moving[0] is not eqn.invars[0]:
            return False
        return is_floating(moving[0]) and shape_of(moving[0]) == shape_of(eqn.outvars[0])

    def _is_bias(self, eqn: JaxprEqn) -> bool:
        """Whether an equation adds a constant to what a product with a kernel computes."""
        (var,) = self.moving(eqn)
        made = self.made.get(var)
        return eqn.primitive.name == "add" and made is not None and made.primitive.name in LAYERS

    def _read_once(self, var: Var) -> bool:
        return len(self.flow.readers(var)) == 1 and not self.flow.leaves(var)


def _numbered(found: Sequence[Operation], image: Var) -> list[Operation]:
    """The operations with those marked that no layer, or no convolution, comes before."""
    layer: dict[Var, bool] = {image: False}
    convolution: dict[Var, bool] = {image: False}
    result: list[Operation] = []
    for each in reversed(found):
        behind = any(layer.get(v, False) for v in each.inputs)
        far = any(convolution.get(v, False) for v in each.inputs)
        is_convolution = each.kind == operations.CONVOLUTION
        is_layer = is_convolution or each.kind == operations.DENSE
        layer[each.output] = behind or is_layer
        convolution[each.output] = far or is_convolution
        result.append(
            dataclasses.replace(
                each,
                first=is_layer and not behind,
                first_convolution=is_convolution and not far,
            )
        )
    return result[::-1]
