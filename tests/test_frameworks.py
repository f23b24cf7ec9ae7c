"""README's two lines for each framework, on the real package."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.example_libraries import stax
from jaxtyping import Array

from tests.frameworks import Case, check, rows
from tests.split_networks import drawn

KEY = jax.random.key(0)
IMAGES = jax.random.uniform(jax.random.key(1), (2, 6, 8, 2))
FIRST = jnp.moveaxis(IMAGES, -1, 1)
SLOW = ("Keras", "Hugging Face")
"""Those whose packages are too heavy: `python -m tests.frameworks` has them."""


class NNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv, self.norm = nnx.Conv(2, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.drop, self.dense = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.dense(self.drop(nnx.relu(self.norm(self.conv(x)))).mean((1, 2)))


def of_nnx() -> Case:
    graph, shapes = nnx.split(nnx.eval_shape(lambda: NNX(nnx.Rngs(0))))
    module = nnx.merge(graph, drawn(shapes))
    module.eval()
    return Case({"nnx_module": module}, IMAGES, module)


class Equinox(eqx.Module):
    """With a function, a flag and a number that Python reads, none of them marked static."""

    conv: eqx.nn.Conv2d
    dense: eqx.nn.Linear
    activation: Callable[[Array], Array]
    residual: bool
    repeats: int
    slope: float

    def __init__(self):
        one, two = jax.random.split(KEY)
        self.conv, self.dense = (
            eqx.nn.Conv2d(2, 2, 3, padding=1, key=one),
            eqx.nn.Linear(2, 3, key=two),
        )
        self.activation, self.residual, self.repeats, self.slope = jax.nn.silu, True, 2, 0.5

    def __call__(self, x: Array) -> Array:
        for _ in range(self.repeats):
            y = self.activation(self.conv(x))
            x = x + self.slope * y if self.residual and self.slope > 0 else y
        return self.dense(x.mean((1, 2)))


def made(make: Callable[[], Any]) -> Any:
    """What a constructor of Equinox makes, with parameters that are drawn for it."""
    abstract, others = eqx.partition(
        eqx.filter_eval_shape(make), lambda x: isinstance(x, jax.ShapeDtypeStruct)
    )
    return eqx.combine(drawn(abstract, channels_first=True), others)


def of_equinox() -> Case:
    model = made(Equinox)
    return Case({"model": model}, FIRST, jax.vmap(model))


class WithState(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout
    dense: eqx.nn.Linear

    def __init__(self):
        one, two = jax.random.split(KEY)
        self.conv, self.norm = (
            eqx.nn.Conv2d(2, 4, 3, key=one),
            eqx.nn.BatchNorm(4, "batch", mode="ema"),
        )
        self.drop, self.dense = eqx.nn.Dropout(0.5), eqx.nn.Linear(4, 3, key=two)

    def __call__(self, x: Array, state: eqx.nn.State) -> tuple[Array, eqx.nn.State]:
        x, state = self.norm(self.conv(x), state)
        return self.dense(self.drop(jax.nn.relu(x)).mean((1, 2))), state


def of_equinox_with_state() -> Case:
    model, state = made(eqx.nn.make_with_state(WithState))
    model = eqx.nn.inference_mode(model)
    logits = lambda x: jnp.stack([model(image, state)[0] for image in x])  # noqa: E731
    return Case({"model": model, "state": state}, FIRST, logits)


def forward(x: Array) -> Array:
    return hk.Linear(3)(jax.nn.relu(hk.Conv2D(4, 3)(x)).mean((1, 2)))


def with_norm(x: Array, is_training: bool = False) -> Array:
    x = hk.BatchNorm(True, True, 0.9)(hk.Conv2D(4, 3)(x), is_training)
    return hk.Linear(3)(jax.nn.relu(x).mean((1, 2)))


def of_haiku() -> Case:
    f = hk.transform(forward)
    params = drawn(jax.eval_shape(f.init, KEY, IMAGES))
    logits = lambda x: f.apply(params, None, x)  # noqa: E731
    return Case({"f": hk.without_apply_rng(f), "params": params}, IMAGES, logits)


def of_haiku_with_state() -> Case:
    f = hk.transform_with_state(with_norm)
    with jax.numpy_dtype_promotion("standard"):
        init = functools.partial(f.init, is_training=True)
        params, state = drawn(jax.eval_shape(init, KEY, IMAGES))
    for statistics in state.values():  # means and variances are called alike
        statistics["average"] = abs(statistics["average"]) + 0.5
    names = {"f": hk.without_apply_rng(f), "params": params, "state": state}
    return Case(names, IMAGES, lambda x: f.apply(params, state, None, x)[0])


def of_stax() -> Case:
    layers = stax.Conv(4, (3, 3)), stax.Relu, stax.Flatten, stax.Dense(3)
    init, apply = stax.serial(*layers)
    params = drawn(jax.eval_shape(lambda key: init(key, (-1, *IMAGES.shape[1:]))[1], KEY))
    return Case({"apply": apply, "params": params}, IMAGES, lambda x: apply(params, x))


CASES = {
    "NNX": of_nnx,
    "Equinox, ": of_equinox,
    "Equinox with state": of_equinox_with_state,
    "Haiku, ": of_haiku,
    "Haiku with batch norm": of_haiku_with_state,
    "plain JAX; Stax": of_stax,
}


def test_every_row_is_tried() -> None:
    begins = [[name for name in (*CASES, *SLOW) if row.name.startswith(name)] for row in rows()]
    assert all(len(found) == 1 for found in begins) and len(begins) == len(CASES) + len(SLOW)


@pytest.mark.parametrize("name", CASES)
def test_the_two_lines(name: str) -> None:
    with jax.numpy_rank_promotion("allow"):  # Stax adds a bias as it is
        check(name, CASES[name]())
