"""The parameters of a model as one object: looked through once, and known again by the next call.

A network has hundreds of arrays, and a call on an accelerator takes a millisecond: to look at each
array anew, to compare shapes and to find its devices, would take as long.
"""

import weakref
from typing import Any

import jax

from jaxsal.compiler import checks

Tree = Any


class Parameters:
    """What of the parameters a compilation depends on; equal for equal structure and shapes."""

    __slots__ = ("_hash", "_value")

    def __init__(self, tree: Tree) -> None:
        leaves, structure = jax.tree.flatten(tree)
        self._value = structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        self._hash = hash(self._value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Parameters) and self._value == other._value)


class Recent:
    """The parameters of the last call: checked, and the same object while its arrays are the same.

    Of these only weak references are kept; arrays of JAX do not change, others are looked at anew.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, list[weakref.ref[Any]], Parameters] | None = None

    def __call__(self, params: Tree) -> tuple[Parameters, Tree]:
        """The parameters as one object, and as a pytree of arrays.

        Raises:
            TypeError: a leaf that is no array.
        """
        leaves, structure = jax.tree.flatten(params)
        last = self._last  # read once: other threads call too
        if last is not None and _same(leaves, last[1]) and structure == last[0]:
            return last[2], params
        checked = checks.check_params(params)
        found, after = Parameters(checked), jax.tree.leaves(checked)
        if all(a is b and checks.is_settled(a) for a, b in zip(leaves, after, strict=True)):
            self._last = structure, [weakref.ref(leaf) for leaf in leaves], found
        return found, checked


def _same(leaves: list[Any], known: list[weakref.ref[Any]]) -> bool:
    return len(leaves) == len(known) and all(
        ref() is leaf for ref, leaf in zip(known, leaves, strict=True)
    )
