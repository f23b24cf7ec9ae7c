"""All classes: some at a time, with the same maps, and what they share computed once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxsal
from jaxsal.compiler import batch_size as sizes
from jaxsal.compiler.map_classes import _width, map_classes
from tests import toy


@given(st.integers(1, 300), st.integers(1, 40))
def test_a_block_is_as_wide_as_it_may_be_and_divides_where_it_can(classes: int, most: int) -> None:
    most = min(most, classes)
    width = _width(classes, most)
    assert 2 * width >= most >= width
    assert -(-classes // width) <= 2 * -(-classes // most)
    assert all(classes % n for n in range(width + 1, most + 1)) or classes % width == 0


@pytest.mark.parametrize("width", [1, 3, 5, 7, 8])
def test_a_few_classes_at_a_time_are_all_of_them(width: int) -> None:
    weights = jnp.arange(35.0).reshape(7, 5)

    def fun(target: jax.Array, image: jax.Array) -> dict:
        wide = jnp.tanh(image) * 2
        return {
            "z": jax.grad(lambda x: jnp.sin(weights[target] @ x))(wide),
            "a": wide[0] + target.astype(jnp.float32),
        }

    image = jnp.linspace(-1.0, 1.0, 5)
    targets = jnp.arange(7)
    toy.close(
        map_classes(fun, targets, width, image), jax.vmap(fun, in_axes=(0, None))(targets, image)
    )


METHODS = {
    "gradient": jaxsal.gradient,
    "integrated": functools.partial(jaxsal.integrated_gradients, steps=2),
    "noisy": jaxsal.smoothgrad(jaxsal.gradient, samples=2),
    "cam": jaxsal.grad_cam,
    "occlusion": functools.partial(jaxsal.occlusion, window=4),
}


@pytest.mark.parametrize("rewrite", [True, False])
def test_no_map_depends_on_how_many_classes_are_explained_at_a_time(rewrite: bool) -> None:
    params, images, key = toy.params(classes=5), toy.images(3), jax.random.key(0)
    whole = jaxsal.explainer(toy.apply, METHODS, rewrite=rewrite)(params, images, "all", key=key)
    assert whole["gradient"].shape == (3, 5, *toy.SHAPE)
    explain = jaxsal.explainer(toy.apply, METHODS, rewrite=rewrite, batch_size=2)
    toy.close(explain(params, images, "all", key=key), whole)


def test_classes_are_explained_a_few_at_a_time_inside_a_trace() -> None:
    params, images = toy.params(classes=5), toy.images(3)
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, batch_size=2)
    inside = jax.jit(lambda x: explain(params, x, "all"))(images)
    toy.close(inside, explain(params, images, "all"))
    toy.close(inside[:, 3], explain(params, images, 3))


FORWARD = {
    "occlusion": (functools.partial(jaxsal.occlusion, window=4), 1),
    "over samples": (jaxsal.smoothgrad(jaxsal.rise, samples=2), 1),
    "gradient": (jaxsal.gradient, 5),
    "both": ({"a": jaxsal.gradient, "b": METHODS["occlusion"]}, 5),
}


@pytest.mark.parametrize("name", FORWARD)
def test_one_forward_pass_serves_all_classes(name: str) -> None:
    """What evaluates scores alone is not computed again for each few classes."""
    method, apart = FORWARD[name]
    params, images, key = toy.params(classes=5), toy.images(2), jax.random.key(0)
    explain = jaxsal.explainer(toy.apply, method, batch_size=2)
    call = explain._prepare(params, {"image": images}, "all", key)
    assert call.classes == apart
    assert explain._execute._batch_size.whole(call).class_chunk == (5 if apart == 1 else 2)
    assert explain._prepare(params, {"image": images}, 0, key).classes == 1


def test_automatically_all_classes_are_explained_at_once_where_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params, images = toy.params(classes=40), toy.images(2)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    maps = explain(params, images, "all")
    call = explain._prepare(params, {"image": images}, "all", None)
    assert explain._execute.plan(call)[0].class_chunk == 40
    monkeypatch.setattr(sizes, "TEMPORARIES_LIMIT", {"cpu": 2**15})
    tight = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    toy.close(tight(params, images, "all"), maps)
    assert tight._execute.plan(call)[0].class_chunk < 40


def test_classes_at_a_time_inside_shard_map_with_an_ensemble() -> None:
    """Parameters vary over the mesh, and the images do not."""
    ensemble = [toy.params(seed, classes=5) for seed in range(2)]
    params = jax.tree.map(lambda *xs: jnp.stack(xs), *ensemble)
    images = jnp.asarray(toy.images(2))
    explain = jaxsal.explainer(toy.apply, jaxsal.grad_cam, layer=-1, batch_size=2)
    mesh = jax.make_mesh((2,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("model")

    def member(params: dict, images: jax.Array) -> jax.Array:
        images = jax.lax.pcast(images, "model", to="varying")
        return explain(jax.tree.map(lambda x: x[0], params), images, "all")[None]

    mapped = jax.jit(
        jax.shard_map(
            member, mesh=mesh, in_specs=(spec, jax.sharding.PartitionSpec()), out_specs=spec
        )
    )
    expected = jnp.stack([explain(each, images, "all") for each in ensemble])
    toy.close(mapped(params, images), expected)


def test_the_maps_of_a_few_classes_at_a_time_are_differentiable() -> None:
    params, images = toy.params(classes=5), toy.images(2)

    def loss(params: dict, batch_size: object) -> jax.Array:
        explain = jaxsal.explainer(toy.apply, jaxsal.input_x_gradient, batch_size=batch_size)
        return jnp.sum(jnp.square(explain(params, images, "all")))

    toy.close(jax.grad(loss)(params, 2), jax.grad(loss)(params, "auto"), 1e-4)


def test_an_evaluator_gives_each_class_its_own_map() -> None:
    params, images, maps = toy.params(classes=5), toy.images(2), np.ones((2, 5, *toy.SHAPE))
    maps = (maps * np.arange(5)[:, None, None, None]).astype(np.float32)

    def metric(score: jaxsal.ScoreFn, image: jax.Array, map: jax.Array) -> jax.Array:
        return score(image) + jnp.mean(map)

    expected = np.asarray(toy.apply(params, images)) + np.arange(5)
    for batch_size in (2, "auto"):
        evaluate = jaxsal.evaluator(toy.apply, metric, batch_size=batch_size)
        toy.close(evaluate(params, images, maps, "all"), expected)


def test_the_forward_pass_is_computed_once_for_all_blocks() -> None:
    """No loop over classes holds a convolution of the image: two stand outside, none is inside."""
    params, images = toy.params(classes=6), toy.images(1)
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, batch_size=2, rewrite=False)
    lowered = explain.lower(params, images, "all").as_text()
    assert lowered.count("stablehlo.while") >= 1
    assert lowered.count("stablehlo.convolution") == 2  # forward, and its transpose in the loop


def linear(params: jax.Array, images: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(images @ params["first"])
    return jnp.mean(hidden, (1, 2)) @ params["last"]


@pytest.mark.parametrize("method", [jaxsal.gradient, METHODS["integrated"]])
def test_memory_is_bounded_by_the_classes_at_a_time(method: object) -> None:
    """1000 classes at 112x112: beside the maps no more than one block of classes takes."""
    rng = np.random.default_rng(0)
    params = {
        "first": rng.normal(size=(1, 4)).astype(np.float32),
        "last": rng.normal(size=(4, 1000)).astype(np.float32),
    }
    images = jax.ShapeDtypeStruct((1, 112, 112, 1), jnp.float32)
    explain = jaxsal.explainer(linear, method, batch_size=8)

    def temporaries(params: dict) -> tuple[int, int]:
        analysis = explain.lower(params, images, "all").compile().memory_analysis()
        return analysis.temp_size_in_bytes, analysis.output_size_in_bytes

    block, own = temporaries(params | {"last": params["last"][:, :8]})
    every, maps = temporaries(params)
    assert maps == 125 * own == 1000 * 112 * 112 * 4
    assert every < 1.5 * block + 2**16
