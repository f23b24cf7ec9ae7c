"""What sums up on networks drawn at random: DeepLIFT, FullGrad's parts, LRP without biases."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsal

SHAPE = (7, 6, 2)
WIDTH = 4
LAYOUT = ("NHWC", "HWIO", "NHWC")
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "exact gelu": partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "leaky relu": jax.nn.leaky_relu,
    "by where": lambda x: jnp.where(x > 0, x, jnp.expm1(x)),
}
PADDINGS = st.sampled_from(["SAME", "VALID"])
SMALL = st.integers(1, 2)

CONV = st.tuples(
    st.just("conv"), st.integers(1, 3), SMALL, SMALL, PADDINGS, st.sampled_from([1, 2])
)
POOL = st.tuples(st.sampled_from(["max", "mean"]), st.integers(2, 3), SMALL, PADDINGS)
ACTIVATION = st.tuples(st.just("activation"), st.sampled_from(sorted(ACTIVATIONS)))
NORM = st.tuples(st.sampled_from(["batch norm", "layer norm"]))
GATE = st.tuples(st.sampled_from(["gate", "residual", "attention"]))
BODY = st.lists(st.one_of(CONV, POOL, ACTIVATION, NORM, GATE), min_size=3, max_size=6)
HEAD = st.sampled_from(["flatten", "mean", "einsum", "max"])


class Network:
    """A network of such layers; parameters are drawn as they are asked for, biases scaled."""

    def __init__(self, layers, head, seed):
        self.layers, self.head, self.seed = layers, head, seed

    def __call__(self, image, biases):
        self.draw = np.random.default_rng(self.seed)
        self.biases = biases
        hidden = self.convolution(image[None], 3, 1, 1, "SAME", 1)
        for kind, *options in self.layers:
            hidden = getattr(self, kind.replace(" ", "_"))(hidden, *options)
        return self.out(hidden)

    def normal(self, *shape):
        return jnp.asarray(self.draw.normal(size=shape), jnp.float32)

    def bias(self, rank):
        return self.biases * self.normal(WIDTH).reshape(*(1,) * (rank - 1), WIDTH)

    def convolution(self, x, size, stride, dilation, padding, groups):
        if size * dilation > min(x.shape[1:3]):
            return x
        kernel = self.normal(size, size, x.shape[-1] // groups, WIDTH) / size
        options = {"rhs_dilation": (dilation,) * 2, "feature_group_count": groups}
        return self.bias(4) + jax.lax.conv_general_dilated(
            x, kernel, (stride,) * 2, padding, dimension_numbers=LAYOUT, **options
        )

    conv = convolution

    def pool(self, x, init, reduce, window, stride, padding):
        if window > min(x.shape[1:3]):
            return x
        return jax.lax.reduce_window(
            x, init, reduce, (1, window, window, 1), (1, stride, stride, 1), padding
        )

    def max(self, x, *options):
        return self.pool(x, -jnp.inf, jax.lax.max, *options)

    def mean(self, x, window, *options):
        return self.pool(x, 0.0, jax.lax.add, window, *options) / window**2

    def activation(self, x, name):
        return ACTIVATIONS[name](x)

    def batch_norm(self, x):
        mean, scale = self.bias(4), jnp.exp(self.normal(WIDTH))[None, None, None]
        return (x - mean) * scale + self.bias(4)

    def layer_norm(self, x):
        mean = x.mean(-1, keepdims=True)
        variance = jnp.square(x - mean).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 0.1)

    def gate(self, x):
        squeezed = x.mean((1, 2)) @ self.normal(WIDTH, WIDTH)
        return x * jax.nn.sigmoid(squeezed)[:, None, None]

    def residual(self, x):
        return jax.nn.relu(self.convolution(x, 1, 1, 1, "SAME", 1)) + x

    def attention(self, x):
        tokens = x.reshape(1, -1, WIDTH)
        q, k, v = (tokens @ self.normal(WIDTH, WIDTH) / 2 for _ in range(3))
        weights = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k))
        return jnp.einsum("bqk,bkd->bqd", weights, v).reshape(x.shape)

    def out(self, x):
        if self.head == "einsum":
            return jnp.einsum("bhwc,hwc->", x, self.normal(*x.shape[1:]))
        if self.head == "flatten":
            x = x.reshape(1, -1)
        else:
            x = x.mean((1, 2)) if self.head == "mean" else x.max((1, 2))
        return (x @ self.normal(x.shape[-1], 3))[0, 1]


def explained(network, image, baseline, biases):
    score = partial(network, biases=biases)
    found = {
        "deep_lift": jaxsal.deep_lift(score, image, baseline=baseline),
        "full_grad": jaxsal.full_gradients(score, image),
        "lrp": jaxsal.lrp(score, image, composite="epsilon", epsilon=1e-9, stabilizer=1e-9),
    }
    return found, score(image), score(baseline)


def total(tree):
    """The sum of all values, and what rounding makes of one as large as they are."""
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(float)
    return values.sum(), 1e-5 * (np.abs(values).sum() + 1e-3)


@settings(max_examples=8)
@given(layers=BODY, head=HEAD, seed=st.integers(0, 1000))
def test_maps_sum_up(layers, head, seed):
    network = Network(layers, head, seed)
    image, baseline = jax.random.normal(jax.random.key(seed), (2, *SHAPE))
    run = jax.jit(partial(explained, network))
    for biases in (1.0, 0.0):
        found, here, there = jax.device_get(run(image, baseline, biases))
        for name, expected in {"deep_lift": here - there, "full_grad": here}.items():
            value, rounding = total(found[name])
            assert abs(value - expected) <= rounding, (name, value, expected)
    value, rounding = total(found["lrp"])
    assert abs(value - here) <= 100 * rounding, ("lrp", value, here)
