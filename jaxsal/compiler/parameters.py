"""The parameters of a model as one object: looked through once, and known again by the next call.

A network has hundreds of arrays, and a call on an accelerator takes a millisecond: to look at each
array anew, to compare shapes and to find its devices, would take as long.
"""

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import jax

from jaxsal.compiler import checks
from jaxsal.compiler.callables import Node, Slot, as_it_is, join

Tree = Any


class Parameters:
    """What of the parameters a compilation depends on; equal for equal structure and shapes.

    Attributes:
        whole: the structure of parameters that are not all arrays, see `joined`; None: all are.
    """

    __slots__ = ("_hash", "_value", "whole")

    def __init__(self, tree: Tree, whole: Node | None = None) -> None:
        leaves, structure = jax.tree.flatten(tree)
        self._value = structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves), whole
        self._hash = hash(self._value)
        self.whole = whole

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Parameters) and self._value == other._value)


class Recent:
    """The parameters of the last call: checked, and the same object while its leaves are the same.

    Of these only weak references are kept; arrays of JAX do not change, others are looked at anew.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, list[Callable[[], Any]], Parameters] | None = None

    def __call__(self, params: Tree) -> tuple[Parameters, Tree]:
        """The parameters as one object, and their arrays as a pytree, None for other leaves.

        Raises:
            TypeError: a leaf that is neither an array nor can be a part of the program.
        """
        leaves, structure = jax.tree.flatten(params)
        last = self._last  # read once: other threads call too
        if last is not None and _same(leaves, last[1]) and structure == last[0]:
            return last[2], _arrays(last[2].whole, structure, leaves, params)
        checked = checks.check_params(params)
        after = jax.tree.leaves(checked)
        whole = _whole(structure, after)
        arrays = _arrays(whole, structure, after, checked)
        known = Parameters(arrays, whole)
        if all(a is b and _stays(a) for a, b in zip(leaves, after, strict=True)):
            self._last = structure, [_kept(leaf) for leaf in leaves], known
        return known, arrays


def joined(whole: Node | None, arrays: Tree) -> Tree:
    """The parameters of which these are the arrays, as the model takes them."""
    return arrays if whole is None else join(whole, jax.tree.leaves(arrays))


def _whole(structure: Any, leaves: list[Any]) -> Node | None:
    """The structure with a slot for each array; None: there is nothing else."""
    if all(map(checks.is_array, leaves)):
        return None
    count = itertools.count()
    parts = [Slot(next(count)) if checks.is_array(x) else as_it_is(x) for x in leaves]
    return Node(structure, tuple(parts))


def _arrays(whole: Node | None, structure: Any, leaves: list[Any], params: Tree) -> Tree:
    if whole is None:
        return params
    pairs = zip(whole.parts, leaves, strict=True)
    kept = [x if isinstance(part, Slot) else None for part, x in pairs]
    return jax.tree.unflatten(structure, kept)


def _stays(leaf: Any) -> bool:
    """Whether nobody writes to a leaf: what is no array is known by identity alone."""
    return checks.is_settled(leaf) or not checks.is_array(leaf)


def _kept(leaf: Any) -> Callable[[], Any]:
    """A weak reference, where there can be one."""
    try:
        return weakref.ref(leaf)
    except TypeError:
        return lambda: leaf


def _same(leaves: list[Any], known: list[Callable[[], Any]]) -> bool:
    return len(leaves) == len(known) and all(
        ref() is leaf for ref, leaf in zip(known, leaves, strict=True)
    )
