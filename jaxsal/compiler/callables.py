"""Splits callables into structure, which a program is compiled for, and arrays, its arguments.

Two explainers share a compiled program where their structures are equal: where they are made of the
same function objects, as with `jax.jit`, and of options of the same types and values. What only
compares equal (two models, two dataclasses) may hold other arrays, and may have changed since.
"""

import dataclasses
import enum
import functools
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.tree_util import PyTreeDef

from jaxsal.compiler.signatures import Function, innermost, is_combined, is_here
from jaxsal.types import ArrayOrShape


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where an array goes."""

    index: int


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A plain value, equal to one that is written alike: 1 is neither 1.0 nor True."""

    value: Any

    def __hash__(self) -> int:
        return hash((type(self.value), repr(self.value)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value) or type(self.value) is not type(other.value):
            return False
        return self.value is other.value or repr(self.value) == repr(other.value)


class Same(Value):
    """An object, equal to itself alone, that has no weak references."""

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value


@dataclasses.dataclass
class Holder:
    """Holds an object that cannot be weakly referenced, or that must equal nothing but itself."""

    value: Any


class Reference:
    """A weak reference to an object, equal to references of the same object alone."""

    __slots__ = ("_hash", "referent")

    def __init__(self, referent: object) -> None:
        self._hash, self.referent = id(referent), weakref.ref(referent)

    @property
    def value(self) -> Any:
        referent = self.referent()
        return referent.value if isinstance(referent, Holder) else referent

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        referent = self.referent()
        return (
            isinstance(other, Reference) and referent is not None and referent is other.referent()
        )


@dataclasses.dataclass(frozen=True)
class Table:
    """An array that a method wants concrete (a segmentation): structure, compared by contents."""

    shape: tuple[int, ...]
    dtype: np.dtype
    data: bytes

    @property
    def array(self) -> np.ndarray:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class Node:
    """A container, a partial or a combinator's result: what rebuilds it, and its parts."""

    rebuild: "type | Reference | PyTreeDef"
    parts: tuple[Any, ...]

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.rebuild, self.parts))  # once: every call looks its program up


Structure = Slot | Table | Value | Reference | Node

_PLAIN: tuple[type, ...] = (type(None), bool, int, float, complex, str, bytes, slice, range)
_PLAIN += (type(...), enum.Enum, np.generic, np.dtype)


@dataclasses.dataclass
class Split:
    """Takes values apart, and collects what they hold.

    Attributes:
        arrays: the arrays that `Slot`s count.
        kept: the objects that have to live as long as a `Reference` to them is used.
    """

    arrays: list[np.ndarray | jax.Array] = dataclasses.field(default_factory=list)
    kept: list[object] = dataclasses.field(default_factory=list)

    def reference(self, value: object) -> Reference:
        """An object, a function mostly, as it is: with what it closes over or is bound to."""
        try:
            weakref.ref(value)
        except TypeError:
            value = Holder(value)
        self.kept.append(value)
        return Reference(value)

    def structure(self, value: object, concrete: tuple[str, ...] = ()) -> Structure:
        """The structure of an option, of a method or of a dict of these; see `assemble`.

        Goes into dicts (in their order), tuples, lists and other pytrees; and, where a method is
        jaxsal's own, into `functools.partial` and combinators' results around it, whose arrays are
        options too. Another function is a reference. Arrays and keys are data; numbers, and
        integers without axes, stay in the structure as they are, and so do arrays under a name in
        `concrete`, or in the attribute `concrete` of the method that a partial binds: they must be
        known when the program is traced.
        """
        return self._take(value, concrete, False)

    def _take(self, value: Any, concrete: tuple[str, ...], known: bool) -> Structure:
        if isinstance(value, np.ndarray | jax.Array):
            return self._array(value, known)
        if type(value) is functools.partial and _is_ours(value):
            bound = (value.func, value.args, value.keywords)
            return Node(functools.partial, (self._take(bound, concrete_options(value), False),))
        if is_combined(value):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return Node(type(value), (self._take(fields, concrete, known),))
        if callable(value):
            return self._leaf(value)
        if type(value) is dict:
            names = Node(tuple, tuple(self._take(name, (), False) for name in value))
            parts = [self._take(x, concrete, known or k in concrete) for k, x in value.items()]
            return Node(dict, (names, *parts))
        if type(value) in (tuple, list) or _is_named(value):
            return Node(type(value), tuple(self._take(x, concrete, known) for x in value))
        if isinstance(value, _PLAIN) or jax.tree_util.all_leaves([value]):
            return self._leaf(value)
        leaves, tree = jax.tree.flatten(value, is_leaf=lambda x: x is not value)
        rebuild = self.reference(Holder(tree))
        return Node(rebuild, tuple(self._take(x, concrete, known) for x in leaves))

    def _array(self, value: np.ndarray | jax.Array, known: bool) -> Structure:
        if isinstance(value.dtype, np.dtype) and not isinstance(value, jax.core.Tracer):
            if value.ndim == 0 and value.dtype.kind in "iub":
                weak = getattr(value, "weak_type", False)
                return self._leaf(value.item() if weak else np.asarray(value)[()])
            if known:
                table = np.asarray(value)
                return Table(table.shape, table.dtype, table.tobytes())
        self.arrays.append(value)
        return Slot(len(self.arrays) - 1)

    def _leaf(self, value: object) -> Structure:
        if isinstance(value, np.bool_):
            value = bool(value)  # there is no other kind of bool in JAX
        if isinstance(value, _PLAIN):
            return Value(value)
        # An object that is no function may change before another explainer is made of it.
        return self.reference(value if callable(value) else Holder(value))


