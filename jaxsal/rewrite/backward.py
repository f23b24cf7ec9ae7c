"""Another derivative for every ReLU of a program, however it was written.

Which functions are ReLUs: see `jaxsal.rewrite.activations.relus`. Other activations with a kink
(`jaxsal.rewrite.activations.kinks`) keep their own derivative, and a warning says so: the gradient
then mixes the two.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal
from jaxtyping import Array

from jaxsal.rewrite.activations.find import KEPT, Finding, Relu, find_activations
from jaxsal.rewrite.activations.functions import NAMED
from jaxsal.rewrite.interpreter import Frame, evaluate, inline
from jaxsal.rewrite.notes import note
from jaxsal.rewrite.program import JaxValue, Values, call_name, play, trace
from jaxsal.types import Image, Scalar, ScoreFn

Derivative = Callable[[Array, Array], Array]
"""`derivative(g, x > 0)`: the cotangent of ReLU's input from that of its output, elementwise."""

Residuals = tuple[Array, Array | None]
"""Where the input of a ReLU is positive, and where it is beyond the bound of a relu6."""

_SHOWN = 6
"""The most activations that a warning names."""


def backward(score: ScoreFn, derivative: Derivative) -> ScoreFn:
    """`score` with `derivative` in the place of every ReLU's own: same values, other gradient.

    The gradient is not a linear map any more, so it has no forward mode: `jax.jvp` goes through
    `jax.grad` of the result, not through the result itself.

    Args:
        score: image -> scalar.
        derivative: see `Derivative`; relu6's upper bound keeps its own derivative.

    Warns:
        UserWarning: (when called) the score has other activations with a kink, which keep theirs.

    Raises:
        ValueError: (when called) the score holds no ReLU; says what was passed over.
    """

    def rewritten_score(image: Image) -> Scalar:
        closed, _ = trace(score, image)
        closed = inline(closed, keep=lambda eqn: call_name(eqn) in NAMED)
        findings = list(find_activations(closed))
        note(*(finding.note for finding in findings))
        chosen = {id(each.eqn): each.relu for each in findings if each.relu is not None}
        if not chosen:
            raise ValueError(f"score: expected a program with a ReLU to replace; {_seen(findings)}")
        _warn([finding for finding in findings if finding.other], len(chosen))

        def rule(eqn: JaxprEqn, values: Values, frame: Frame) -> Sequence[JaxValue] | None:
            del values
            relu = chosen.get(id(eqn))
            return None if relu is None else [_overridden(relu, derivative, frame)]

        names = {finding.eqn.primitive.name for finding in findings if finding.relu}
        (value,) = evaluate(closed, dict.fromkeys(names, rule), image)
        return value

    rewritten_score.rewrite = getattr(score, "rewrite", True)  # type: ignore[attr-defined]
    return rewritten_score


def _overridden(relu: Relu, derivative: Derivative, frame: Frame) -> JaxValue:
    """A ReLU's value, computed from its operand as it stands, with another derivative."""
    made = {out for eqn in relu.equations for out in eqn.outvars}
    atoms = [relu.operand, *(v for eqn in relu.equations for v in eqn.invars)]
    given = dict.fromkeys(v for v in atoms if not isinstance(v, Literal) and v not in made)
    _, sign, knot, upper = relu.ramp

    def value(x: JaxValue, *rest: JaxValue) -> JaxValue:
        known = dict(zip(given, (x, *rest), strict=True))
        play(relu.equations, known)
        return known[relu.equations[-1].outvars[0]]

    @jax.custom_vjp
    def activation(*values: JaxValue) -> JaxValue:
        return value(*values)

    def forward(*values: JaxValue) -> tuple[JaxValue, Residuals]:
        # Played anew, not called: a derivative of the map is the true one of what it computes.
        rise = sign * (values[0] - knot) if (sign, knot) != (1, 0) else values[0]
        return value(*values), (rise > 0, None if math.isinf(upper) else rise >= upper)

    def pull(residuals: Residuals, g: Array) -> tuple[Array | None, ...]:
        positive, saturated = residuals
        g = g if relu.ramp.scale == 1 else relu.ramp.scale * g
        g = g if saturated is None else jnp.where(saturated, jnp.zeros_like(g), g)
        through = derivative(g, positive)
        return (through if sign > 0 else -through, *[None] * (len(given) - 1))

    activation.defvjp(forward, pull)
    return activation(*(frame.read(atom) for atom in given))


def _seen(findings: Sequence[Finding]) -> str:
    """What a program without a ReLU has instead, for an error message."""
    alike = [str(each.note) for each in findings if each.note.why != KEPT]
    return "; ".join(alike or ["it has none at all", *(str(each.note) for each in findings)])


def _warn(kept: Sequence[Finding], replaced: int) -> None:
    """Says which activations keep their own derivative beside the ReLUs, and where they stand."""
    if not kept:
        return
    places = Counter(each.note.what for each in kept)
    listed = [
        place if n == 1 else f"{place} ({n} times)" for place, n in places.most_common(_SHOWN)
    ]
    listed += [f"and {len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
    warnings.warn(
        f"score: expected no activation with a kink but ReLUs, of which {replaced} are given"
        f" another derivative; {len(kept)} others keep their own, and the map mixes the two:"
        f" {'; '.join(listed)}",
        UserWarning,
        stacklevel=2,
    )
