"""What the values of a program are called: by tags, named scopes, numbers and parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, JaxprEqn, Var, jaxprs_in_params

from jaxsal.rewrite.dataflow import Dataflow, is_real
from jaxsal.rewrite.program import Atom, bodies, variables

CONV = "conv_general_dilated"
_SHOWN = 40
_LETTERS = 600
"""An error lists the last names of each kind, at most so many of them and so many letters."""


class LayerCandidate(NamedTuple):
    """A place where a program may be cut.

    Attributes:
        path: the named scopes around it, or the path of its parameter.
        var: its value; `None` where it is out of reach, inside the call `inside`.
        shape: its value's type, in words.
        inside: the name of the operation whose body hides it.
        visit: which stay in its scope it is of, where a program enters one more than once.
    """

    path: tuple[str, ...]
    var: Var | None
    shape: str
    inside: str = ""
    visit: int = 0


Parameters = Mapping[tuple[str, ...], Any]
"""The model's parameters as the score reads them, by their paths."""


class Names:
    """What the values of a flat program of one image are called.

    Attributes:
        flat: the program, one straight list of equations.
        flow: its data flow.
        parameters: those of its constants that are parameters, by their paths.
    """

    def __init__(self, flat: ClosedJaxpr, parameters: Parameters):
        self.flat, self.flow, self._parameters = flat, Dataflow(flat), parameters

    def convolutions(self) -> Iterator[LayerCandidate]:
        """Those that carry the image to the score, in the order of execution."""
        for eqn, out in self._values():
            if eqn.primitive.name == CONV:
                yield LayerCandidate(scopes(eqn), out, type_of(out))
            for inner in within(eqn):
                if inner.primitive.name == CONV:
                    path = scopes(eqn) + scopes(inner)
                    yield LayerCandidate(path, None, type_of(inner.outvars[0]), eqn.primitive.name)

    def tags(self) -> Iterator[LayerCandidate]:
        """Values tagged with `checkpoint_name`."""
        for eqn, out in self._values():
            if tag(eqn):
                yield LayerCandidate((*scopes(eqn), tag(eqn)), out, type_of(out))
            for inner in within(eqn):
                if tag(inner):
                    path = (*scopes(eqn), *scopes(inner), tag(inner))
                    yield LayerCandidate(path, None, type_of(inner.outvars[0]), eqn.primitive.name)

    def scopes(self) -> Iterator[LayerCandidate]:
        """Every stay in a named scope with its last value, in the order in which they close."""
        found: dict[tuple[tuple[str, ...], int], LayerCandidate] = {}
        visits: Counter[tuple[str, ...]] = Counter()
        here: set[tuple[str, ...]] = set()
        for eqn, out in self._values():
            path = scopes(eqn)
            inside = {path[:n] for n in range(1, len(path) + 1)}
            visits.update(inside - here)
            here = inside
            for inner in within(eqn):
                for n in range(1, len(scopes(inner)) + 1):
                    deep = path + scopes(inner)[:n]
                    hidden = LayerCandidate(
                        deep, None, type_of(inner.outvars[0]), eqn.primitive.name
                    )
                    found.setdefault((deep, 0), hidden)
            for n in range(1, len(path) + 1):
                key = path[:n], visits[path[:n]]
                found.pop(key, None)
                found[key] = LayerCandidate(path[:n], out, type_of(out), visit=key[1])
        yield from found.values()

    def by_parameter(self) -> Iterator[LayerCandidate]:
        """Where each parameter first meets the image, in the order of execution.

        A parameter may be cast, sliced and normed on the way there.
        """
        made: dict[Var, frozenset[tuple[str, ...]]] = self._leaves()
        for eqn in self.flat.jaxpr.eqns:
            read = frozenset().union(*(made.get(v, ()) for v in variables(eqn.invars)))
            if not any(self.flow.depends(v) for v in eqn.invars):
                made.update(dict.fromkeys(eqn.outvars, read))
                continue
            outs = [v for v in eqn.outvars if v in self.flow.live and is_real(v)]
            for path in sorted(read) if outs else ():
                hidden = eqn.primitive.name if bodies(eqn) else ""
                var = None if hidden else outs[-1]
                yield LayerCandidate(path, var, type_of(outs[-1]), hidden)

    def describe(self, var: Var) -> str:
        """A value's type, the operation that computes it, and where it stands."""
        readers = {each.var: "/".join(each.path) for each in self.by_parameter()}
        where = ""
        for eqn in self.flat.jaxpr.eqns:
            where = next((f" after {readers[v]}" for v in eqn.outvars if v in readers), where)
            if var in eqn.outvars:
                scope = "/".join(scopes(eqn))
                return f"{type_of(var)} by {_operation(eqn)}" + (f" in {scope}" if scope else where)
        return type_of(var)

    def listing(self) -> str:
        """The last names of each kind, for an error message."""
        readers: dict[Var | None, str] = {}
        for each in self.by_parameter():
            readers.setdefault(each.var, "/".join(each.path))
        convolutions = [
            f"{i}: {each.shape} in {'/'.join(each.path) or readers.get(each.var) or 'no scope'}"
            for i, each in enumerate(self.convolutions())
        ]
        lists = {"convolutions": convolutions}
        kinds = {"tags": self.tags, "scopes": self.scopes, "parameters": self.by_parameter}
        for kind, layers in kinds.items():
            found = dict.fromkeys(f"{'/'.join(each.path)}: {each.shape}" for each in layers())
            lists[kind] = list(found)
        return "there are " + "; ".join(
            f"{kind}: {_last(names) or 'none'}" for kind, names in lists.items()
        )

    def _values(self) -> Iterator[tuple[JaxprEqn, Var]]:
        """The equations that carry the image to the score, with their last floating result."""
        for eqn in self.flat.jaxpr.eqns:
            outs = [
                v
                for v in eqn.outvars
                if v in self.flow.live and v in self.flow.dependent and is_real(v)
            ]
            if outs:
                yield eqn, outs[-1]

    def _leaves(self) -> dict[Var, frozenset[tuple[str, ...]]]:
        paths = {id(leaf): path for path, leaf in self._parameters.items()}
        pairs = zip(self.flat.jaxpr.constvars, self.flat.consts, strict=True)
        return {var: frozenset([paths[id(value)]]) for var, value in pairs if id(value) in paths}


