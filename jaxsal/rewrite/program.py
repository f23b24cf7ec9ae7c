"""Reading a program: a function's jaxpr, its equations and the bodies inside them.

The differences between the versions of JAX in how a jaxpr is put together end here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import compress
from typing import Any, TypeVar

import jax
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, Var, primitives
from jax.tree_util import PyTreeDef

Atom = Var | Literal
"""An input of an equation."""

JaxValue = Any
"""What an atom holds while a program is evaluated: an array, traced or not, a number, a key."""

Values = list[JaxValue]
"""The inputs, or the outputs, of an equation."""

Aval = jax.core.AbstractValue
"""The type of a value: its shape and dtype."""

T = TypeVar("T")

CALLS = (primitives.jit_p, primitives.closed_call_p, primitives.call_p)
"""Calls without a meaning of their own: their body, in place, is the same program."""

CUSTOM_CALLS = frozenset({"custom_jvp_call", "custom_vjp_call"})
"""Names of the calls with a derivative of their own."""

_JAX = os.path.dirname(jax.__file__) + os.sep

CASTS = ("convert_element_type", "broadcast_in_dim", "pvary", "pcast")
"""Operations of a number that make it a constant of another type, shape or placement."""

BODIES: dict[Primitive, tuple[str, ...]] = {
    primitives.jit_p: ("jaxpr",),
    primitives.closed_call_p: ("call_jaxpr",),
    primitives.call_p: ("call_jaxpr",),
    primitives.remat_p: ("jaxpr",),
    primitives.scan_p: ("jaxpr",),
    primitives.while_p: ("cond_jaxpr", "body_jaxpr"),
    primitives.cond_p: ("branches",),
}
"""Where a call holds the bodies that evaluation goes into."""


def trace(fun: Callable[..., Any], *args: Any) -> tuple[ClosedJaxpr, PyTreeDef]:
    """The program of `fun` at `args`, and the tree of its result.

    Values that `fun` closes over, traced ones too, are the program's constants.
    """
    closed, shape = jax.make_jaxpr(fun, return_shape=True)(*args)
    return closed, jax.tree.structure(shape)


def lifted(
    funs: Sequence[Callable[..., Values]], avals: Sequence[Aval]
) -> tuple[list[ClosedJaxpr], Values]:
    """The programs of functions that close over nothing, and what they closed over.

    Args:
        funs: functions of flat arrays. What they close over may be traced.
        avals: the types of their arguments, the same for all.

    Returns:
        `(programs, constants)`: every program takes all the constants, then the arguments.
    """
    closed = [trace(fun, *avals)[0] for fun in funs]
    constants = [constant for each in closed for constant in each.consts]
    if not constants:
        return closed, []
    programs, count = [], 0
    for each in closed:

        def program(*xs: JaxValue, each: ClosedJaxpr = each, count: int = count) -> Values:
            mine = xs[count : count + len(each.consts)]
            jaxpr = open_jaxpr(each)
            known = dict(zip(jaxpr.constvars, mine, strict=True))
            known.update(zip(jaxpr.invars, xs[len(constants) :], strict=True))
            play(jaxpr.eqns, known)
            return [read(out, known) for out in jaxpr.outvars]

        programs.append(jax.make_jaxpr(program)(*constants, *avals))
        count += len(each.consts)
    return programs, constants


def bind(eqn: JaxprEqn, values: Sequence[JaxValue], **params: Any) -> Values:
    """What an equation computes from `values`, with `params` in the place of its own."""
    out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params({**eqn.params, **params}))
    return list(out) if eqn.primitive.multiple_results else [out]


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """All equations that rules are asked about, bodies after the calls that hold them."""
    for eqn in jaxpr.eqns:
        yield eqn
        for body in bodies(eqn):
            yield from equations(open_jaxpr(body))


def bodies(eqn: JaxprEqn) -> list[Jaxpr | ClosedJaxpr]:
    """The bodies that evaluation goes into: those of `BODIES`."""
    names = BODIES.get(eqn.primitive, ())
    found = [eqn.params[name] for name in names]
    return [body for each in found for body in (each if isinstance(each, tuple) else (each,))]


def open_jaxpr(body: Jaxpr | ClosedJaxpr) -> Jaxpr:
    """A body's equations and variables, however this version of JAX wraps them."""
    return getattr(body, "jaxpr", body)


def call_name(eqn: JaxprEqn) -> str:
    """The name of the function that an equation calls; empty where it is no call."""
    if eqn.primitive.name not in CUSTOM_CALLS and eqn.primitive.name != "jit":
        return ""
    body = open_jaxpr(eqn.params["call_jaxpr" if "call_jaxpr" in eqn.params else "jaxpr"])
    return str(eqn.params.get("name") or body.debug_info.func_name)


