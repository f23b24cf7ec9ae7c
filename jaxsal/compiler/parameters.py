"""A cache of the last call's parameters: checked, placed, and recognised by identity.

A network has hundreds of arrays, and a call on an accelerator takes a millisecond. To look at each
array anew, to compare shapes, to choose devices and to find what lies there would take as long.
"""

import functools
import itertools
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import PyTreeDef

from jaxsal.compiler import checks, transfer
from jaxsal.compiler.addressable import is_concrete
from jaxsal.compiler.arrays import is_array
from jaxsal.compiler.callables import Node, Slot, as_it_is, assemble
from jaxsal.compiler.placement import Placement, current_mesh, place_batch
from jaxsal.types import ArrayOrShape, Params, Tree


@jax.tree_util.register_pytree_node_class
class Arrays(NamedTuple):
    """The arrays of a pytree, as leaves: `jax.jit` takes a tuple apart in less time than dicts."""

    leaves: Sequence[Any]
    structure: PyTreeDef

    @property
    def tree(self) -> Tree:
        """The pytree, with None for what is no array."""
        return jax.tree.unflatten(self.structure, self.leaves)

    def tree_flatten(self) -> tuple[Sequence[Any], PyTreeDef]:
        return self.leaves, self.structure

    @classmethod
    def tree_unflatten(cls, structure: PyTreeDef, leaves: Sequence[Any]) -> "Arrays":
        return cls(leaves, structure)


class Signature:
    """What of the parameters a compilation depends on; equal for equal structure and shapes.

    Attributes:
        whole: the structure of parameters that are not all arrays (`assemble_params`), else None.
    """

    __slots__ = ("_hash", "value", "whole")

    def __init__(self, arrays: Arrays, whole: Node | None = None) -> None:
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in arrays.leaves)
        self.value = arrays.structure, shapes, whole
        self._hash = hash(self.value)
        self.whole = whole

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Signature) and self.value == other.value)


class Copies:
    """Copies of arrays on the devices of a batch: made once, and found there by the next call.

    Arrays of JAX do not change. Those of NumPy may: each call compares them with what was placed,
    which takes less time than to place them again. A copy goes when its array does.
    """

    def __init__(self) -> None:
        self._last: tuple[object, object, list[_Copy], bool] = None, None, [], False

    def __call__(self, tree: Tree, placement: Placement, owner: object = None) -> Tree:
        """The arrays where they are needed.

        Args:
            tree: a pytree of arrays.
            placement: where that is.
            owner: an object that is the same only as long as the arrays and their contents are;
                None: there is none.
        """
        last, before, copies, home = self._last  # read once: other threads call too
        where = placement, jax.config.jax_enable_x64  # else 64 bits of NumPy are placed as 32
        unchanged = owner is not None and last is owner and before == where
        if unchanged and home:
            return tree
        leaves, structure = jax.tree.flatten(tree)
        if not unchanged:
            copies = _copied(leaves, placement, copies if before == where else [])
        placed = [copy.of(leaf) for leaf, copy in zip(leaves, copies, strict=True)]
        if not (unchanged or any(isinstance(x, jax.core.Tracer) for x in placed)):
            home = all(map(operator.is_, placed, leaves))
            self._last = owner, where, copies, home
        return jax.tree.unflatten(structure, placed)


class Parameters:
    """The parameters of a call, checked: the same object for the same arrays.

    It holds none of them: parameters live no longer than the caller's.
    """

    __slots__ = ("_copies", "_place", "signature", "traced")

    def __init__(self, signature: Signature, copies: Copies, traced: bool) -> None:
        """`traced`: whether some are a part of a program that is being traced."""
        self.signature, self._copies, self.traced = signature, copies, traced
        self._place: tuple[object, Placement] | None = None

    def placement(self, mesh: Mesh | None, images: ArrayOrShape, arrays: Tree) -> Placement:
        """`place_batch`, cached for batches that lie on the same devices."""
        if isinstance(images, jax.core.Tracer):
            return place_batch(mesh, images, arrays)
        home = getattr(images, "sharding", None), getattr(images, "committed", False)
        context = current_mesh() if mesh is None else None
        key = mesh, home, images.shape[0], jax.config.jax_default_device, context
        last = self._place
        if last is None or last[0] != key:
            last = self._place = key, place_batch(mesh, images, arrays)
        return last[1]

    def on(self, placement: Placement, arrays: Tree) -> Tree:
        """The arrays on the devices of a placement."""
        return self._copies(arrays, placement, self.signature)


