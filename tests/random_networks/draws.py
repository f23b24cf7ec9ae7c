"""What layers are drawn with and made of: a stream of draws, values with named axes, layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LARGEST = 1500
"""Numbers in a value: compilation is what a network costs, and it is to stay so."""


class Draw:
    """Random choices from one seed."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * self.rng.normal(size=shape)).astype(np.float32)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return self.rng.uniform(low, high, size=shape).astype(np.float32)

    def order(self, items: str) -> str:
        return "".join(items[i] for i in self.rng.permutation(len(items)))


class Value(NamedTuple):
    """What a layer is given: the role of each axis, and the shape.

    Roles are `b` (the batch; absent where the user's own `vmap` makes it), `c` (channels), and
    `x`, `y`, `z` (space); `reversed` are those that run from the image's end to its start.
    """

    roles: str
    shape: tuple[int, ...]
    reversed: frozenset[str] = frozenset()

    @property
    def space(self) -> str:
        return "".join(role for role in self.roles if role in "xyz")

    def axis(self, role: str) -> int:
        return self.roles.index(role)

    def axes(self, roles: str) -> tuple[int, ...]:
        return tuple(map(self.axis, roles))

    def size(self, role: str) -> int:
        return self.shape[self.axis(role)]


class Hooks:
    """What an oracle changes in a network: the ReLUs, and what is added to tapped values.

    Attributes:
        relu: in the place of every ReLU, given its input and its upper bound (infinity for most).
        add: by a tap's name, what is added to the value there.
        seen: by a tap's name, the value, filled when the network runs.
    """

    def __init__(
        self,
        relu: Callable[[jax.Array, float], jax.Array] | None = None,
        add: dict[str, jax.Array] | None = None,
    ) -> None:
        self.relu, self.add = relu, add or {}
        self.seen: dict[str, jax.Array] = {}


class Layer(NamedTuple):
    """A piece of a network.

    Attributes:
        params: a pytree of arrays.
        call: `call(hooks, params, x) -> x`.
        roles: of the result's axes.
        marks: `relu` (holds one that guided backpropagation replaces), `nan` (may make NaN), `half`
            (rounds to bfloat16), `free` (has no gradient), `attention`, `conv`, `reverse x` (turns
            that axis round).
        name: what it is, for the report.
    """

    params: Any
    call: Callable[[Hooks, Any, jax.Array], jax.Array]
    roles: str
    name: str
    marks: frozenset[str] = frozenset()


class Unsuitable(Exception):
    """A draw that the value at hand, or the network so far, does not allow."""


def result(layer: Layer, value: Value) -> Value:
    """What the layer makes of a value; raises `Unsuitable` where that is too small or too large."""
    like = jax.ShapeDtypeStruct(value.shape, jnp.float32)
    out = jax.eval_shape(lambda params, x: layer.call(Hooks(), params, x), layer.params, like)
    turned = frozenset(role for role in value.space if f"reverse {role}" in layer.marks)
    found = Value(layer.roles, out.shape, value.reversed ^ turned)
    sizes = [found.size(role) for role in found.space]
    if math.prod(out.shape) > LARGEST or not sizes or max(sizes) < 2 or 0 in out.shape:
        raise Unsuitable
    return found


def chain(layers: Sequence[Layer], name: str | None = None) -> Layer:
    """Layers one after the other as one."""

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        for layer, own in zip(layers, params, strict=True):
            x = layer.call(hooks, own, x)
        return x

    params = [layer.params for layer in layers]
    marks = frozenset().union(*(layer.marks for layer in layers))
    inner = " ".join(layer.name for layer in layers)
    return Layer(params, call, layers[-1].roles, f"{name}({inner})" if name else inner, marks)


def along(vector: Any, axis: int, rank: int) -> jax.Array:
    """A vector that broadcasts along one axis of `rank`; no rank is promoted."""
    vector = jnp.asarray(vector)
    return vector.reshape([vector.shape[0] if i == axis else 1 for i in range(rank)])


def by_example(
    function: Callable[[jax.Array], jax.Array], roles: str
) -> Callable[[jax.Array], jax.Array]:
    """A function of one example's value, over the batch if there is one."""
    if "b" not in roles:
        return function
    return jax.vmap(function, in_axes=roles.index("b"), out_axes=roles.index("b"))


def without_batch(value: Value) -> Value:
    kept = [i for i, role in enumerate(value.roles) if role != "b"]
    return Value("".join(value.roles[i] for i in kept), tuple(value.shape[i] for i in kept))
