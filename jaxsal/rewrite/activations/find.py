"""Finds the ReLUs of a program, what looks like one, and other activations with a kink.

Every body of the program is read by itself. Calls with a derivative of their own are read as
functions; other bodies that evaluation does not enter (`shard_map`) are reported if they hold any.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var, jaxprs_in_params

from jaxsal.rewrite.activations.functions import NAMED
from jaxsal.rewrite.activations.kinks import find_kinks, is_maximum_with_constant
from jaxsal.rewrite.activations.relus import Activations, Ramp
from jaxsal.rewrite.dataflow import Dataflow, is_floating
from jaxsal.rewrite.notes import Note
from jaxsal.rewrite.program import CUSTOM_CALLS, bodies, call_name, open_jaxpr

KEPT = "it keeps its own derivative"
"""Why an activation is left alone that does not look like a ReLU."""

_OWN = "the call has a derivative of its own"
_WORDS = {"select_n": "where", "clamp": "clip"}
_PLAIN = ("max", "clip")
"""Operations that a note names as they are: that they can be a ReLU is plain."""


class Relu(NamedTuple):
    """A ReLU: what it is a function of, the equations from there, and which function it is."""

    operand: Var
    equations: list[JaxprEqn]
    ramp: Ramp


class Finding(NamedTuple):
    """A ReLU, what looks like one, or another activation with a kink.

    Attributes:
        eqn: the equation whose result it is.
        note: what it is, where it stands, and why it is left alone.
        relu: where it is a ReLU.
        other: whether a gradient goes through it that a ReLU's derivative would change.
    """

    eqn: JaxprEqn
    note: Note
    relu: Relu | None = None
    other: bool = False


def find_activations(closed: ClosedJaxpr) -> Iterator[Finding]:
    """Every ReLU of a program, everything that looks like one, and other kinks, in order."""
    return _find(closed.jaxpr, Dataflow(closed))


def _find(jaxpr: Jaxpr, flow: Dataflow) -> Iterator[Finding]:
    body = Activations(jaxpr, flow)
    kinks = find_kinks(body, frozenset(flow.closed.jaxpr.invars))
    for eqn in jaxpr.eqns:
        var = eqn.outvars[0] if eqn.outvars else None
        if var not in body.functions:
            found = _unread(eqn, flow)
        elif not body.is_relu(body.whole.get(var)):
            found = _activation(eqn, body, var in kinks)
        else:
            found = None
        if found is not None:
            yield found
        if found is None or found.relu is None:
            for inner in bodies(eqn):
                yield from _find(open_jaxpr(inner), flow)


def _activation(eqn: JaxprEqn, body: Activations, other: bool) -> Finding | None:
    """What a function of one value is, if it is anything."""
    (var,), word = eqn.outvars, _word(eqn)
    if body.is_relu(var):
        operand = body.graph.above(var)
        assert operand is not None
        what = word if word in _PLAIN or call_name(eqn) else f"relu by {word}"
        relu = Relu(operand, body.graph.between(var), body.ramps[var])
        return Finding(eqn, Note("backward", in_words(eqn, what), True), relu)
    why = body.why.get(var)
    if why is None and eqn.primitive.name in CUSTOM_CALLS and any(map(_is_alike, _inside(eqn))):
        word, why = f"a ReLU inside {word}", _OWN
    if why is None and other:
        why = KEPT
    return None if why is None else _left(eqn, word, why, other)


def _unread(eqn: JaxprEqn, flow: Dataflow) -> Finding | None:
    """What a call is that is no function of one value, or that is not gone into."""
    if not any(is_floating(v) and flow.depends(v) and v in flow.live for v in eqn.outvars):
        return None
    active = any(out in flow.active for out in eqn.outvars)
    if active and is_maximum_with_constant(eqn, flow):
        return _left(eqn, _word(eqn), KEPT, True)
    if call_name(eqn) in NAMED:
        return _left(eqn, call_name(eqn), "it is not a function of one array", active)
    opaque = eqn.primitive.name in CUSTOM_CALLS
    inside = [] if bodies(eqn) else list(_inside(eqn))
    inside = list(filter(_is_alike, inside)) if opaque else inside
    if not inside:
        return None
    other = active and any(each.relu or each.other for each in inside)
    what = "a ReLU" if any(map(_is_alike, inside)) else "an activation"
    why = _OWN if opaque else "its body is not gone into"
    return _left(eqn, f"{what} inside {_word(eqn)}", why, other)


def _inside(eqn: JaxprEqn) -> Iterator[Finding]:
    """What the bodies of a call hold that are not gone into."""
    for body in jaxprs_in_params(eqn.params):
        open_body = body.replace(invars=[*body.constvars, *body.invars], constvars=[])
        yield from find_activations(ClosedJaxpr(open_body, ()))


def _is_alike(finding: Finding) -> bool:
    """Whether a finding is a ReLU, or looks like one."""
    return finding.note.why != KEPT


def _left(eqn: JaxprEqn, word: str, why: str, other: bool) -> Finding:
    words = in_words(eqn, word) + (_line(eqn) if other else "")
    return Finding(eqn, Note("backward", words, False, why), other=other)


def _word(eqn: JaxprEqn) -> str:
    return call_name(eqn) or _WORDS.get(eqn.primitive.name, eqn.primitive.name)


def in_words(eqn: JaxprEqn, word: str) -> str:
    stack = str(eqn.source_info.name_stack)
    shape = eqn.outvars[0].aval.str_short(short_dtypes=True)
    return f"{word} {shape}" + (f" in {stack}" if stack else "")


def _line(eqn: JaxprEqn) -> str:
    """The user's line that an equation is of, where it is known."""
    path, *place = source_info_util.summarize(eqn.source_info).split(":")
    return f" at {os.path.basename(path)}:{place[0]}" if place else ""