class ParameterCache:
    """Remembers the parameters of the last call, checked and placed.

    It recognises JAX's arrays by identity, since they do not change; others are checked anew. It
    holds weak references alone.
    """

    def __init__(self) -> None:
        self._last: tuple[PyTreeDef, list[Callable[[], object]], Parameters] | None = None
        self._copies = Copies()

    def __call__(self, params: Params) -> tuple[Parameters, Arrays]:
        """The parameters as one object, and their arrays.

        Raises:
            TypeError: a leaf that is neither an array nor can be a part of the program.
        """
        leaves, structure = jax.tree.flatten(params)
        last = self._last  # read once: other threads call too
        if last is not None and _same(leaves, last[1]) and structure == last[0]:
            # The object that `jax.jit` knows: an equal one it would compare, key by key.
            return last[2], _arrays(last[2].signature.whole, last[0], leaves)
        after = jax.tree.leaves(checks.check_params(params))
        whole = _whole(structure, after)
        arrays = _arrays(whole, structure, after)
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in after)
        known = Parameters(Signature(arrays, whole), self._copies, traced)
        if all(a is b and _is_fixed(a) for a, b in zip(leaves, after, strict=True)):
            self._last = structure, [_weak(leaf) for leaf in leaves], known
        return known, arrays


def assemble_params(whole: Node | None, arrays: Arrays) -> Params:
    """The parameters of which these are the arrays, as the model takes them."""
    return arrays.tree if whole is None else assemble(whole, arrays.leaves)


def _whole(structure: PyTreeDef, leaves: list[object]) -> Node | None:
    """The structure with a slot for each array; None: there is nothing else."""
    if all(map(is_array, leaves)):
        return None
    count = itertools.count()
    parts = [Slot(next(count)) if is_array(x) else as_it_is(x) for x in leaves]
    return Node(structure, tuple(parts))


def _arrays(whole: Node | None, structure: PyTreeDef, leaves: list[Any]) -> Arrays:
    if whole is None:
        return Arrays(tuple(leaves), structure)
    pairs = zip(whole.parts, leaves, strict=True)
    kept = [x if isinstance(part, Slot) else None for part, x in pairs]
    return Arrays(*jax.tree.flatten(jax.tree.unflatten(structure, kept)))


def _is_fixed(leaf: object) -> bool:
    """Whether nobody writes to a leaf: what is no array is known by identity alone."""
    return is_concrete(leaf) or not is_array(leaf)


def _weak(leaf: object) -> Callable[[], object]:
    """A weak reference, where there can be one."""
    try:
        return weakref.ref(leaf)
    except TypeError:
        return lambda: leaf


def _same(leaves: list[object], known: list[Callable[[], object]]) -> bool:
    return len(leaves) == len(known) and all(map(operator.is_, leaves, [ref() for ref in known]))


def _copied(
    leaves: list[ArrayOrShape], placement: Placement, known: "list[_Copy]"
) -> "list[_Copy]":
    """Copies of the leaves: known ones where they are up to date, else new ones."""
    return [
        copy if copy is not None and copy.serves(leaf) else _Copy(leaf, placement)
        for leaf, copy in itertools.zip_longest(leaves, known[: len(leaves)])
    ]


class _Copy:
    """An array on the devices where it is needed, for as long as the array itself lives."""

    __slots__ = ("__weakref__", "_array", "_contents", "_placed")

    def __init__(self, array: ArrayOrShape, placement: Placement) -> None:
        self._array: Any = None
        self._contents: np.ndarray | None = None
        self._placed: Any
        if transfer.may_change(array):
            self._contents = array.copy(order="K")
            self._contents.flags.writeable = False
            self._placed = transfer.put_parameter(self._contents, placement)
        else:
            placed = transfer.put_parameter(array, placement)
            self._placed = None if placed is array else placed
        if isinstance(array, jax.Array | np.ndarray):
            self._array = weakref.ref(array, functools.partial(_drop, weakref.ref(self)))

    def serves(self, array: ArrayOrShape) -> bool:
        """Whether it is a copy of this array, as it is now."""
        if self._array is None or self._array() is not array:
            return False
        if self._contents is None:
            return not transfer.may_change(array)  # one that could not be written to may be now
        return _same_bytes(array, self._contents)

    def of(self, array: ArrayOrShape) -> ArrayOrShape:
        """The copy; the array itself, where it lies there already."""
        return array if self._placed is None else self._placed

    def drop(self) -> None:
        self._placed = self._contents = None


def _drop(copy: "weakref.ref[_Copy]", _: object) -> None:
    if (found := copy()) is not None:
        found.drop()


_PIECE = 2**20
"""Bytes compared at a time, which stay in the cache."""


def _same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays that lie alike have the same contents, NaNs too."""
    if one.dtype != other.dtype or one.shape != other.shape or one.strides != other.strides:
        return False
    a, b = (x.ravel(order="K").view(np.uint8) for x in (one, other))
    starts = range(0, a.size, _PIECE)
    return all(np.array_equal(a[i : i + _PIECE], b[i : i + _PIECE]) for i in starts)
