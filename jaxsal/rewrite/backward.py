"""Another derivative for ReLU, however it was written.

A ReLU is a call named `relu` or `relu6`, and a floating `max(x, 0)` (or a clip to relu6's range)
whose `x` depends on the image and whose zero is known by constant propagation. It is none where
the result only reaches a `sqrt`, `rsqrt`, `log` or denominator (layer norm has `max(0, var)`), nor
where it is half of a clip to another range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from jaxsal.rewrite.flow import SAME_VALUES, Flow
from jaxsal.rewrite.interpreter import Frame, evaluate, inline
from jaxsal.rewrite.log import Note, note
from jaxsal.rewrite.program import bind, bodies, equations, open_jaxpr, trace
from jaxsal.types import Image, Scalar, ScoreFn

Derivative = Callable[[Any, Any], Any]
"""`derivative(g, x > 0)`: the cotangent of ReLU's input from that of its output, elementwise."""

_NAMES = ("relu", "relu6")
_OPAQUE = ("custom_jvp_call", "custom_vjp_call")
_CANDIDATES = (*_OPAQUE, "jit", "max", "clamp")
_OTHERS = frozenset({"celu", "hard_sigmoid", "hard_silu", "hard_swish"})
"""Activations of which a ReLU is only a part."""

_WHOLE = _OTHERS.union(_NAMES)
_ROOTS = frozenset({"sqrt", "rsqrt", "log", "cbrt"})
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "max", "min", "select_n", "neg"})


def backward(score: ScoreFn, derivative: Derivative) -> ScoreFn:
    """`score` with `derivative` in the place of every ReLU's own: same values, other gradient.

    The gradient is not a linear map any more, so it has no forward mode: `jax.jvp` goes through
    `jax.grad` of the result, not through the result itself.

    Args:
      score: image -> scalar.
      derivative: see `Derivative`; relu6's upper bound keeps its own derivative.

    Raises:
      ValueError: (when called) the score holds no ReLU; says what was passed over.
    """

    def rewritten_score(image: Image) -> Scalar:
        closed, _ = trace(score, image)
        closed = inline(closed, keep=lambda eqn: eqn.params.get("name") in _WHOLE)
        findings = list(find(closed))
        note(*(finding.note for finding in findings))
        chosen = {id(finding.eqn): finding.operand for finding in findings if finding.note.done}
        if not chosen:
            passed = "; ".join(str(finding.note) for finding in findings) or "it has none at all"
            raise ValueError(f"score: expected a program with a ReLU to replace; {passed}")

        def rule(eqn: JaxprEqn, values: list[Any], frame: Frame) -> Sequence[Any] | None:
            del frame
            if id(eqn) not in chosen:
                return None
            return [_overridden(eqn, chosen[id(eqn)], derivative)(*values)]

        (value,) = evaluate(closed, dict.fromkeys(_CANDIDATES, rule), image)
        return value

    rewritten_score.rewrite = getattr(score, "rewrite", True)  # type: ignore[attr-defined]
    return rewritten_score


class Finding(NamedTuple):
    """An equation that is a ReLU or looks like one; `operand` counts its inputs."""

    eqn: JaxprEqn
    operand: int
    note: Note


def find(closed: ClosedJaxpr) -> Iterator[Finding]:
    """Every ReLU of a program, and everything that looks like one, in order."""
    flow = Flow(closed)
    inside: set[int] = set()
    for eqn in equations(closed.jaxpr):
        if eqn.primitive.name not in _CANDIDATES:
            if not bodies(eqn) and _holds_relu(eqn):
                what = f"a ReLU inside {eqn.primitive.name}"
                yield Finding(eqn, 0, Note("backward", what, False, "its body is not gone into"))
            continue
        if not _matters(eqn, flow) or id(eqn) in inside:
            continue
        seen = _call(eqn, flow) if eqn.primitive.name in (*_OPAQUE, "jit") else _clip(eqn, flow)
        if seen is None:
            continue
        operand, name, why = seen
        why = why or ("it only normalises" if _normalises(eqn.outvars[0], flow) else "")
        stack = str(eqn.source_info.name_stack)
        what = f"{name} {_short(eqn.outvars[0])}" + (f" in {stack}" if stack else "")
        yield Finding(eqn, operand, Note("backward", what, not why, why))
        if not why or name in _OTHERS:
            inside.update(id(e) for body in bodies(eqn) for e in equations(open_jaxpr(body)))


def _matters(eqn: JaxprEqn, flow: Flow) -> bool:
    """Whether an equation takes part in carrying a gradient from the score to the image."""
    if not eqn.outvars:
        return False
    out = eqn.outvars[0]
    floating = jnp.issubdtype(out.aval.dtype, jnp.floating)  # type: ignore[attr-defined]
    return floating and out in flow.live and out in flow.dependent


def _call(eqn: JaxprEqn, flow: Flow) -> tuple[int, str, str] | None:
    """A call: its operand, its name, and why it is passed over."""
    name = _called(eqn)
    if name in _NAMES:
        shape = eqn.outvars[0].aval
        same = [i for i, v in enumerate(eqn.invars) if flow.depends(v) and _alike(v.aval, shape)]
        if len(same) == 1 and len(eqn.outvars) == 1:
            return same[0], name, ""
        return 0, name, "it is not a function of one array"
    if name in _OTHERS:
        return 0, name, "it is more than a ReLU"
    if eqn.primitive.name in _OPAQUE and _holds_relu(eqn):
        return 0, f"a ReLU inside {name}", "the call has a derivative of its own"
    return None


