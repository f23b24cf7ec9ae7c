"""Networks: an input, a few layers, a head, and the images that they are shown."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np

from tests.random_networks import control, heads, mixing, pointwise, spatial
from tests.random_networks.draws import Draw, Hooks, Layer, Unsuitable, Value, result

FAMILIES = (spatial, pointwise, mixing, control)

LOCAL: dict[Any, int] = {
    spatial.convolution: 4,
    spatial.pool: 2,
    spatial.padded_pool: 1,
    pointwise.relu: 2,
    pointwise.surrogate: 4,
    pointwise.activation: 2,
    pointwise.norm: 1,
    mixing.transposed: 1,
    mixing.channel_product: 1,
    control.residual: 2,
    control.branches: 1,
}
"""Layers of which most keep a change where it is: what occlusion is computed from in part."""


TAP = "tapped"


class Tap(NamedTuple):
    """The value between two layers that has a name of its own."""

    name: str
    value: Value


class Network(NamedTuple):
    """A model as a user has it, and as an oracle needs it.

    Attributes:
        params: a pytree of arrays.
        apply: `apply(params, images [B, ...]) -> logits [B, K]`.
        one: `one(hooks, params, image) -> logits [K]`, of one image.
        images: [B, ...].
        classes: K, 2 for a model with one logit.
        image: one image's axes and shape, without its batch axis.
        taps: the value that may be asked for by name, and changed by an oracle, if any.
        marks: see `Layer`.
        first_slides: whether a convolution comes first, which says what the image's space is.
        name: its layers, in words.
    """

    params: Any
    apply: Callable[[Any, jax.Array], jax.Array]
    one: Callable[[Hooks, Any, jax.Array], jax.Array]
    images: np.ndarray
    classes: int
    image: Value
    taps: list[Tap]
    marks: frozenset[str]
    first_slides: bool
    name: str


def network(draw: Draw, *, needs: frozenset[str] = frozenset(), free: bool = False) -> Network:
    """A network with a layer of each kind that is needed (`conv`, `relu`).

    Args:
        draw: the stream of draws.
        needs: marks that its layers must have; `local`: mostly layers that keep a change where it
            is, `affine`: often infinite constants before the first nonlinearity.
        free: whether it holds a loop that has no gradient.
    """
    local = "local" in needs and draw.chance(0.6)
    image = _input(draw, local)
    alone = draw.chance(0.25)
    value = image if alone else Value("b" + image.roles, (1, *image.shape))
    layers, values = _body(draw, value, needs, free, LOCAL if local else None)
    head, logits = heads.head(draw, values[-1], local)
    layers.append(head)
    marks = frozenset().union(*(layer.marks for layer in layers))
    marks -= {"meets"} if alone else set()
    scoped = draw.chance(0.5)
    # A tag ends some rewrites: there is one only where a layer may be asked for.
    tapped = draw.integer(0, len(layers) - 2) if "conv" in needs and len(layers) > 1 else -1

    def run(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        for i, (layer, own) in enumerate(zip(layers, params, strict=True)):
            if scoped:
                with jax.named_scope(f"layer_{i}"):
                    x = layer.call(hooks, own, x)
            else:
                x = layer.call(hooks, own, x)
            x = _tap(hooks, x) if i == tapped else x
        return x

    def apply(params: Any, images: jax.Array) -> jax.Array:
        if alone:
            return jax.vmap(lambda image: run(Hooks(), params, image))(images)
        return run(Hooks(), params, images)

    def one(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return run(hooks, params, x) if alone else run(hooks, params, x[None])[0]

    params = [layer.params for layer in layers]
    if draw.chance(0.5):
        params = jax.tree.map(jnp.asarray, params)
    taps = [] if tapped < 0 else [Tap(TAP, values[tapped + 1])]
    name = " > ".join([f"{image.roles}{image.shape}", *(layer.name for layer in layers)])
    name = f"vmap[{name}]" if alone else name
    slides = layers[0].name.startswith("conv")
    images, classes = _images(draw, image), max(2, logits)
    return Network(params, apply, one, images, classes, image, taps, marks, slides, name)


def _tap(hooks: Hooks, x: jax.Array) -> jax.Array:
    x = jax.ad_checkpoint.checkpoint_name(x, TAP)
    x = x + hooks.add[TAP] if TAP in hooks.add else x
    hooks.seen[TAP] = x
    return x


def _input(draw: Draw, large: bool) -> Value:
    """One image: one to three spatial axes, and its channels last, first or between."""
    rank = draw.pick([1, 2, 2, 2, 2, 3])
    low, high = {1: (8, 12), 2: (5, 9), 3: (4, 5)}[rank]
    low, high = (8, 11) if large and rank == 2 else (low, high)
    space = "xyz"[:rank]
    roles = draw.pick([f"{space}c", f"{space}c", f"{space}c", f"c{space}", draw.order(f"{space}c")])
    sizes = {role: draw.integer(low, high) for role in space} | {"c": draw.integer(1, 3)}
    return Value(roles, tuple(sizes[role] for role in roles))


def _images(draw: Draw, image: Value) -> np.ndarray:
    """Two images: noise, with a black border, a bright spot, black regions, or all constant."""
    images = []
    for _ in range(2):
        kind = draw.pick(["noise", "noise", "border", "border", "spot", "spot", "steps", "flat"])
        picture = draw.normal(*image.shape)
        inside = np.ones(image.shape, np.float32)
        for role in image.space:
            index = np.arange(image.size(role))
            keep = (index > 0) & (index < image.size(role) - 1)
            shape = [-1 if r == role else 1 for r in image.roles]
            inside = inside * keep.reshape(shape)
        if kind == "border":
            picture = np.abs(picture) * inside
        elif kind == "spot":
            picture = picture * 0.1
            picture[tuple(n // 2 for n in image.shape)] = 8.0
        elif kind == "steps":
            picture = np.round(picture)
        elif kind == "flat":
            picture = np.full(image.shape, draw.pick([0.0, 0.5]), np.float32)
        images.append(picture.astype(np.float32))
    return np.stack(images)


def _body(
    draw: Draw, value: Value, needs: frozenset[str], free: bool, table: dict[Any, int] | None
) -> tuple[list[Layer], list[Value]]:
    """Layers, from a table if one is given, and the values before, between and behind them."""
    layers: list[Layer] = []
    values = [value]
    kinds = _kinds(draw, needs, free)
    while kinds:
        kind = kinds.pop(0)
        for _ in range(20):
            try:
                layer = _drawn(draw, values[-1], kind, table)
                if "free" in layer.marks and not free:
                    raise Unsuitable
                after = result(layer, values[-1])
                break
            except Unsuitable:
                continue
        else:
            continue
        layers.append(layer)
        values.append(after)
    return layers, values


def _kinds(draw: Draw, needs: frozenset[str], free: bool) -> list[Any]:
    """What the layers are to be: most networks begin with a convolution and an activation."""
    kinds: list[Any] = [None] * draw.integer(1, 3)
    if "conv" in needs or draw.chance(0.7):
        first: list[Any] = [spatial.convolution]
        if "affine" in needs and draw.chance(0.3):
            first.append(draw.pick([spatial.padded_pool, pointwise.masked]))
        first += [pointwise.relu] if draw.chance(0.6) else []
        at = draw.pick([0, 0, 0, draw.integer(0, len(kinds))])
        kinds[at:at] = first
    if "relu" in needs and pointwise.relu not in kinds:
        kinds.insert(draw.integer(0, len(kinds)), pointwise.relu)
    if free:
        kinds.insert(draw.integer(0, len(kinds)), control.looped)
    if draw.chance(0.06):
        at = draw.integer(0, len(kinds))
        kinds[at:at] = [pointwise.root, spatial.pool] if draw.chance(0.7) else [pointwise.root]
    return kinds


def _drawn(draw: Draw, value: Value, kind: Any, table: dict[Any, int] | None) -> Layer:
    if kind is not None:
        return kind(draw, value)
    layers = table or draw.pick(FAMILIES).LAYERS
    weights = np.array(list(layers.values()), float)
    return list(layers)[int(draw.rng.choice(len(layers), p=weights / weights.sum()))](draw, value)
