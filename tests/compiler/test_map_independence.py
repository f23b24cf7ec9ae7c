"""Of several maps, a metric that looks at none of them is told of, once."""

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy

P = toy.params()
X = toy.images(2)
MAPS = {"a": X, "cam": X[..., 0]}
KEY = jax.random.key(0)
STABLE = functools.partial(jaxsal.metrics.sensitivity_max, method=jaxsal.gradient, samples=2)


def positive(values: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(values > 0, values, 0))


def of_image(score: object, image: jax.Array, map: jax.Array) -> jax.Array:
    return positive(image)


def of_map(score: object, image: jax.Array, map: jax.Array) -> jax.Array:
    return positive(map)


def of_both(score: object, image: jax.Array, map: jax.Array) -> dict[str, jax.Array]:
    return {"image": positive(image), "map": positive(map)}


def in_a_call(score: Any, image: jax.Array, map: jax.Array) -> jax.Array:
    return jax.jit(lambda image, map: score(image))(image, map)


def said(metric: Any, maps: Any = MAPS, targets: Any = 0, **options: Any) -> list[str]:
    """What an evaluator of the metric says, of two calls."""
    evaluate = jaxsal.evaluator(toy.apply, metric, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            evaluate(P, X, maps, targets, key=KEY)
    assert all(each.category is RuntimeWarning for each in caught)
    assert all(each.filename == __file__ for each in caught)
    return [str(each.message) for each in caught]


BLIND = {
    "explains by itself": (STABLE, "values of metric sensitivity_max depend"),
    "in a call": (in_a_call, "values of metric in_a_call depend"),
    "beside one that looks": (
        {"blind": of_image, "sees": of_map, "both": of_both, "drop": "average_drop"},
        "values of metric blind depend",
    ),
    "two": (
        {"stable": STABLE, "map": of_map, "image": of_image},
        "values of metrics stable, image depend",
    ),
}


@pytest.mark.parametrize("targets", [0, None, "all"])
@pytest.mark.parametrize("name", BLIND)
def test_a_metric_that_looks_at_no_map_is_told_of_once(name: str, targets: Any) -> None:
    metric, told = BLIND[name]
    classes = {n: np.stack([one] * toy.CLASSES, 1) for n, one in MAPS.items()}
    (text,) = said(metric, classes if targets == "all" else MAPS, targets)
    assert text.startswith(f"{told} on no map: the 2 maps of an image are all given the same")
    assert "option `method`" in text


def test_its_columns_are_alike() -> None:
    with pytest.warns(RuntimeWarning, match="on no map"):
        values = jaxsal.evaluator(toy.apply, STABLE)(P, X, MAPS, 0, key=KEY)
    toy.close(values["a"], values["cam"], 0)


def test_what_is_shared_within_a_value_is_as_it_should_be() -> None:
    """The scores of random sets of pixels are those of any map, and its correlation is not."""
    random = functools.partial(jaxsal.metrics.faithfulness_correlation, subset=9, samples=4)
    ordered = functools.partial(jaxsal.metrics.deletion, steps=2)
    assert said({"random": random, "ordered": ordered, "both": of_both}) == []


def test_nothing_is_said_of_one_map_unchecked_or_in_a_trace() -> None:
    assert said(STABLE, X) == said(STABLE, {"a": X}) == said(STABLE, check=False) == []
    evaluate = jaxsal.evaluator(toy.apply, STABLE)
    jax.jit(lambda maps: evaluate(P, X, maps, 0, key=KEY))(MAPS)


def test_under_a_mesh_of_explicit_axes_too() -> None:
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Explicit,))
    deletion = functools.partial(jaxsal.metrics.deletion, steps=2)
    with jax.set_mesh(mesh):
        (text,) = said({"stable": STABLE, "deletion": deletion})
    assert text.startswith("values of metric stable depend on no map")