def _called(eqn: JaxprEqn) -> str:
    body = open_jaxpr(eqn.params["call_jaxpr" if "call_jaxpr" in eqn.params else "jaxpr"])
    return str(eqn.params.get("name") or body.debug_info.func_name)


def _clip(eqn: JaxprEqn, flow: Flow) -> tuple[int, str, str] | None:
    """A `max(x, 0)` or a `clamp`: its operand, its name, and why it is passed over."""
    if eqn.primitive.name == "clamp":
        low, _, high = (flow.constant(v) for v in eqn.invars)
        return (1, "clamp", _range(high)) if low == 0 and flow.depends(eqn.invars[1]) else None
    operand = next((i for i, v in enumerate(eqn.invars) if flow.depends(v)), None)
    if operand is None or flow.constant(eqn.invars[1 - operand]) != 0:
        return None
    return operand, "max", _half_of_a_clip(eqn, operand, flow)


def _half_of_a_clip(eqn: JaxprEqn, operand: int, flow: Flow) -> str:
    """Why a `max(x, 0)` is half of a clip to a range other than relu6's; else empty."""
    before = flow.producer(eqn.invars[operand])
    if before is not None and before.primitive.name == "min":
        why = _bound(before, flow)
        if why:
            return why
    readers = flow.readers(eqn.outvars[0])
    if not readers or flow.leaves(eqn.outvars[0]):
        return ""
    bounds = [_bound(after, flow) if after.primitive.name == "min" else "" for after in readers]
    return bounds[0] if all(bounds) else ""


def _bound(eqn: JaxprEqn, flow: Flow) -> str:
    """Why a `min` is the upper half of a clip to a range other than relu6's; else empty."""
    fixed = [v for v in eqn.invars if not flow.depends(v)]
    return _range(flow.constant(fixed[0])) if fixed else ""


def _range(high: float | None) -> str:
    if high in (6.0, float("inf")):
        return ""
    return f"it clips to [0, {'?' if high is None else format(high, 'g')}]"


def _normalises(var: Var, flow: Flow) -> bool:
    """Whether a value only reaches a root, a logarithm or a denominator."""
    if flow.leaves(var):
        return False
    return all(_normalised(eqn, var, flow) for eqn in flow.readers(var))


def _normalised(eqn: JaxprEqn, var: Var, flow: Flow) -> bool:
    name = eqn.primitive.name
    if name in _ROOTS or (name == "div" and eqn.invars[0] is not var):
        return True
    if name == "integer_pow" and eqn.params["y"] < 0:
        return True
    if name == "pow":
        power = flow.constant(eqn.invars[1])
        return eqn.invars[0] is var and power is not None and (power < 0 or 0 < power < 1)
    others = [v for v in eqn.invars if v is not var]
    through = name in _ARITHMETIC and not any(flow.depends(v) for v in others)
    return (through or name in SAME_VALUES) and _normalises(eqn.outvars[0], flow)


def _holds_relu(eqn: JaxprEqn) -> bool:
    inner = [e for body in jaxprs_in_params(eqn.params) for e in body.eqns]
    return any(_is_max_with_zero(e) or _holds_relu(e) for e in inner)


def _is_max_with_zero(eqn: JaxprEqn) -> bool:
    literals = [v.val for v in eqn.invars if isinstance(v, Literal)]
    return eqn.primitive.name == "max" and any(np.all(val == 0) for val in literals)


def _alike(one: Any, other: Any) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _short(var: Var) -> str:
    return var.aval.str_short(short_dtypes=True)


def _overridden(eqn: JaxprEqn, operand: int, derivative: Derivative) -> Callable[..., Any]:
    """The ReLU `eqn` as a function of its inputs, with another derivative."""

    @jax.custom_vjp
    def relu(*values: Any) -> Any:
        return bind(eqn, values)[0]

    def forward(*values: Any) -> tuple[Any, tuple[Any, Any]]:
        # Bound anew, not called: a derivative of the map is the true one of what it computes.
        (out,) = bind(eqn, values)
        x = values[operand]
        high = _upper_bound(eqn, values)
        return out, (x > 0, None if high is None else x >= high)

    def pull(residuals: tuple[Any, Any], g: Any) -> tuple[Any, ...]:
        positive, saturated = residuals
        g = g if saturated is None else jnp.where(saturated, jnp.zeros_like(g), g)
        through = derivative(g, positive)
        return tuple(through if i == operand else None for i in range(len(eqn.invars)))

    relu.defvjp(forward, pull)
    return relu


def _upper_bound(eqn: JaxprEqn, values: Sequence[Any]) -> Any:
    """From where on an equation that was chosen passes nothing on, as in its own derivative."""
    if eqn.primitive.name == "clamp":
        return values[2]
    return 6 if eqn.primitive.name != "max" and _called(eqn) == "relu6" else None
