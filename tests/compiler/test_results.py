"""Results that are not finite: counted, named and explained; NaN predicts no class."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.compiler.outputs import OUTPUTS
from jaxsal.compiler.results import broken, listed
from jaxsal.types import may_be_nan
from tests import toy

P = toy.params()
X = toy.images(5)
BROKEN = {**P, "dense": P["dense"].at[3, 1].set(jnp.nan)}
BLACK = np.where(np.isin(np.arange(5), (1, 3))[:, None, None, None], np.float32(0), X)


def normed(params, images):
    """x / norm(x): 0 / 0 on a black image."""
    return toy.apply(params, images / jnp.linalg.norm(images, axis=(1, 2), keepdims=True))


def rooted(params, images):
    """A finite score whose derivative at 0 is not."""
    return jnp.sqrt(jnp.square(images).sum((1, 2, 3)))[:, None] * params["bias"][None, :3]


def overflowing(params, images):
    return jnp.exp(100 * toy.apply(params, images)) * jnp.float32(1e30)


@pytest.fixture(scope="module")
def explain():
    return jaxsal.explainer(toy.apply, jaxsal.gradient)


def test_parameters_that_are_not_finite_are_named(explain) -> None:
    told = (
        r"maps: 5 of 5 images' are not finite \(images 0, 1, 2, 3, 4\); "
        r"logits: 5 of 5 .* params: 1 of 3 arrays hold .* \(array dense\)"
    )
    with pytest.warns(RuntimeWarning, match=told):
        maps = explain(BROKEN, X)
    assert np.isnan(maps).all()
    with pytest.warns(RuntimeWarning, match=told):
        found = explain.record(BROKEN, X)
    assert np.isnan(found.maps).all() and (found.targets == -1).all()
    with pytest.warns(RuntimeWarning, match="maps: 5 of 5 .* params: 1 of 3"):
        explain(BROKEN, X, 1)
    with pytest.raises(ValueError, match=r"targets: expected classes in \[0, 3\), got -1"):
        explain(P, X, found.targets)


@pytest.mark.parametrize("batch_size", ["auto", 2])
def test_black_images_under_a_norm_are_counted(batch_size) -> None:
    both = {"a": jaxsal.gradient, "b": jaxsal.input_x_gradient}
    explain = jaxsal.explainer(normed, both, batch_size=batch_size)
    told = r"maps: 2 of 5 .*\(images 1, 3\); logits: 2 of 5 .* one value everywhere.*images 1, 3"
    with pytest.warns(RuntimeWarning, match=told):
        found = explain.record(P, BLACK)
    bad = np.isin(np.arange(5), (1, 3))
    np.testing.assert_array_equal(np.asarray(found.targets) == -1, bad)
    for maps in found.maps.values():
        np.testing.assert_array_equal(np.isnan(maps).all((1, 2, 3)), bad)
    assert list(found.maps) == ["a", "b"]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (rooted, r"^maps: 2 of 5 images' are not finite \(images 1, 3\)\. Parameters are finite"),
        (overflowing, r"^maps: .* logits: .* Parameters and images are finite: .* overflow"),
    ],
)
def test_other_reasons_are_told_apart(model, told) -> None:
    with pytest.warns(RuntimeWarning, match=told):
        jaxsal.explainer(model, jaxsal.gradient)(P, BLACK)


def test_logits_are_looked_at_where_the_maps_hide_them() -> None:
    """A ReLU's derivative is 0 where its input is NaN: the map is finite, the score is not."""
    broken = {**P, "bias": P["bias"] * jnp.nan}
    explain = jaxsal.explainer(toy.apply, {"a": jaxsal.guided_backprop, "b": jaxsal.gradient})
    for targets in (1, "all"):
        with pytest.warns(RuntimeWarning, match=r"logits: 5 of 5 .*params: 1 of 3 arrays .*bias"):
            explain(broken, X, targets)


def test_finite_results_and_unchecked_calls_say_nothing(explain) -> None:
    assert np.isfinite(explain(P, BLACK)).all()
    unchecked = jaxsal.explainer(toy.apply, jaxsal.gradient, check=False)
    assert np.isnan(unchecked(BROKEN, X)).all()
    assert np.isnan(explain.dispatch(BROKEN, X).maps).all()
    assert np.isnan(jax.jit(lambda p, x: explain(p, x))(BROKEN, X)).all()


def test_results_over_several_devices_are_looked_at_where_they_lie(explain) -> None:
    mesh = jax.make_mesh((4,), ("batch",))
    images = jax.device_put(
        np.tile(BLACK, (2, 1, 1, 1))[:8],
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")),
    )
    told = r"maps: 3 of 8 .*\(images 1, 3, 6\)"
    with pytest.warns(RuntimeWarning, match=told):
        jaxsal.explainer(normed, jaxsal.gradient)(P, images)


def test_nan_logits_predict_no_class() -> None:
    rows = jnp.array([[1.0, jnp.nan, 0.0], [1.0, jnp.inf, 0.0], [0.0, 1.0, 2.0]])
    assert jax.vmap(OUTPUTS["logits"].predicted)(rows).tolist() == [-1, 1, 2]
    one = jnp.array([[jnp.nan], [1.0], [-1.0]])
    assert jax.vmap(OUTPUTS["logits"].predicted)(one).tolist() == [-1, 1, 0]


def total(score, image, map):
    """A metric that says nothing of what it is where it is not defined."""
    return jnp.sum(map * image) / jnp.sum(jnp.abs(image))


@may_be_nan
def share(score, image, map):
    """NaN for a black image."""
    return total(score, image, map)


def test_values_of_metrics_are_looked_at_where_a_nan_has_no_meaning() -> None:
    with pytest.warns(RuntimeWarning, match=r"^values: 2 of 5 .*\(images 1, 3\)"):
        jaxsal.evaluator(toy.apply, total)(P, BLACK, X, 0)
    assert np.isnan(jaxsal.evaluator(toy.apply, share)(P, BLACK, X, 0)).sum() == 2
    jaxsal.evaluator(toy.apply, functools.partial(jaxsal.metrics.entropy))(P, X, 0 * X, 0)
    with pytest.warns(RuntimeWarning, match=r"^values: 5 of 5 .* logits: 5 of 5"):
        assert np.isnan(jaxsal.evaluator(toy.apply, share)(BROKEN, X, X)).all()


def test_a_metric_of_broken_parameters_is_told_though_it_may_be_nan() -> None:
    deletion = functools.partial(jaxsal.METRICS["deletion"], steps=2)
    evaluate = jaxsal.evaluator(toy.apply, {"a": deletion, "b": total})
    with pytest.warns(RuntimeWarning, match=r"^values: 5 of 5 .*params: 1 of 3 arrays .*dense"):
        found = evaluate(BROKEN, X, X, 1)
    assert np.isnan(found["a"]).all() and np.isfinite(found["b"]).all()


def test_what_is_broken_is_listed_shortly() -> None:
    tree = {"a": {"b": jnp.ones(2)}, "c": [np.array([np.inf]), jnp.arange(3)]}
    assert broken(tree) == ["c/0"]
    assert listed("image", list(range(7))) == "images 0, 1, 2, 3, 4 and 2 more"
