"""A batch's logits are the images' own, or an error says what to do."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as Spec

import jaxsal
from tests import toy

P = toy.params()
X = toy.images(4)


class Network(nn.Module):
    train: bool = False
    rate: float = 0.0

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.BatchNorm(use_running_average=not self.train)(nn.Conv(4, (3, 3))(x)))
        x = nn.Dropout(self.rate, deterministic=self.rate == 0)(x)
        return nn.Dense(3)(x.mean((1, 2)))


VARIABLES = Network().init(jax.random.key(0), jnp.zeros((1, *toy.SHAPE)))


def in_training(variables, images):
    return Network(train=True).apply(variables, images, mutable=["batch_stats"])[0]


def with_dropout(variables, images):
    keys = {"dropout": jax.random.key(1)}
    return Network(rate=0.5).apply(variables, images, rngs=keys)


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.norm, self.dense = nnx.BatchNorm(64, rngs=rngs), nnx.Linear(64, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.norm(x.reshape(x.shape[0], -1)))


def in_nnx_training(state, images):
    model = nnx.merge(nnx.graphdef(Nnx()), state)
    model.train()
    return model(images)


MEETING = {
    "batch statistics": (in_training, VARIABLES, "reduce_sum of .*BatchNorm_0.*running averages"),
    "batch statistics of NNX": (in_nnx_training, nnx.state(Nnx()), r"reduce_sum.*model\.eval\(\)"),
    "dropout": (with_dropout, VARIABLES, "select_n of .*Dropout_0.*draws random numbers"),
    "noise": (
        lambda p, x: toy.apply(p, x + jax.random.normal(jax.random.key(0), x.shape)),
        P,
        "add.*random numbers",
    ),
    "the batch's mean": (lambda p, x: centred(p, x), P, "reduce_sum"),
    "the batch's size": (lambda p, x: toy.apply(p, x) / x.shape[0], P, "x.shape"),
}


@pytest.mark.parametrize("name", MEETING)
def test_a_model_that_mixes_images_is_refused(name) -> None:
    apply, params, told = MEETING[name]
    explain = jaxsal.explainer(apply, jaxsal.gradient)
    for _ in range(2):  # and not only once
        with pytest.raises(ValueError, match=f"^apply: images together have other .*{told}"):
            explain(params, X, 0)


def test_metrics_are_held_to_it_too() -> None:
    evaluate = jaxsal.evaluator(centred, lambda score, image, map: score(image))
    with pytest.raises(ValueError, match=r"^apply: images together"):
        evaluate(P, X, X, 0)


def runs(apply):
    """A model that counts how often it is run or compiled for a batch of one or two."""
    seen = []

    def counted(params, images):
        seen.append(images.shape[0])
        return apply(params, images)

    return counted, seen


def symmetric(params, images):
    """Rows are turned about twice: nothing mixes, but no proof says so."""
    return toy.apply(params, images[::-1])[::-1]


def test_what_is_not_proved_is_tried_once() -> None:
    apply, seen = runs(symmetric)
    explain = jaxsal.explainer(apply, jaxsal.gradient)
    maps = explain(P, X, 0)
    toy.close(maps, jaxsal.explainer(toy.apply, jaxsal.gradient)(P, X, 0))
    before = len(seen)
    explain(P, X, 0)
    assert len(seen) == before and 2 in seen


MESH = jax.make_mesh((2, 2), ("data", "model"))
ONE = jax.make_mesh((1,), ("data",), devices=jax.devices()[3:4])


def on(mesh, *axes):
    return NamedSharding(mesh, Spec(*axes))


CHANNELS = on(MESH, None, None, None, "model")
PLACES = {
    "a kernel spread over a mesh": {"conv": CHANNELS},
    "on a mesh of one device": {"dense": on(ONE, "data")},
    "on several devices": dict(zip(P, map(SingleDeviceSharding, jax.devices()), strict=False)),
    "on a mesh and on a device": {"conv": CHANNELS, "bias": SingleDeviceSharding(jax.devices()[5])},
    "on two meshes": {"conv": CHANNELS, "bias": on(jax.make_mesh((4,), ("x",)))},
}


@pytest.mark.parametrize("current", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_it_is_tried_wherever_the_parameters_lie(place, current) -> None:
    params = P | {name: jax.device_put(P[name], there) for name, there in PLACES[place].items()}
    explain = jaxsal.explainer(symmetric, jaxsal.gradient)
    with jax.set_mesh(MESH) if current else contextlib.nullcontext():
        toy.close(explain(params, X, 0), jaxsal.explainer(toy.apply, jaxsal.gradient)(P, X, 0))
        with pytest.raises(ValueError, match=r"^apply: images together"):
            jaxsal.explainer(centred, jaxsal.gradient)(params, X, 0)


def centred(params, images):
    return toy.apply(params, images - images.mean(0, keepdims=True))


def test_images_that_are_alike_are_held_against_another() -> None:
    doubled = lambda p, x: toy.apply(p, x + 0 * x.mean(0, keepdims=True))  # noqa: E731
    alike = np.repeat(X[:1], 4, 0)
    jaxsal.explainer(doubled, jaxsal.gradient)(P, alike, 0)
    explain = jaxsal.explainer(lambda p, x: toy.apply(p, x) + x.var(0).sum(), jaxsal.gradient)
    for images in (alike, X):
        with pytest.raises(ValueError, match=r"^apply: images together"):
            explain(P, images, 0)
    jaxsal.explainer(centred, jaxsal.gradient)(P, X[:1], 0)  # one image is its batch


def test_what_shows_nothing_settles_nothing() -> None:
    """A head of zeros, then NaN: the third call's parameters are the first to tell."""
    explain = jaxsal.explainer(centred, jaxsal.gradient)
    explain({**P, "dense": 0 * P["dense"]}, X, 0)
    with pytest.warns(RuntimeWarning, match="are not finite"):
        explain({**P, "dense": np.nan * P["dense"]}, X, 0)
    with pytest.raises(ValueError, match=r"^apply: images together"):
        explain(P, X, 0)


