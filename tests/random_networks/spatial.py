"""Layers of windows and positions: convolutions, pools, pads, slices, resizing."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.random_networks.draws import Draw, Hooks, Layer, Unsuitable, Value, along, by_example

LONGEST = 10
"""Positions along an axis, after whatever makes it longer."""


def _length(size: int, kernel: int, dilation: int, base: int, pad: Any, stride: int) -> int:
    padded = (size - 1) * base + 1 + sum(pad)
    return (padded - (kernel - 1) * dilation - 1) // stride + 1


def _pads(mode: str, draw: Draw, reach: int) -> tuple[int, int]:
    if mode == "valid":
        return 0, 0
    if mode == "same":
        return reach // 2, reach - reach // 2
    return draw.integer(-1, 2), draw.integer(-1, 2)


def _windows(draw: Draw, value: Value, *, keep: bool, base: bool) -> dict[str, list[Any]]:
    """Window, dilation, stride, padding and base dilation for each spatial axis."""
    names = ("window", "dilation", "stride", "base", "padding")
    found: dict[str, list[Any]] = {name: [] for name in names}
    mode = "same" if keep else draw.pick(["same", "same", "valid", "drawn"])
    dilated, strided = draw.chance(0.25), not keep and draw.chance(0.4)
    based = base and not keep and draw.chance(0.2)
    for role in value.space:
        size = value.size(role)
        for _ in range(30):
            kernel, stride = draw.integer(1, 3), draw.integer(1, 2) if strided else 1
            dilation = draw.integer(1, 2) if dilated else 1
            spread = draw.integer(1, 2) if based else 1
            pad = _pads(mode, draw, (kernel - 1) * dilation)
            if 1 <= _length(size, kernel, dilation, spread, pad, stride) <= LONGEST:
                break
        else:
            raise Unsuitable
        for name, each in zip(names, (kernel, dilation, stride, spread, pad), strict=True):
            found[name].append(each)
    return found


def convolution(draw: Draw, value: Value, *, keep: bool = False) -> Layer:
    """Any strides, dilations of both sides, groups, and any layout of the three arrays."""
    windows, channels = _windows(draw, value, keep=keep, base=True), value.size("c")
    groups = draw.pick([g for g in (1, 1, 1, 2, channels) if channels % g == 0])
    width = channels if keep else groups * draw.integer(1, max(1, 4 // groups))
    lhs = value.roles.replace("b", "").replace("c", "C")
    lhs = f"N{lhs}" if "b" not in value.roles else value.roles.replace("b", "N").replace("c", "C")
    out = lhs if keep or draw.chance(0.6) else draw.order(lhs)
    rhs = draw.pick([f"{value.space}IO", f"OI{value.space}", draw.order(f"OI{value.space}")])
    extents = {"O": width, "I": channels // groups}
    extents |= dict(zip(value.space, windows["window"], strict=True))
    fan = int(np.prod(windows["window"])) * channels // groups
    params = {"w": draw.normal(*(extents[role] for role in rhs), scale=1.4 / np.sqrt(fan))}
    # JAX numbers the windows as the kernel has them.
    places = [value.space.index(role) for role in rhs if role in value.space]
    windows = {name: [each[place] for place in places] for name, each in windows.items()}
    if draw.chance(0.6):
        params["b"] = draw.normal(width, scale=0.3)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        x = lax.conv_general_dilated(
            x if "b" in value.roles else x[None],
            jnp.asarray(params["w"]).astype(x.dtype),
            windows["stride"],
            windows["padding"],
            lhs_dilation=windows["base"],
            rhs_dilation=windows["dilation"],
            dimension_numbers=(lhs, rhs, out),
            feature_group_count=groups,
        )
        if "b" in params:
            x = x + along(params["b"], out.index("C"), x.ndim).astype(x.dtype)
        return x if "b" in value.roles else lax.squeeze(x, [out.index("N")])

    roles = out.replace("N", "b" if "b" in value.roles else "").replace("C", "c")
    return Layer(params, call, roles, f"conv{len(value.space)}d", frozenset({"conv"}))


_POOLS: dict[str, tuple[float, Callable[..., Any]]] = {
    "max": (-np.inf, lax.max),
    "min": (np.inf, lax.min),
    "sum": (0.0, lax.add),
    "mean": (0.0, lax.add),
}


def pool(draw: Draw, value: Value) -> Layer:
    """Maximum, minimum, sum or mean of windows, overlapping or not, padded, dilated."""
    kind = draw.pick(["max", "max", "max", "mean", "sum", "min"])
    if draw.chance(0.5):  # as most models pool: windows of two that do not overlap
        windows = {"window": [2] * len(value.space), "stride": [2] * len(value.space)}
        windows |= {name: [1] * len(value.space) for name in ("base", "dilation")}
        windows["padding"] = [(0, value.size(role) % 2) for role in value.space]
    else:
        windows = _windows(draw, value, keep=False, base=kind in ("sum", "mean"))
    full: dict[str, list[Any]] = {}
    for name, each in windows.items():
        rest: Any = (0, 0) if name == "padding" else 1
        known = dict(zip(value.space, each, strict=True))
        full[name] = [known.get(role, rest) for role in value.roles]
    # A window of padding alone would be infinite.
    for role, kernel, pads in zip(value.roles, full["window"], full["padding"], strict=True):
        if kind in ("max", "min") and role in "xyz" and max(pads) >= kernel and max(pads) > 0:
            raise Unsuitable
    init, operation = _POOLS[kind]
    count = float(np.prod(full["window"])) if kind == "mean" else 1.0
    # JAX knows the operation by a start that is concrete; of a maximum it has no gradient where
    # windows are dilated or the padding is negative.
    cut_off = min(min(pads) for pads in full["padding"]) < 0
    undiffered = kind in ("max", "min") and (max(full["dilation"]) > 1 or cut_off)
    marks = frozenset({"free"}) if undiffered else frozenset()

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        pooled = lax.reduce_window(
            x,
            np.array(init, x.dtype),
            operation,
            full["window"],
            full["stride"],
            full["padding"],
            full["base"],
            full["dilation"],
        )
        return pooled / count if kind == "mean" else pooled

    return Layer({}, call, value.roles, f"{kind}_pool", marks)


def padded_pool(draw: Draw, value: Value) -> Layer:
    """Borders of -inf, padded by hand, under a max-pool without padding."""
    spatial = [role in "xyz" for role in value.roles]
    edges = [(1, 1, 0) if s else (0, 0, 0) for s in spatial]
    stride = draw.integer(1, 2)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        x = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), edges)
        window, step = ([n if s else 1 for s in spatial] for n in (3, stride))
        return lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, window, step, "VALID")

    return Layer({}, call, value.roles, "inf_padded_max_pool")


def pad(draw: Draw, value: Value) -> Layer:
    """Zeros or a constant around or between, or a border cut off."""
    edges = []
    for role in value.roles:
        inner = 1 if role in "xyz" and value.size(role) < 5 and draw.chance(0.2) else 0
        least = -1 if role in "xyz" and value.size(role) > 3 else 0
        ends = (draw.integer(least, 1), draw.integer(least, 1)) if role in "xyz" else (0, 0)
        edges.append((*ends, inner))
    fill = draw.pick([0.0, 0.0, 0.5])
    mode = draw.pick(["edge", "reflect"]) if draw.chance(0.25) else None

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        if mode:
            around = [(1, 1) if role in "xyz" else (0, 0) for role in value.roles]
            return jnp.pad(x, around, mode=mode)
        return lax.pad(x, jnp.asarray(fill, x.dtype), edges)

    return Layer({}, call, value.roles, f"pad_{mode or fill}")


def resize(draw: Draw, value: Value) -> Layer:
    """Nearest or bilinear, up or down."""
    method = draw.pick(["nearest", "bilinear"])
    shape = [
        draw.integer(3, 7) if role in "xyz" else n
        for role, n in zip(value.roles, value.shape, strict=True)
    ]

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        sizes = [
            x.shape[i] if role == "b" else n
            for i, (role, n) in enumerate(zip(value.roles, shape, strict=True))
        ]
        return jax.image.resize(x, sizes, method)

    return Layer({}, call, value.roles, f"resize_{method}")


def cropped(draw: Draw, value: Value) -> Layer:
    """A window cut out: at a fixed place, by a stride, or where the data say."""
    role = draw.pick(value.space)
    axis, size = value.axis(role), value.size(role)
    if size < 4:
        raise Unsuitable
    kept, kind = draw.integer(size - 2, size - 1), draw.pick(["static", "reverse", "data"])
    start = draw.integer(0, size - kept)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        if kind == "static":
            return lax.dynamic_slice_in_dim(x, start, kept, axis)
        if kind == "reverse":
            return lax.rev(lax.slice_in_dim(x, start, start + kept, axis=axis), [axis])
        return by_example(functools.partial(_attended, place, kept), value.roles)(x)

    place = axis - ("b" in value.roles[:axis])
    marks = frozenset({f"reverse {role}"} if kind == "reverse" else ())
    return Layer({}, call, value.roles, f"slice_{kind}", marks)


def _attended(axis: int, kept: int, x: jax.Array) -> jax.Array:
    """The part that begins where the example's profile along the axis is highest."""
    profile = jnp.mean(x, tuple(i for i in range(x.ndim) if i != axis))
    return lax.dynamic_slice_in_dim(x, jnp.argmax(profile) % 2, kept, axis)


LAYERS = {
    convolution: 8,
    pool: 5,
    padded_pool: 1,
    pad: 1,
    resize: 1,
    cropped: 1,
}
"""How often each is drawn."""
