"""The order in which a program first computes something from each parameter and the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jax.extend.core import Jaxpr, Literal, Var

from jaxsal.rewrite.dataflow import links
from jaxsal.rewrite.program import Atom, bodies, open_jaxpr


class _Source(NamedTuple):
    """What a value is made of: leaves that have not met the image yet, and whether of the image."""

    leaves: frozenset[int] = frozenset()
    image: bool = False


def order_of_use(jaxpr: Jaxpr, leaves: Mapping[Var, int], image: Var) -> list[int]:
    """The leaves that meet the image, in the order in which they first do.

    A leaf may be cast, sliced and normed before.

    Args:
        jaxpr: a program.
        leaves: its inputs that are parameters, by number.
        image: its input that is the image.
    """
    known = {var: _Source(frozenset([leaf])) for var, leaf in leaves.items()}
    return list(dict.fromkeys(_meetings(jaxpr, known | {image: _Source(image=True)})))


def _meetings(jaxpr: Jaxpr, known: dict[Var, _Source]) -> Iterator[int]:
    """The leaves in the order in which they meet the image, some more than once.

    `known` is about the program's inputs, and gains all of its variables.
    """
    for eqn in jaxpr.eqns:
        inner = [open_jaxpr(body) for body in bodies(eqn)]
        if inner:
            pairs = list(links(eqn))
            for body in inner:
                known.update(_across(pairs, eqn.invars, body.invars, known))
                yield from _meetings(body, known)
            results = [var for body in inner for var in body.outvars]
            known.update(_across(pairs, results, eqn.outvars, known))
            continue
        inputs = [_of(atom, known) for atom in eqn.invars]
        leaves = frozenset().union(*(each.leaves for each in inputs))
        image = any(each.image for each in inputs)
        if image:
            yield from (leaf for each in inputs for leaf in sorted(each.leaves))
        result = _Source(frozenset() if image else leaves, image)
        known.update(dict.fromkeys(eqn.outvars, result))


def _across(
    pairs: Sequence[tuple[Atom, Var]],
    sources: Sequence[Atom],
    targets: Sequence[Var],
    known: dict[Var, _Source],
) -> dict[Var, _Source]:
    """What is known on the other side of a body's border; a body may be visited more than once."""
    found = dict.fromkeys(targets, _Source())
    near = {id(atom) for atom in sources}
    for source, target in pairs:
        if id(source) in near and target in found:
            old, new = found[target], _of(source, known)
            found[target] = _Source(old.leaves | new.leaves, old.image or new.image)
    return found


def _of(atom: Atom, known: dict[Var, _Source]) -> _Source:
    return _Source() if isinstance(atom, Literal) else known.get(atom, _Source())