def as_it_is(value: object) -> Structure:
    """A value that is a part of the program: plain ones compare by value, others by identity.

    It is referred to weakly: who holds it keeps it alive.
    """
    if isinstance(value, _PLAIN):
        return Value(value)
    try:
        weakref.ref(value)
    except TypeError:
        return Same(value)
    return Reference(value)


def _is_ours(method: Any) -> bool:
    """Whether a method is this library's, through partials and combinators, to the innermost one.

    Its array options may be traced wherever they come from. Another's may decide by them in Python,
    as with `jax.jit`.
    """
    if type(method) is functools.partial:
        return _is_ours(method.func)
    if is_combined(method):
        return _is_ours(method.inner)
    module, name = str(getattr(method, "__module__", "")), getattr(method, "__qualname__", "")
    # A wrapper has the name of what it wraps, but is another object.
    return is_here(module) and getattr(sys.modules.get(module), name, None) is method


def _is_named(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def concrete_options(function: Function) -> tuple[str, ...]:
    """The options that the innermost method says must be known when it is traced."""
    return tuple(getattr(innermost(function)[0], "concrete", ()))


def assemble(structure: Structure, arrays: Sequence[ArrayOrShape]) -> Any:
    """The value of this structure, with `arrays` in the place of those that were taken out."""
    if isinstance(structure, Slot):
        return arrays[structure.index]
    if isinstance(structure, Table):
        return structure.array
    if isinstance(structure, Value | Reference):
        return structure.value
    return _rebuilt(structure.rebuild, [assemble(part, arrays) for part in structure.parts])


def _rebuilt(rebuild: Any, parts: list[Any]) -> Any:
    if rebuild in (tuple, list):
        return rebuild(parts)
    if isinstance(rebuild, type) and issubclass(rebuild, tuple):
        return rebuild(*parts)
    if rebuild is dict:
        return dict(zip(parts[0], parts[1:], strict=True))
    if rebuild is functools.partial:
        function, args, keywords = parts[0]
        return functools.partial(function, *args, **keywords)
    if isinstance(rebuild, Reference):
        rebuild = rebuild.value
    if isinstance(rebuild, PyTreeDef):
        return jax.tree.unflatten(rebuild, parts)
    return _instance(rebuild, parts[0])


def _instance(cls: type, fields: dict[str, Any]) -> Any:
    """A dataclass of these fields, not checked a second time: some of them are traced now."""
    instance: Any = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
    return instance


def references(structure: Structure) -> list[Reference]:
    """All references in a structure."""
    if isinstance(structure, Reference):
        return [structure]
    if not isinstance(structure, Node):
        return []
    own = [structure.rebuild] if isinstance(structure.rebuild, Reference) else []
    return own + [found for part in structure.parts for found in references(part)]
