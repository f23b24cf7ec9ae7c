"""A stage of a network in a program: a convolution beside a pool whose windows lie side by side."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import JaxprEqn

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import Atom
from jaxsal.rewrite.rules import conv
from jaxsal.rewrite.rules.max_pool import PoolWindows


def is_differentiated(operand: Atom, frame: Frame) -> bool:
    """Whether the program scatters to what is pooled."""
    return any(
        eqn.primitive.name == "select_and_scatter_add" and eqn.invars[1] is operand
        for eqn in users(operand, frame)
    )


def shaped(atom: Atom) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a value that need not be known yet."""
    aval: Any = atom.aval
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def users(var: Atom, frame: Frame) -> list[JaxprEqn]:
    """The equations of this body that read a value."""
    return [eqn for eqn in frame.jaxpr.eqns if var in eqn.invars]


def is_beside(eqn: JaxprEqn, windows: PoolWindows) -> bool:
    """Whether it is a convolution of images, channels last, stride 1, and such a pool's windows."""
    return eqn.primitive.name == "conv_general_dilated" and _is_plain(eqn) and _is_tiled(windows)


def _is_plain(eqn: JaxprEqn) -> bool:
    params, values = eqn.params, [shaped(atom) for atom in eqn.invars]
    numbers = params["dimension_numbers"]
    return (
        conv.is_supported(eqn, values)
        and params["preferred_element_type"] in (None, values[0].dtype)
        and numbers.lhs_spec == numbers.out_spec == (0, 3, 1, 2)
        and params["feature_group_count"] == 1
        and all(
            set(params[name]) == {1} for name in ("window_strides", "lhs_dilation", "rhs_dilation")
        )
    )


def _is_tiled(windows: PoolWindows) -> bool:
    """Whether windows over rows and columns lie side by side, without padding."""
    return (
        len(windows.size) >= 4
        and windows.size == windows.stride
        and {*windows.size[:-3], windows.size[-1]} == {1}
        and not any(map(any, windows.padding))
    )


def low_padding(eqn: JaxprEqn) -> tuple[int, int]:
    """The zeros before the first row and the first column of a convolution."""
    (top, _), (left, _) = eqn.params["padding"]
    return top, left


def rows_and_columns(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Those of an array's sizes, or of a window's."""
    *_, rows, columns, _ = sizes
    return rows, columns