def on_all_paths(
    eqns: Sequence[JaxprEqn], start: Var, ends: Iterable[Atom], counts: frozenset[Var]
) -> Iterator[tuple[JaxprEqn, Var | None]]:
    """The equations that `start` bears on, each with its value if all paths from there pass it.

    A value computed by equation i is passed by all paths if nothing that was reached before is read
    after i.

    Args:
        eqns: those of a flat program that lie on paths. ends: the atoms that paths lead to.
        counts: the variables that lie on paths.
    """
    last = {v: i for i, eqn in enumerate(eqns) for v in variables(eqn.invars)}
    last.update((v, len(eqns)) for v in variables(ends))
    reached, needed = {start}, last.get(start, 0)
    for i, eqn in enumerate(eqns):
        if reached.isdisjoint(variables(eqn.invars)):
            continue
        outs = [v for v in eqn.outvars if v in counts]
        yield eqn, outs[0] if len(outs) == 1 and needed <= i else None
        reached.update(outs)
        needed = max([needed, *(last.get(v, 0) for v in outs)])


def scopes(eqn: JaxprEqn) -> tuple[str, ...]:
    """The named scopes around an equation, without the names of transformations."""
    stack = eqn.source_info.name_stack.stack
    names = [part.name for part in stack if type(part).__name__ != "Transform"]
    return tuple(name for part in names for name in part.split("/"))


def tag(eqn: JaxprEqn) -> str:
    """What an equation's value is tagged with; empty if with nothing."""
    return str(eqn.params["name"]) if eqn.primitive.name == "name" else ""


def within(eqn: JaxprEqn) -> Iterator[JaxprEqn]:
    """All equations in the bodies of an equation."""
    for body in jaxprs_in_params(eqn.params):
        for inner in body.eqns:
            yield inner
            yield from within(inner)


def without_turns(path: tuple[str, ...]) -> tuple[str, ...]:
    """A path without the `[i]` of unrolled loops."""
    return tuple(name for name in path if not (name.startswith("[") and name.endswith("]")))


def _operation(eqn: JaxprEqn) -> str:
    """An equation's operation; of one with a derivative of its own, the function's name."""
    if eqn.primitive.name.startswith("custom_"):
        return next(str(body.debug_info.func_name) for body in jaxprs_in_params(eqn.params))
    return eqn.primitive.name


def type_of(var: Atom) -> str:
    """A variable's type in words."""
    return str(var.aval.str_short(short_dtypes=True))


def _last(names: list[str]) -> str:
    """The last names of a list, as many as may be shown, in their order."""
    shown: list[str] = []
    for name in reversed(names[-_SHOWN:]):
        if shown and sum(map(len, shown)) + len(name) > _LETTERS:
            break
        shown.insert(0, name)
    more = len(names) - len(shown)
    return ", ".join([*([f"{more} before and"] if more else []), *shown]).replace("and, ", "and ")
