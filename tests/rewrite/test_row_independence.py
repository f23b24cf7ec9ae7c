"""A proof that images of a batch stay apart: none of a model that mixes them, all usual ones'."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.models import CNN
from jaxsal.rewrite.row_independence import ROWS, first_mixing, same_program
from tests import toy
from tests.zoo import ZOO

P = toy.params()


def program(apply, params, shape, count=ROWS):
    return jax.make_jaxpr(apply)(params, jnp.zeros((count, *shape), jnp.float32))


def mixed(apply, params=P, shape=toy.SHAPE):
    closed = program(apply, params, shape)
    return first_mixing(closed, closed.jaxpr.invars[-1])


class Normed(nn.Module):
    train: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.BatchNorm(use_running_average=not self.train)(nn.Conv(4, (3, 3))(x)))
        return nn.Dense(3)(x.mean((1, 2)))


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=False)(nn.Conv(4, (3, 3))(x).mean((1, 2))))


def linen(model, shape=toy.SHAPE, **options):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = model.init(keys, jnp.zeros((1, *shape)))

    def apply(variables, images):
        found = model.apply(variables, images, **options)
        return found[0] if isinstance(found, tuple) else found

    return apply, variables, shape


@pytest.mark.parametrize("name", ZOO)
def test_models_of_every_framework_are_proved(name) -> None:
    animal = ZOO[name]()
    assert mixed(animal.apply, animal.params, animal.shape) is None


def by_class_token(p, x):
    """Tokens merged with the batch and split again, an attention, a token of its own first."""
    tokens = x.reshape(-1, 8, 8)
    flat = jnp.tanh(tokens.reshape(-1, 8) @ p["dense"].reshape(-1, 8)[:8])
    tokens = flat.reshape(-1, 8, 8)
    token = jnp.broadcast_to(p["dense"][None, :1, :1], (x.shape[0], 1, 8))
    tokens = jnp.concatenate([token, tokens], 1)
    weights = jax.nn.softmax(jnp.einsum("bsc,btc->bst", tokens, tokens), -1)
    return jnp.einsum("bst,btc->bsc", weights, tokens)[:, 0, :3]


def in_a_loop(p, x):
    def turn(carry, kernel):
        return jnp.tanh(carry * kernel), carry.mean((1, 2, 3))

    last, means = lax.scan(turn, x, jnp.arange(1.0, 4.0))
    return means.T + last.mean((1, 2)) + toy.apply(p, last)


def in_a_while(p, x):
    x = lax.fori_loop(0, 3, lambda i, x: jnp.sin(x) + 1.0, x)
    return lax.cond(p["bias"][0] > 0, lambda x: toy.apply(p, x), lambda x: -toy.apply(p, x), x)


def sorted_and_picked(p, x):
    order = jnp.argsort(x, 1)
    picked = jnp.take_along_axis(x, order, 1)
    return toy.apply(p, picked.at[:, 0].set(0.0) + jnp.cumsum(x, 2))


APART = {
    "norm with running averages": linen(Normed()),
    "blur and pools": linen(CNN(classes=3, widths=(4, 4)), (16, 16, 1)),
    "vmap": (lambda p, x: jax.vmap(lambda i: toy.apply(p, i[None])[0])(x), P, toy.SHAPE),
    "lax.map": (lambda p, x: lax.map(lambda i: toy.apply(p, i[None])[0], x), P, toy.SHAPE),
    "remat": (jax.checkpoint(toy.apply), P, toy.SHAPE),
    "tokens": (by_class_token, P, toy.SHAPE),
    "scan": (in_a_loop, P, toy.SHAPE),
    "while and cond": (in_a_while, P, toy.SHAPE),
    "sort, gather and scatter": (sorted_and_picked, P, toy.SHAPE),
    "reversed twice": (lambda p, x: toy.apply(p, x[:, ::-1, ::-1]), P, toy.SHAPE),
    "a mean of batches that is not used": (
        lambda p, x: (toy.apply(p, x), x.mean(0))[0],
        P,
        toy.SHAPE,
    ),
    "one's own derivative": (
        lambda p, x: (
            jax.vmap(jax.grad(lambda i: toy.apply(p, i[None])[0, 0]))(x).sum((1, 2))
            * jnp.ones((1, 3))
        ),
        P,
        toy.SHAPE,
    ),
}


@pytest.mark.parametrize("name", APART)
def test_images_that_stay_apart_are_proved_to(name) -> None:
    """And the proof is right: what is beside an image changes no bit of its logits."""
    apply, params, shape = APART[name]
    assert mixed(apply, params, shape) is None
    images = toy.images(3, shape=shape)
    run = jax.jit(apply)
    one, other = run(params, images[:2]), run(params, images[[0, 2]])
    np.testing.assert_array_equal(one[0], other[0])
    assert (one[1] != other[1]).any()


def with_noise(p, x):
    return toy.apply(p, x + jax.random.normal(jax.random.key(0), x.shape))


def by_batches(p, x):
    def turn(carry, image):
        return carry + 1.0, toy.apply(p, image[None])[0] * carry

    return lax.scan(turn, 1.0, x)[1]


def by_its_end(p, x):
    return lax.while_loop(lambda y: y.max() < 9.0, lambda y: y + 1.0, toy.apply(p, x))


TOGETHER = {
    "batch statistics": (*linen(Normed(train=True), mutable=["batch_stats"]), "reduce_sum"),
    "dropout": (*linen(Dropped(), rngs={"dropout": jax.random.key(2)}), "select_n"),
    "the batch's mean": (
        lambda p, x: toy.apply(p, x - x.mean(0, keepdims=True)),
        P,
        toy.SHAPE,
        None,
    ),
    "the batch's order": (lambda p, x: toy.apply(p, x[::-1]), P, toy.SHAPE, "rev"),
    "the place in the batch": (
        lambda p, x: toy.apply(p, x) * jnp.arange(x.shape[0], dtype=jnp.float32)[:, None],
        P,
        toy.SHAPE,
        "mul",
    ),
    "noise for each image": (with_noise, P, toy.SHAPE, "add"),
    "one image for another": (
        lambda p, x: toy.apply(p, x) @ toy.apply(p, x).T @ toy.apply(p, x),
        P,
        toy.SHAPE,
        None,
    ),
    "attention over the batch": (
        lambda p, x: jax.nn.softmax(toy.apply(p, x), 0),
        P,
        toy.SHAPE,
        None,
    ),
    "a running sum": (lambda p, x: toy.apply(p, jnp.cumsum(x, 0)), P, toy.SHAPE, "cumsum"),
    "a sorted batch": (lambda p, x: toy.apply(p, jnp.sort(x, 0)), P, toy.SHAPE, "sort"),
    "only the first written": (
        lambda p, x: toy.apply(p, x.at[0].set(0.0)),
        P,
        toy.SHAPE,
        "scatter",
    ),
    "a loop that counts images": (by_batches, P, toy.SHAPE, "scan"),
    "a loop that the batch ends": (by_its_end, P, toy.SHAPE, "while"),
    "a branch that the batch takes": (
        lambda p, x: lax.cond(x.sum() > 0, lambda y: y, lambda y: -y, toy.apply(p, x)),
        P,
        toy.SHAPE,
        None,
    ),
    "mixed as digits": (
        lambda p, x: toy.apply(p, x.reshape(8, -1, 8, 1).transpose(1, 0, 2, 3)),
        P,
        toy.SHAPE,
        None,
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_images_that_meet_are_not_proved_apart(name) -> None:
    apply, params, shape, where = TOGETHER[name]
    found = mixed(apply, params, shape)
    assert found is not None
    if where is not None:
        assert found.eqn.primitive.name == where


SIZED = {
    "a number": lambda p, x: toy.apply(p, x) / x.shape[0],
    "a number beside others": lambda p, x: toy.apply(p, jnp.tanh(x * 2.0) * 1.0) * x.shape[0],
    "a sum of ones": lambda p, x: toy.apply(p, x) / jnp.ones(x.shape[0]).sum(),
    "the last of a row": lambda p, x: toy.apply(p, x) / jnp.arange(1.0, x.shape[0] + 1)[-1],
    "an array": lambda p, x: toy.apply(p, x) / np.array([[x.shape[0]]], np.float32),
}


@pytest.mark.parametrize("name", [*SIZED, "none"])
def test_a_program_is_written_with_the_batchs_size(name) -> None:
    model = SIZED.get(name, toy.apply)
    assert mixed(model) is None
    one, two = (program(model, P, toy.SHAPE, count) for count in (1, ROWS))
    assert same_program(one, two, -1) is (name == "none")


def test_an_equinox_model_in_training_mode_is_not_proved() -> None:
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(1, "batch", mode="batch")

    def apply(p, x):
        one = lambda i: norm(i.transpose(2, 0, 1), state)[0].transpose(1, 2, 0)  # noqa: E731
        return toy.apply(p, jax.vmap(one, axis_name="batch")(x))

    assert mixed(apply) is not None