def scan_parts(eqn: JaxprEqn, values: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
    """Splits the inputs of a `scan` (or anything as long) into constants, carries and sequences."""
    if "ft_in" in eqn.params:
        constants, carries, sequences = eqn.params["ft_in"].update(list(values)).unpack()
        return list(constants), list(carries), list(sequences)
    first, second = eqn.params["num_consts"], eqn.params["num_consts"] + eqn.params["num_carry"]
    return list(values[:first]), list(values[first:second]), list(values[second:])


def while_parts(eqn: JaxprEqn, values: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
    """Splits the inputs of a `while` into its condition's constants, its body's, and carries."""
    first = eqn.params["cond_nconsts"]
    second = first + eqn.params["body_nconsts"]
    return list(values[:first]), list(values[first:second]), list(values[second:])


def is_zero(atom: Atom, producer: Callable[[Var], JaxprEqn | None]) -> bool:
    """Whether an atom is the number 0, or an array of zeros made from it.

    Args:
        producer: from a variable to the equation that computes it, where it is known.
    """
    if isinstance(atom, Literal):
        return not np.any(atom.val)
    made = producer(atom)
    return made is not None and made.primitive.name in CASTS and is_zero(made.invars[0], producer)


def scope(eqn: JaxprEqn, site: JaxprEqn | None = None) -> AbstractContextManager[None]:
    """A context in which an equation's named scopes and source line are the current ones.

    The line is that of `site` if there is one.
    """
    stack = source_info_util.current_name_stack() + eqn.source_info.name_stack
    return source_info_util.user_context((site or eqn).source_info.traceback, name_stack=stack)


def is_of_jax(call: JaxprEqn) -> bool:
    """Whether a `jit` call is of a function of JAX's own.

    JAX traces `jnp.where` once for all that call it with the same shapes, and the equations in it
    stand in the line of the first of them.
    """
    body = call.params.get("jaxpr")
    info = None if body is None else open_jaxpr(body).debug_info
    return info is not None and str(info.func_filename).startswith(_JAX)


def play(eqns: Iterable[JaxprEqn], known: dict[Var, JaxValue]) -> None:
    """Evaluates equations in order, adding their results to what is known."""
    for eqn in eqns:
        with scope(eqn), eqn.ctx.manager:
            outs = bind(eqn, [read(atom, known) for atom in eqn.invars])
        known.update(zip(eqn.outvars, outs, strict=True))


def live_equations(jaxpr: Jaxpr) -> list[JaxprEqn]:
    """The equations that the outputs depend on, and those with effects, in order.

    An equation with a body needs all its inputs, those that the body makes nothing of too.
    """
    needed, live = set(variables(jaxpr.outvars)), []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or not needed.isdisjoint(eqn.outvars):
            needed.update(variables(eqn.invars))
            live.append(eqn)
    return live[::-1]


def depending(
    eqns: Iterable[JaxprEqn], start: Iterable[Var]
) -> tuple[list[JaxprEqn], list[JaxprEqn]]:
    """The equations that do not depend on any of the variables in `start`, and those that do."""
    found = set(start)
    parts: tuple[list[JaxprEqn], list[JaxprEqn]] = [], []
    for eqn in eqns:
        depends = any(isinstance(atom, Var) and atom in found for atom in eqn.invars)
        found.update(eqn.outvars if depends else ())
        parts[depends].append(eqn)
    return parts


def outputs_depending(jaxpr: Jaxpr, start: Iterable[Var]) -> list[bool]:
    """Of each output whether it depends on any of the variables in `start`.

    Calls are entered, each for itself. Of a loop, a branch or a call with a derivative of its own
    every result depends on all that it is given.
    """
    found = set(start)

    def depend(atoms: Sequence[Atom]) -> list[bool]:
        return [isinstance(atom, Var) and atom in found for atom in atoms]

    for eqn in jaxpr.eqns:
        if not any(given := depend(eqn.invars)):
            continue
        results = [True] * len(eqn.outvars)
        if eqn.primitive in CALLS:
            (body,) = map(open_jaxpr, bodies(eqn))
            results = outputs_depending(body, compress(body.invars, given))
        found.update(compress(eqn.outvars, results))
    return depend(jaxpr.outvars)


def variables(atoms: Iterable[Atom]) -> list[Var]:
    """The atoms that are no literals."""
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def shape_of(atom: Atom) -> tuple[int, ...]:
    """The shape of an atom; empty for what has none."""
    return tuple(getattr(atom.aval, "shape", ()))


def dtype_of(atom: Atom) -> np.dtype:
    """The dtype of an atom that holds an array."""
    return np.dtype(getattr(atom.aval, "dtype"))  # noqa: B009 - not every type has one


def explicitly_sharded(aval: Aval) -> bool:
    """Whether a type says how its arrays are sharded, as it does on a mesh with explicit axes."""
    sharding = getattr(aval, "sharding", None)
    return sharding is not None and jax.sharding.AxisType.Explicit in sharding.mesh.axis_types


def fits(body: Jaxpr | ClosedJaxpr, eqn: JaxprEqn) -> bool:
    """Whether a body takes an equation's operands and gives its results, as a call's does."""
    jaxpr = open_jaxpr(body)
    pairs = ((jaxpr.invars, eqn.invars), (jaxpr.outvars, eqn.outvars))
    return all([*map(shape_of, a)] == [*map(shape_of, b)] for a, b in pairs)


def read(atom: Atom, known: Mapping[Var, T]) -> T:
    """The value of a literal, or what is known of a variable."""
    return atom.val if isinstance(atom, Literal) else known[atom]
