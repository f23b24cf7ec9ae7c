"""A network's first stage as one convolution with the pool's stride, and its derivative."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.models import CNN
from jaxsal.rewrite.optimize import count_rewrites, optimize

FORWARD, BACKWARD = ONLY = ("strided_conv_pool", "strided_conv_pool_gradient")


class Net(nn.Module):
    """A convolution, perhaps with what is done to each channel, ReLU, a pool, and a head."""

    kernel: tuple[int, int] = (3, 3)
    padding: object = "SAME"
    window: tuple[int, int] = (2, 2)
    stride: tuple[int, int] | None = None
    conv_stride: int = 1
    features: int = 4
    norm: bool = False
    act: object = nn.relu
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, x):
        conv = nn.Conv(
            self.features, self.kernel, self.conv_stride, padding=self.padding, dtype=self.dtype
        )
        x = conv(x)
        if self.norm:
            x = nn.BatchNorm(use_running_average=True, dtype=self.dtype)(x)
        x = nn.max_pool(self.act(x), self.window, self.stride or self.window)
        weights = jnp.arange(1.0, 1 + x[0].size).reshape(1, *x.shape[1:]) / x[0].size
        return jnp.tanh((x.astype(jnp.float32) * weights).mean((1, 2)))[..., :2]


def explained(model, shape):
    """The gradient of a score, its parameters and an image with ties: half of it is black."""
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.normal(size=shape).clip(0), jnp.float32)
    params = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype) ** 2 * 0.1 + 0.05,
        jax.eval_shape(model.init, jax.random.key(0), image[None]),
    )

    def gradient(params, image):
        return jax.grad(lambda image: model.apply(params, image[None])[0, 1])(image)

    return gradient, params, image


REPLACED = {
    "the study's first stage": (Net(), (8, 8, 1)),
    "odd lengths": (Net(), (9, 7, 1)),
    "no padding, a long kernel": (Net(kernel=(4, 2), padding="VALID"), (12, 9, 1)),
    "more padding before, and less than none": (Net(padding=((3, -1), (-1, 4))), (9, 8, 1)),
    "windows of three by one": (Net(window=(3, 1)), (7, 6, 1)),
    "three channels": (Net(kernel=(1, 3)), (6, 6, 3)),
    "a batch norm": (Net(norm=True), (8, 8, 1)),
    "bfloat16": (Net(dtype=jnp.bfloat16), (8, 8, 1)),
}


@pytest.mark.parametrize("name", REPLACED)
def test_equals_jax(name):
    model, shape = REPLACED[name]
    gradient, params, image = explained(model, shape)
    assert count_rewrites(gradient, params, image, only=ONLY) == dict.fromkeys(ONLY, 1)
    rewritten = optimize(gradient, only=ONLY)
    batch = jnp.stack([image, -image, 0 * image])
    expected, found = (
        jax.jit(jax.vmap(f, in_axes=(None, 0)))(params, batch) for f in (gradient, rewritten)
    )
    share = 2e-2 if model.dtype == jnp.bfloat16 else 1e-5
    np.testing.assert_allclose(found, expected, atol=share * float(jnp.abs(expected).max()))
    assert jnp.abs(expected[0]).max() > 0


LEFT = {
    "windows that overlap": (Net(window=(3, 3), stride=(2, 2)), (8, 8, 1)),
    "a convolution with a stride": (Net(conv_stride=2), (8, 8, 1)),
    "many channels": (Net(), (8, 8, 4)),
    "another activation": (Net(act=nn.leaky_relu), (8, 8, 1)),
}


@pytest.mark.parametrize("name", LEFT)
def test_other_stages_are_left_alone(name):
    gradient, params, image = explained(*LEFT[name])
    assert not any(count_rewrites(gradient, params, image, only=ONLY).values())


def test_what_takes_no_derivative_is_left_alone():
    model, shape = REPLACED["the study's first stage"]
    _, params, image = explained(model, shape)
    logits = functools.partial(model.apply, params)
    assert not any(count_rewrites(logits, image[None], only=ONLY).values())


def test_of_a_network_only_the_first_stage_is_replaced():
    model = CNN(classes=2, widths=(4, 8), norm=False)
    gradient, params, image = explained(model, (16, 16, 1))
    assert count_rewrites(gradient, params, image, only=ONLY) == dict.fromkeys(ONLY, 1)


def test_a_stage_whose_values_are_read_elsewhere_is_left_alone():
    gradient, params, image = explained(*REPLACED["odd lengths"])

    def both(params, image):
        return gradient(params, image), jaxsal.guided_backprop(
            lambda image: Net().apply(params, image[None])[0, 1], image
        )

    assert not any(count_rewrites(both, params, image, only=ONLY).values())


def test_the_derivative_alone_is_left_alone():
    gradient, params, image = explained(*REPLACED["odd lengths"])
    assert not any(count_rewrites(gradient, params, image, only=[BACKWARD]).values())


def test_its_own_derivative_is_jaxs():
    gradient, params, image = explained(*REPLACED["odd lengths"])

    def total(gradient, image):
        return jnp.sum(jnp.sin(3 * gradient(params, image)))

    expected, found = (
        jax.jit(jax.grad(functools.partial(total, f)))(image)
        for f in (gradient, optimize(gradient, only=ONLY))
    )
    assert jnp.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_the_terms_of_a_sum_are_rounded_once():
    """In bfloat16 the rewritten gradient is no further from the exact one than JAX's own."""
    model, shape = Net(dtype=jnp.bfloat16, features=32), (16, 16, 1)
    _, params, image = explained(model, shape)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=(1, 8, 8, 32)), jnp.bfloat16)
    kernel = params["params"]["Conv_0"]["kernel"]

    def back(kernel, cotangent, image):
        def pooled(image):
            order = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=order)
            return nn.max_pool(nn.relu(y), (2, 2), (2, 2))

        return jax.vjp(pooled, image[None])[1](cotangent)[0]

    narrow = [x.astype(jnp.bfloat16) for x in (kernel, cotangent, image)]
    exact = jax.jit(back)(*(x.astype(jnp.float32) for x in narrow))
    own, found = (jax.jit(f)(*narrow) for f in (back, optimize(back, only=ONLY)))
    assert count_rewrites(back, *narrow, only=ONLY) == dict.fromkeys(ONLY, 1)
    off = [jnp.abs(x.astype(jnp.float32) - exact).mean() for x in (own, found)]
    assert off[1] <= 1.1 * off[0]


def test_a_nan_stays_a_nan_and_is_not_hidden():
    model, shape = REPLACED["the study's first stage"]
    _, params, image = explained(model, shape)

    def value(image):
        return jax.value_and_grad(lambda image: model.apply(params, image[None])[0, 1])(image)[0]

    assert jnp.isnan(optimize(value, only=ONLY)(image.at[3, 3].set(jnp.nan)))
