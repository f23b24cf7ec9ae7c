"""Evaluate a program (a jaxpr) under a table of rules: the one mechanism of all rewrites.

A rule replaces one equation. It is called as `rule(eqn, values, frame)`: the equation, the values
of its inputs, and the `Frame` in which its neighbours can be looked up. It returns the list of the
equation's outputs, or `None` to decline. Where there is no rule, or it declines, the equation does
what it did before, with its named scope and its source line.

Calls are followed inward: `jit`, and what is put off to the lowering
(`jaxsal.rewrite.at_lowering`), are evaluated in place; `remat`, `scan`, `while` and `cond` are
built anew around their evaluated bodies, if there is anything in these for a rule to see. They are
bound with all their parameters: those of a batched `while`, or of a `cond` that chooses by
platform, are not options of the public functions.
`custom_jvp` and `custom_vjp` calls are not opened: they are bound again with their own derivative,
because that of their body is another one (at 0, that of `relu` is 0 and that of `max(x, 0)` 1/2).

Evaluation is ordinary JAX code, so it composes with every transformation and with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, Var, primitives

from jaxsal.rewrite.at_lowering import BY_PLATFORM, under
from jaxsal.rewrite.program import (
    CALLS,
    Atom,
    JaxValue,
    Values,
    bind,
    bodies,
    equations,
    is_of_jax,
    lifted,
    open_jaxpr,
    scan_parts,
    scope,
    trace,
    while_parts,
)

T = TypeVar("T")

Rule = Callable[[JaxprEqn, Values, "Frame"], "Sequence[JaxValue] | None"]
Rules = Mapping[Primitive | str, Rule]
"""From a primitive, or its name, to its rule."""


@dataclass(frozen=True)
class Frame:
    """One body under evaluation: its equations, and the values known so far.

    Attributes:
        jaxpr: the body; its `eqns` and `outvars` are this frame's.
        values: the value of every variable evaluated so far.
        outer: the frame of the call that this is the body of; `None` for the outermost.
        call: that call.
        kept: what a rule leaves for the others in this body.
        site: the call that its equations stand in the line of, where they have no line of their
            own.
    """

    jaxpr: Jaxpr
    values: dict[Var, JaxValue] = field(repr=False)
    outer: Frame | None = field(default=None, repr=False)
    call: JaxprEqn | None = None
    kept: dict[Hashable, JaxValue] = field(default_factory=dict, repr=False)

    @property
    def site(self) -> JaxprEqn | None:
        if self.call is None or not is_of_jax(self.call):
            return None
        return (self.outer and self.outer.site) or self.call

    def read(self, atom: Atom) -> JaxValue:
        """The value of an atom whose equation has been evaluated."""
        return atom.val if isinstance(atom, Literal) else self.values[atom]

    def producer(self, atom: Atom) -> JaxprEqn | None:
        """The equation of this body that computes `atom`; `None` for its inputs and literals."""
        return None if isinstance(atom, Literal) else self._producers.get(atom)

    @cached_property
    def differentiated(self) -> bool:
        """Whether anything in the whole program comes of differentiation, as name stacks tell."""
        if self.outer is not None:
            return self.outer.differentiated
        return any("jvp(" in str(eqn.source_info.name_stack) for eqn in equations(self.jaxpr))

    @cached_property
    def _producers(self) -> dict[Var, JaxprEqn]:
        return {var: eqn for eqn in self.jaxpr.eqns for var in eqn.outvars}


def rewritten(fun: Callable[..., T], rules: Rules) -> Callable[..., T]:
    """`fun` with every equation that has a rule in `rules` evaluated by it.

    Args:
        fun: a function of pytrees of arrays. What it closes over may be traced.
        rules: see the module's docstring.
    """

    def rewritten_fun(*args: Any) -> T:
        closed, tree = trace(fun, *args)
        return jax.tree.unflatten(tree, evaluate(closed, rules, *jax.tree.leaves(args)))

    return rewritten_fun


def inline(
    closed: ClosedJaxpr, keep: Callable[[JaxprEqn], bool] = lambda eqn: False
) -> ClosedJaxpr:
    """The same program with no `jit` calls in it, so that neighbours lie in one body.

    Args:
        closed: a program.
        keep: which calls to leave as they are.
    """

    def stay(eqn: JaxprEqn, values: Values, frame: Frame) -> Values | None:
        del frame
        return bind(eqn, values) if keep(eqn) else None

    if not any(eqn.primitive in CALLS for eqn in equations(closed.jaxpr)):
        return closed
    inlined = jax.make_jaxpr(lambda *xs: evaluate(closed, {p: stay for p in CALLS}, *xs))
    return inlined(*closed.in_avals)


def evaluate(closed: Jaxpr | ClosedJaxpr, rules: Rules, *args: JaxValue) -> Values:
    """The outputs of a program under `rules`.

    Args:
        closed: a program, as `trace` or `jax.make_jaxpr` makes it.
        rules: see the module's docstring.
        *args: its inputs, flat.

    Returns:
        Its outputs, flat.
    """
    return _run(closed, _by_name(rules), args)


_Step = Callable[[JaxprEqn, Values, Mapping[str, Rule], Frame], Values]


def _by_name(rules: Rules) -> dict[str, Rule]:
    return {key if isinstance(key, str) else key.name: rule for key, rule in rules.items()}


def _run(
    body: Jaxpr | ClosedJaxpr,
    rules: Mapping[str, Rule],
    args: Sequence[JaxValue],
    outer: Frame | None = None,
    call: JaxprEqn | None = None,
) -> Values:
    jaxpr = open_jaxpr(body)
    frame = Frame(jaxpr, {}, outer, call)
    frame.values.update(zip(jaxpr.constvars, getattr(body, "consts", ()), strict=True))
    frame.values.update(zip(jaxpr.invars, args, strict=True))
    site = frame.site
    for eqn in jaxpr.eqns:
        with scope(eqn, site), eqn.ctx.manager:
            outs = _step(eqn, [frame.read(v) for v in eqn.invars], rules, frame)
        frame.values.update(zip(eqn.outvars, outs, strict=True))
    return [frame.read(v) for v in jaxpr.outvars]


def _step(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    rule = rules.get(eqn.primitive.name)
    outs = rule(eqn, values, frame) if rule else None
    if outs is not None:
        return list(outs)
    follow = _FOLLOW.get(eqn.primitive)
    return follow(eqn, values, rules, frame) if follow and _seen(eqn, rules) else bind(eqn, values)


def _seen(eqn: JaxprEqn, rules: Mapping[str, Rule]) -> bool:
    """Whether a call holds anything that is evaluated in another way than it stands."""
    return eqn.primitive in CALLS or any(
        inner.primitive.name in rules or inner.primitive in CALLS
        for body in bodies(eqn)
        for inner in equations(open_jaxpr(body))
    )


def _constrained(values: Sequence[JaxValue], shardings: Sequence[object]) -> Values:
    pairs = zip(values, shardings, strict=True)
    return [
        jax.lax.with_sharding_constraint(v, s) if isinstance(s, jax.sharding.Sharding) else v
        for v, s in pairs
    ]


def _jit(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    values = _constrained(values, eqn.params["in_shardings"])
    outs = _run(eqn.params["jaxpr"], rules, values, frame, eqn)
    return _constrained(outs, eqn.params["out_shardings"])


def _call(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    return _run(eqn.params["call_jaxpr"], rules, values, frame, eqn)


def _put_off(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    def run(*xs: JaxValue) -> Values:
        return _run(eqn.params["closed"], rules, xs, frame, eqn)

    return under(eqn.params["axes"], run)(*values)


def _remat(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    def run(*xs: JaxValue) -> Values:
        return _run(eqn.params["jaxpr"], rules, xs, frame, eqn)

    (body,), constants = lifted([run], [v.aval for v in open_jaxpr(eqn.params["jaxpr"]).invars])
    apart = eqn.params["prevent_cse"]
    if isinstance(apart, tuple):
        apart = (False,) * len(constants) + apart
    return bind(eqn, [*constants, *values], jaxpr=open_jaxpr(body), prevent_cse=apart)


def _scan(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    constants, init, sequences = scan_parts(eqn, values)

    def body(carry: Values, xs: Values) -> tuple[Values, Values]:
        outs = _run(eqn.params["jaxpr"], rules, [*constants, *carry, *xs], frame, eqn)
        return outs[: len(init)], outs[len(init) :]

    options = {name: eqn.params[name] for name in ("length", "reverse", "unroll")}
    carry, ys = jax.lax.scan(body, init, sequences, **options)
    return [*carry, *ys]


def _while(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    condition, loop, init = while_parts(eqn, values)
    closed_over = {"cond": condition, "body": loop}
    again: dict[str, Any] = {}
    operands: Values = []
    for name, constants in closed_over.items():
        body = eqn.params[f"{name}_jaxpr"]

        def run(
            *carry: JaxValue, body: ClosedJaxpr = body, constants: Values = constants
        ) -> Values:
            return _run(body, rules, [*constants, *carry], frame, eqn)

        avals = [v.aval for v in open_jaxpr(body).invars[len(constants) :]]
        (again[f"{name}_jaxpr"],), found = lifted([run], avals)
        again[f"{name}_nconsts"] = len(found)
        operands += found
    return bind(eqn, [*operands, *init], **again)


def _cond(eqn: JaxprEqn, values: Values, rules: Mapping[str, Rule], frame: Frame) -> Values:
    branches = [
        lambda *xs, body=body: _run(body, rules, xs, frame, eqn) for body in eqn.params["branches"]
    ]
    avals = [v.aval for v in open_jaxpr(eqn.params["branches"][0]).invars]
    again, constants = lifted(branches, avals)
    return bind(eqn, [values[0], *constants, *values[1:]], branches=tuple(again))


_FOLLOW: dict[Primitive, _Step] = {
    primitives.jit_p: _jit,
    primitives.closed_call_p: _call,
    primitives.call_p: _call,
    BY_PLATFORM: _put_off,
    primitives.remat_p: _remat,
    primitives.scan_p: _scan,
    primitives.while_p: _while,
    primitives.cond_p: _cond,
}
