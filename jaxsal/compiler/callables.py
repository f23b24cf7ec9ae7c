"""Callables taken apart: structure, which a program is compiled for, and arrays, which it is given.

Two explainers made with equal arguments share one compiled program because their structures are
equal; a baseline image is no constant of that program because it is one of the arrays.
"""

import dataclasses
import functools
import inspect
import types
from typing import Any

import jax
import numpy as np

from jaxsal.compiler.signatures import innermost


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where an array goes."""

    index: int


@dataclasses.dataclass(frozen=True, eq=False)
class Static:
    """A value of the structure, equal to one of the same type and value; else to itself."""

    value: Any

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            return id(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static) or type(self.value) is not type(other.value):
            return False
        return self.value is other.value or (_hashable(self.value) and self.value == other.value)


@dataclasses.dataclass(frozen=True)
class Table:
    """An array that a method wants concrete (a segmentation): structure, compared by contents."""

    shape: tuple[int, ...]
    dtype: str
    data: bytes

    @property
    def array(self) -> np.ndarray:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class Node:
    """A pytree, a partial or a combinator's result: what rebuilds it, and its parts."""

    rebuild: Any
    parts: tuple[Any, ...]


Structure = Slot | Table | Static | Node


def split(value: Any, concrete: tuple[str, ...] = ()) -> tuple[Structure, list[Any]]:
    """The structure of `value` and its arrays; `join` puts them together again.

    Goes into pytrees, `functools.partial` and combinators' results (frozen dataclasses with an
    `inner`). Functions and integer scalars stay in the structure, methods as a function and what it
    is bound to, so that `model.apply` of equal models is equal; arrays and keys are data, but for
    arrays under a name in `concrete`, or in the attribute `concrete` of the function that a partial
    binds: they must be known when the program is traced.
    """
    arrays: list[Any] = []

    def take(value: Any, concrete: tuple[str, ...] = ()) -> Structure:
        leaves, tree = jax.tree_util.tree_flatten_with_path(value)
        named = [any(getattr(key, "key", None) in concrete for key in path) for path, _ in leaves]
        return Node(
            tree, tuple(leaf(x, known) for (_, x), known in zip(leaves, named, strict=True))
        )

    def leaf(value: Any, known: bool) -> Structure:
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            return Node(_partial, (take(parts, concrete_options(value)),))
        if inspect.ismethod(value):
            return Node(types.MethodType, (Static(value.__func__), Static(value.__self__)))
        if _is_combined(value):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return Node(type(value), (take(fields),))
        if isinstance(value, np.generic) and value.dtype.kind in "fU":
            return Static(value.item())  # as Python's own: it is checked, and no array
        if not isinstance(value, np.ndarray | np.generic | jax.Array):
            return Static(value)
        here = not isinstance(value, jax.core.Tracer)
        if here and value.ndim == 0 and _countable(value.dtype):
            return Static(value.item())
        if here and known and isinstance(value.dtype, np.dtype):
            table = np.asarray(value)
            return Table(table.shape, table.dtype.str, table.tobytes())
        arrays.append(value)
        return Slot(len(arrays) - 1)

    return take(value, concrete), arrays


def _is_combined(value: Any) -> bool:
    """A combinator's result: a frozen dataclass with an `inner`, and nothing beside its fields."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return False
    fields = {field.name for field in dataclasses.fields(value)}
    frozen = type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]
    return frozen and "inner" in fields and set(getattr(value, "__dict__", ())) == fields


def concrete_options(function: Any) -> tuple[str, ...]:
    """The options that the innermost method says must be known when it is traced."""
    return tuple(getattr(innermost(function)[0], "concrete", ()))


def join(structure: Structure, arrays: list[Any]) -> Any:
    """The value that `split` took apart, with `arrays` in the place of its own."""
    if isinstance(structure, Slot):
        return arrays[structure.index]
    if isinstance(structure, Table):
        return structure.array
    if isinstance(structure, Static):
        return structure.value
    parts = [join(part, arrays) for part in structure.parts]
    if structure.rebuild is _partial:
        function, args, keywords = parts[0]
        return functools.partial(function, *args, **keywords)
    if structure.rebuild is types.MethodType:
        return types.MethodType(*parts)
    if isinstance(structure.rebuild, type):
        return _instance(structure.rebuild, parts[0])
    return jax.tree.unflatten(structure.rebuild, parts)


def _partial() -> None:
    """Marks a Node that holds the parts of a `functools.partial`."""


def _instance(cls: type, fields: dict[str, Any]) -> Any:
    """A dataclass of these fields, not checked a second time: some of them are traced now."""
    instance: Any = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
    return instance


def _countable(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "iub"


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