def test_a_trial_compiles_once() -> None:
    explain = jaxsal.explainer(centred, jaxsal.gradient)
    silent = {**P, "dense": 0 * P["dense"]}
    explain(silent, X, 0)
    with toy.compilations() as made:
        explain(silent, X, 0)
    assert made.count == 0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_rounding_in_a_narrow_dtype_is_no_difference(dtype) -> None:
    maps = jaxsal.explainer(symmetric, jaxsal.gradient, dtype=dtype)(P, X, 0)
    assert np.isfinite(maps).all()
    with pytest.raises(ValueError, match=r"^apply: images together"):
        jaxsal.explainer(centred, jaxsal.gradient, dtype=dtype)(P, X, 0)


def unpacked(images):
    a, b, c, d = jnp.split(images, images.shape[0])
    return a, b, c, d


FIXED = {
    "reshaped to it": lambda p, x: toy.apply(p, x.reshape(4, 8, 8, 1)),
    "added to it": lambda p, x: toy.apply(p, x) + jnp.zeros((4, 3)),
    "unpacked": lambda p, x: jnp.concatenate([toy.apply(p, y) for y in unpacked(x)]),
}


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_batch_is_said_in_plain_words(name) -> None:
    explain = jaxsal.explainer(FIXED[name], jaxsal.gradient)
    with pytest.raises(ValueError, match=r"^apply: takes these 4 images together and no image al"):
        explain(P, X, 0)


def test_a_model_of_one_image_is_what_it_is() -> None:
    alone = lambda p, x: toy.apply(p, x.reshape(1, 8, 8, 1))  # noqa: E731
    maps = jaxsal.explainer(alone, jaxsal.gradient)(P, X, 0)
    toy.close(maps, jaxsal.explainer(toy.apply, jaxsal.gradient)(P, X, 0))
