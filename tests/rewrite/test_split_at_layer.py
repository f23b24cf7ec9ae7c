"""`head(value)` is the score, and both halves are ordinary functions of all they close over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P

from jaxsal.rewrite.interpreter import rewritten
from jaxsal.rewrite.split_at_layer import cut, split_at_layer
from tests.zoo import ZOO

IMAGE = jnp.asarray(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))


def _looped(weights, image):
    """Three turns of x -> sin(w x) + x, each tagged, after which the image comes in again."""

    @jax.checkpoint
    def turn(x, w):
        with jax.named_scope("turn"):
            out = checkpoint_name(jnp.sin(w * x), "tag") + x
        return out, x.sum()

    x, sums = jax.lax.scan(turn, image, weights, reverse=True)
    return (x * image).sum() + sums @ jnp.arange(1.0, 4.0)


WEIGHTS = np.array([0.5, -1.0, 2.0], np.float32)


def _unrolled(weights, image, turns):
    x = image
    for w in weights[::-1][:turns]:
        x = np.sin(w * x) + x
    return x


def _slope(turns):
    """Of the score by what so many turns give: from the last one back, each sums its input too."""
    gradient = IMAGE
    for done in reversed(range(turns, 3)):
        w, x = WEIGHTS[::-1][done], _unrolled(WEIGHTS, IMAGE, done)
        gradient = gradient * (1 + w * np.cos(w * x)) + (3 - done)
    return gradient


@pytest.mark.parametrize(("layer", "turns"), [("turn", 3), ("[2]/turn", 1), ("[0]/turn", 3)])
def test_a_layer_inside_scan_is_reached_by_unrolling_it(layer, turns):
    score = lambda image: _looped(WEIGHTS, image)  # noqa: E731
    value, head = cut(score, IMAGE, layer)
    np.testing.assert_allclose(value, _unrolled(WEIGHTS, IMAGE, turns), rtol=1e-5)
    np.testing.assert_allclose(head(value), score(IMAGE), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(head)(value), _slope(turns), rtol=1e-5, atol=1e-6)


def test_head_closes_over_skips_as_they_were():
    def score(image):
        x = checkpoint_name(jnp.sin(image), "tag")
        return (x * image).sum()

    value, head = cut(score, IMAGE, "tag")
    np.testing.assert_allclose(head(jnp.ones_like(value)), IMAGE.sum(), atol=1e-6)


def test_head_wants_the_layers_shape():
    _, head = cut(lambda image: checkpoint_name(image, "tag").sum(), IMAGE, "tag")
    with pytest.raises(ValueError, match=r"value: expected the layer's \(3, 4\), got \(4, 3\)"):
        head(jnp.ones((4, 3)))


def test_what_a_loop_reads_and_makes_nothing_of_is_computed():
    def score(image):
        rows = checkpoint_name(2 * image, "rows")
        step = lambda total, pair: (total + pair[0].sum(), None)  # noqa: E731
        return jax.lax.scan(step, jnp.zeros(()), (rows, jnp.sin(rows)))[0]

    value, head = cut(score, IMAGE, "rows")
    np.testing.assert_allclose(head(value), score(IMAGE), rtol=1e-6)


def test_both_halves_under_jit_vmap_and_grad_of_parameters():
    """The gradient of the score is the value's gradient pulled back, for parameters that vary."""

    def halves(weights, image):
        def recombined(weights, image):
            value, head = cut(lambda image: _looped(weights, image), image, "[1]/turn")
            return head(value)

        return jax.grad(recombined, argnums=(0, 1))(weights, image)

    many = jnp.stack([WEIGHTS, 2 * WEIGHTS])
    images = jnp.stack([IMAGE, IMAGE**2])
    found = jax.jit(jax.vmap(halves))(many, images)
    expected = jax.jit(jax.vmap(jax.grad(_looped, argnums=(0, 1))))(many, images)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_inside_shard_map_and_after_another_rewrite():
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    doubled = {"sin": lambda eqn, values, frame: [2 * jnp.sin(values[0])]}

    def gradient(image):
        score = rewritten(lambda image: _looped(WEIGHTS, image), doubled)
        value, head = cut(score, image, "[0]/turn")
        return jax.grad(head)(value)

    images = jnp.stack([IMAGE, IMAGE**2])
    sharded = jax.shard_map(
        jax.vmap(gradient), mesh=mesh, in_specs=P("i"), out_specs=P("i"), check_vma=True
    )
    np.testing.assert_allclose(jax.jit(sharded)(images), images, rtol=1e-6)


@pytest.mark.parametrize("name", ZOO)
def test_halves_of_models_nobody_prepared(name):
    animal = ZOO[name]()
    score, (image,) = animal.score(), animal.images(1)

    def compute(image):
        value, head = cut(score, image, animal.layer)
        return head(value), score(image), jax.grad(head)(value)

    whole, same, gradient = jax.jit(compute)(image)
    np.testing.assert_allclose(whole, same, rtol=1e-4, atol=1e-6)
    assert np.abs(gradient).max() > 0
    parts = jax.eval_shape(lambda image: split_at_layer(score, image, animal.layer).value, image)
    assert parts.shape == gradient.shape
