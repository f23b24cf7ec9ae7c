"""Parameters that are not all arrays: the rest of them is a part of the program."""

import dataclasses
import gc
import weakref
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import jaxsal
from jaxsal.compiler import checks
from tests import toy

X = toy.images(2, shape=(4, 3))


class Scaled:
    """A function that has no weak references."""

    __slots__ = ("factor",)

    def __init__(self, factor: float):
        self.factor = factor

    def __call__(self, x: Array) -> Array:
        return self.factor * x


class Model(eqx.Module):
    """A function, a flag, a word and numbers, all of them leaves, beside the weights."""

    weights: Array
    activation: Callable[[Array], Array] = jnp.tanh
    squared: bool = False
    kind: str = "sum"
    repeats: int = 1
    slope: float = 1.0

    def __call__(self, image: Array) -> Array:
        for _ in range(self.repeats):
            image = self.activation(image) * (self.slope if self.slope > 0 else 1.0)
        image = image**2 if self.squared else image
        pooled = {"sum": image.sum(0), "max": image.max(0)}[self.kind]
        return pooled @ self.weights


def apply(model: Model, images: Array) -> Array:
    return jax.vmap(model)(images)


def model(seed: int = 0, **others: object) -> Model:
    weights = np.random.default_rng(seed).normal(size=(3, 2)).astype(np.float32)
    return Model(jnp.asarray(weights), **others)


def by_hand(model: Model, target: int = 1) -> Array:
    return jnp.stack([jax.grad(lambda x: model(x)[target])(image) for image in jnp.asarray(X)])


EXPLAIN = jaxsal.explainer(apply, jaxsal.gradient)
OTHERS = {
    "a function": {"activation": jnp.sin},
    "a lambda": {"activation": lambda x: x**3},
    "an object": {"activation": Scaled(3.0)},
    "a flag": {"squared": True},
    "a word": {"kind": "max"},
    "an integer": {"repeats": 2},
    "a number": {"slope": 0.5},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_array_is_a_part_of_the_program(name: str) -> None:
    """Its map is the right one, and new weights alone need no other program."""
    first, second, other = model(), model(1), model(**OTHERS[name])
    toy.close(EXPLAIN(first, X, 1), by_hand(first))
    toy.close(EXPLAIN(other, X, 1), by_hand(other))
    again = eqx.tree_at(lambda m: m.weights, other, second.weights)
    expected = by_hand(second), by_hand(again)
    with toy.compilations() as compiled:
        maps = EXPLAIN(second, X, 1), EXPLAIN(again, X, 1)
    assert compiled.count == 0
    toy.close(maps, expected)


def test_a_model_that_a_user_took_apart_is_the_same() -> None:
    whole = model(squared=True)
    arrays, static = eqx.partition(whole, eqx.is_array)
    apart = jaxsal.explainer(lambda p, x: apply(eqx.combine(p, static), x), jaxsal.gradient)
    toy.close(apart(arrays, X, 1), EXPLAIN(whole, X, 1))


def test_functions_and_words_beside_arrays() -> None:
    """In any pytree; its numbers are arrays there, as with `jax.jit`."""

    def apply(params: dict, images: Array) -> Array:
        hidden = params["activation"](images * params["gain"]).sum(1)
        return {"plain": hidden, "none": 0 * hidden}[params["kind"]] @ params["weights"]

    weights = model().weights
    params = {"activation": jnp.sin, "kind": "plain", "gain": 2.0, "weights": weights}
    explain = jaxsal.explainer(apply, jaxsal.gradient)
    expected = 2 * jnp.cos(2 * X) * weights[:, 1].reshape(1, 1, -1)
    toy.close(explain(params, X, 1), expected)
    with toy.compilations() as compiled:
        explain({**params, "gain": 3.0}, X, 1)
    assert compiled.count == 0
    assert not np.any(explain({**params, "kind": "none"}, X, 1))


@dataclasses.dataclass
class Settings:
    """Something that may change, and that no pytree knows."""

    slope: float


@pytest.mark.parametrize(
    "params",
    [
        {"activation": jnp.sin},
        [jnp.tanh, "words"],
        {"w": np.zeros(3, np.float32), "settings": Settings(1.0)},
        {"w": np.zeros(3, np.float32), "names": np.array(["a", "b"])},
        Model(np.array(["a", "b"])),
    ],
)
def test_what_is_neither_is_refused(params: object) -> None:
    with pytest.raises(TypeError, match="params: expected a pytree of arrays, got a leaf"):
        EXPLAIN(params, X, 1)


def test_the_other_doors_take_it_too(tmp_path) -> None:
    """A record, a store, a metric, one program of the batch, a description and a fingerprint."""
    this = model(squared=True)
    maps = EXPLAIN(this, X, 1)
    record = EXPLAIN.record(this, X, 1)
    toy.close((record.maps, record.logits), (maps, apply(this, X)))
    toy.close(EXPLAIN.lower(this, X, 1).compile()(this, X, 1), maps)
    jaxsal.explain_dataset(EXPLAIN, this, X, tmp_path / "maps.zarr", targets=1)
    assert (tmp_path / "maps.zarr").is_dir()
    assert EXPLAIN.describe(this, X, 1)["images"] >= 1
    inside = eqx.filter_jit(lambda model, x: EXPLAIN(model, x, 1))
    toy.close(inside(this, X), maps)
    values = jaxsal.evaluator(apply, lambda score, image, map: score(image))(this, X, maps, 1)
    toy.close(values, apply(this, X)[:, 1])

    marks = [EXPLAIN.identity(m, X, 1) for m in (this, model(1, squared=True), model())]
    assert [mark["params"] == marks[0]["params"] for mark in marks] == [True, False, True]
    assert [mark["model"] == marks[0]["model"] for mark in marks] == [True, True, False]


def test_a_model_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], checks.check_params
    monkeypatch.setattr(checks, "check_params", lambda tree: seen.append(tree) or real(tree))
    explain, this = jaxsal.explainer(apply, jaxsal.gradient), model()
    toy.close(explain(this, X, 1), explain(this, X, 1))
    assert len(seen) == 1
    explain(eqx.tree_at(lambda m: m.activation, this, jnp.sin), X, 1)
    assert len(seen) == 2


def test_a_program_keeps_no_function_of_the_parameters_alive() -> None:
    explain, this = jaxsal.explainer(apply, jaxsal.gradient), model(activation=lambda x: 2 * x)
    explain(this, X, 1)
    alive = weakref.ref(this.activation)
    del this
    gc.collect()
    assert alive() is None
    toy.close(explain(model(), X, 1), by_hand(model()))
