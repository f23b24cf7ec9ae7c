"""The score of an image with one window replaced, by computing only what the window changes.

Every value of the unchanged image is computed once. For a replaced window a value is that one with
a changed block: an elementwise operation changes the same block, a convolution or a pool a slightly
larger one, a sum is that of the block and of what lies outside it. Where the block has grown to
most of the array, or an operation is not known, the whole array is computed.

References:
    Nakandala, Kumar & Papakonstantinou, "Incremental and Approximate Inference for Faster
    Occlusion-based Deep CNN Explanations", SIGMOD 2019
"""

from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax.extend.core import JaxprEqn, Literal, Var
from jaxtyping import Array

from jaxsal.rewrite.interpreter import inline
from jaxsal.rewrite.occlusion.block_rules import rule_of
from jaxsal.rewrite.occlusion.blocks import (
    BlockUpdate,
    Corner,
    Operand,
    Span,
    Spans,
    put,
    whole_array,
)
from jaxsal.rewrite.occlusion.canonicalize import canonicalize
from jaxsal.rewrite.occlusion.savings import Savings
from jaxsal.rewrite.program import JaxValue, bind, play, read, scope, trace
from jaxsal.types import Image, Scalar, ScoreFn

MAX_BLOCK_SHARE = 0.5
"""The largest share of an array for which a block is computed instead of the whole."""

MOST_COST = {"tpu": 0.25}
"""The largest share of a score's cost that is computed of a window instead of the whole, by the
score's `platform`; elsewhere any.

Predicted for a v5e and a v6e: a ResNet-50's windows (16 of 224 pixels, 51 % of the FLOPs) take 1.1
to 2.1 times as long as the whole of it: small blocks fill no lanes, and each is cut and put by
itself. Those of the study's CNN (9 % at 128x128, 3 % at 224x224) take 0.26 to 0.49 times.
"""

_MOST = "a window changes more than half of it"


def incremental_score(score: ScoreFn, image: Image) -> Callable[[Array, Corner], Scalar]:
    """The score as a function of a window's new values and its corner in the image.

    Args:
        score: `score(image) -> scalar`. Where `score.rewrite` is False, or a window costs more
            than `MOST_COST` of it on `score.platform`, the whole is computed.
        image: one image.

    Returns:
        `replaced(values, corner) -> scalar`: `score` of the image with `values` (of the image's
        rank) put in at `corner` (an index an axis, such that the window lies inside). Equal up to
        rounding.
    """
    if not getattr(score, "rewrite", True):
        return lambda values, corner: score(put(image, values, corner))
    closed = canonicalize(inline(trace(score, image)[0]))
    known = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    known |= dict(zip(closed.jaxpr.invars, [image], strict=True))
    play(closed.jaxpr.eqns, known)
    most = MOST_COST.get(getattr(score, "platform", ""), 1.0)
    reported: list[bool] = []

    def replaced(values: Array, corner: Corner) -> Scalar:
        if most < 1 and (saved := looked_at(values, corner)).share > most:
            result = score(put(image, values, corner))
        else:
            result, saved = changed_by(values, corner)
        if not reported:
            saved.report(most)
        reported.append(True)
        return result

    def looked_at(values: Array, corner: Corner) -> Savings:
        """What a window costs, by a trace that is no part of the program."""
        found: list[Savings] = []
        jax.eval_shape(lambda *given: found.append(changed_by(*given)[1]), values, corner)
        return found[0]

    def changed_by(values: Array, corner: Corner) -> tuple[Scalar, Savings]:
        spans = tuple(
            None if size == length else Span(np.arange(length - size + 1), size, axis)
            for axis, (size, length) in enumerate(zip(values.shape, image.shape, strict=True))
        )
        changed: dict[Var, Operand] = {
            closed.jaxpr.invars[0]: _checked(image, values, spans, corner)
        }
        saved = Savings(closed.jaxpr, changed)
        for eqn in closed.jaxpr.eqns:
            if _depends(eqn, changed) and any(known[var].size for var in eqn.outvars):
                with scope(eqn), eqn.ctx.manager:
                    outs, share, why = _step(eqn, known, changed, corner)
                changed.update(zip(eqn.outvars, outs, strict=True))
                saved.step(eqn, share, why)
        result = closed.jaxpr.outvars[0]
        return _whole(read(result, known | changed), corner), saved

    return replaced


def _depends(eqn: JaxprEqn, changed: Mapping[Var, Operand]) -> bool:
    return any(not isinstance(atom, Literal) and atom in changed for atom in eqn.invars)


def _step(
    eqn: JaxprEqn, known: dict[Var, JaxValue], changed: dict[Var, Operand], corner: Corner
) -> tuple[list[Operand], float, str]:
    """An equation's results, the share of them that was computed, why they are whole (or empty)."""
    bases = [read(atom, known) for atom in eqn.invars]
    values = [
        base if isinstance(atom, Literal) else changed.get(atom, base)
        for atom, base in zip(eqn.invars, bases, strict=True)
    ]
    moving = [
        value
        for atom, value in zip(eqn.invars, values, strict=True)
        if not isinstance(atom, Literal) and atom in changed
    ]
    why = "it is not known what a part of it changes"
    rule = rule_of(eqn) if all(isinstance(value, BlockUpdate) for value in moving) else None
    if rule is not None:
        out = known[eqn.outvars[0]]
        found = rule(eqn, values, bases, out, corner)
        if found is not None:
            result = _checked(out, *found, corner)
            why = "" if isinstance(result, BlockUpdate) else _MOST
            return [result], found[0].size / out.size, why
        why = "a window changes all of it, or what it changes is no block"
    return bind(eqn, [_whole(value, corner) for value in values]), 1.0, why


def _checked(base: Array, block: Array, spans: Spans, corner: Corner) -> Operand:
    """A block update if the block is small enough, else the whole array."""
    local = BlockUpdate(base, block, spans)
    return (
        local
        if any(spans) and block.size <= MAX_BLOCK_SHARE * base.size
        else whole_array(local, corner)
    )


def _whole(value: Operand, corner: Corner) -> JaxValue:
    return whole_array(value, corner) if isinstance(value, BlockUpdate) else value
