"""Notes for `describe`: what incremental occlusion saves, and where it computes whole arrays."""

from collections.abc import Mapping
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from jaxsal.rewrite.activations.find import in_words
from jaxsal.rewrite.cost import flops, flops_of
from jaxsal.rewrite.notes import Note, note
from jaxsal.rewrite.occlusion.blocks import BlockUpdate, Operand

MIN_SHARE = 0.005
"""The smallest share of a score's cost that a note is made of."""


class Savings:
    """The cost of one replaced window, added up operation by operation.

    Costs are FLOPs of convolutions and products, those of a block in proportion to its size; in a
    score without any, the number of values. What is computed of the whole is put down to the
    operations behind which a changed block became a changed array.
    """

    def __init__(self, jaxpr: Jaxpr, changed: Mapping[Var, Operand]) -> None:
        self._flops = flops(jaxpr) > 0
        self._total = sum(map(self._cost, jaxpr.eqns))
        self._spent = 0.0
        stop = Note("occlusion", "the image", False, "a window is more than half of it")
        whole = [var for var, value in changed.items() if not isinstance(value, BlockUpdate)]
        self._stops: dict[Var, tuple[Note, ...]] = dict.fromkeys(whole, (stop,))
        self._after: dict[Note, float] = {}

    def step(self, eqn: JaxprEqn, share: float, why: str) -> None:
        """An operation that depends on the window.

        Args:
            eqn: the operation.
            share: what part of its result was computed.
            why: why its result is a whole array; empty where it is a block.
        """
        cost = self._cost(eqn) * share
        self._spent += cost
        if not why:
            return
        before = [v for v in eqn.invars if not isinstance(v, Literal)]
        stops = tuple(dict.fromkeys(s for v in before for s in self._stops.get(v, ())))
        stops = stops or (Note("occlusion", in_words(eqn, eqn.primitive.name), False, why),)
        self._stops.update(dict.fromkeys(eqn.outvars, stops))
        for stop in stops:
            self._after[stop] = self._after.get(stop, 0.0) + cost

    @property
    def share(self) -> float:
        """A window's cost as a share of the score's; 0 of a score without any."""
        return self._spent / self._total if self._total else 0.0

    def report(self, most: float) -> None:
        """Notes it, or that it is more than `most` and the whole is computed."""
        if not self._total:
            return
        unit, share = "FLOPs" if self._flops else "values", self.share
        if share > most:
            why = f"a window costs {share:.0%} of its {unit}; at most {most:.0%} pays"
            return note(Note("occlusion", "the score", False, why))
        if share < 1 - MIN_SHARE:
            note(
                Note("occlusion", f"a window costs {100 * share:.2g}% of the score's {unit}", True)
            )
        for stop, cost in self._after.items():
            if cost > MIN_SHARE * self._total:
                share = cost / self._total
                after = f"{stop.why}; {share:.0%} of the score's {unit} are of the whole from there"
                note(stop._replace(why=after))

    def _cost(self, eqn: JaxprEqn) -> float:
        if self._flops:
            return flops_of(eqn)
        results: list[Any] = [var.aval for var in eqn.outvars]
        return float(sum(each.size for each in results))
