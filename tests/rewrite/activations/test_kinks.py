"""Which activations keep their own derivative beside ReLUs and are told of, and which are not."""

import inspect
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.backward import backward

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)
W = np.linspace(-1, 2, 48, dtype=np.float32).reshape(6, 8)
SCALE = np.linspace(0.5, 1, 8, dtype=np.float32)
ROW = SCALE[None]
EVEN = (np.arange(8) % 2 == 0)[None]


@jax.custom_jvp
def surrogate(x):
    return jnp.maximum(x, 0)


surrogate.defjvp(lambda x, dx: (surrogate(*x), jnp.where(x[0] > 0, 0.5, 0.1) * dx[0]))


@jax.jit
def relu(x):
    """A leaky one, in spite of its name."""
    return jnp.where(x > 0, x, 0.1 * x)


TOLD = {
    "leaky_relu": jax.nn.leaky_relu,
    "called relu": relu,
    "PReLU": lambda x: jnp.where(x >= 0, x, ROW * x),
    "Keras's PReLU": lambda x: jax.nn.relu(x) - ROW * jax.nn.relu(-x),
    "max(x, 0.1 x)": lambda x: jnp.maximum(x, 0.1 * x),
    "0.6 x + 0.4 |x|": lambda x: 0.6 * x + 0.4 * jnp.abs(x),
    "two masks": lambda x: x * (x > 0).astype(x.dtype) + 0.1 * x * (x <= 0).astype(x.dtype),
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "hard_tanh": jax.nn.hard_tanh,
    "clip": lambda x: jnp.clip(x, -1, 1),
    "a learnt bound": lambda x: jnp.clip(x, 0, SCALE[3] * jnp.ones_like(ROW) * ROW),
    "hard_swish": jax.nn.hard_swish,
    "hard_swish inline": lambda x: x * jax.nn.relu6(x + 3) / 6,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_sigmoid inline": lambda x: jax.nn.relu6(x + 3) / 6,
    "abs": jnp.abs,
    "soft threshold": lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0),
    "hard threshold": lambda x: jnp.where(x > 0.5, x, 0),
    "a learnt zero": lambda x: jnp.maximum(x, ROW - 0.5),
    "in a scan": lambda x: lax.scan(lambda c, _: (jax.nn.leaky_relu(c), None), x, None, 2)[0],
    "in remat": jax.checkpoint(jax.nn.leaky_relu),
    "jnp.select": lambda x: jnp.select([x > 0], [x], 0.0),
    "jnp.piecewise": lambda x: jnp.piecewise(x, [x > 0], [lambda x: x, 0.0]),
    "the maximum of a stack": lambda x: jnp.max(jnp.stack([x, jnp.zeros_like(x)]), 0),
    "a comparison in half precision": lambda x: jnp.where(x.astype(jnp.float16) > 0, x, 0),
    "a derivative with cases": surrogate,
}
QUIET = {
    name: getattr(jax.nn, name)
    for name in ("gelu", "silu", "softplus", "mish", "soft_sign", "log_sigmoid", "squareplus")
} | {
    "softmax": jax.nn.softmax,
    "log-sum-exp": lambda x: x - jax.nn.logsumexp(x, -1, keepdims=True),
    "a masked softmax": lambda x: jax.nn.softmax(jnp.where(EVEN, x, -jnp.inf)),
    "a constant mask": lambda x: jnp.where(EVEN, x, 0.0),
    "a choice of channels": lambda x: jnp.where(EVEN, jax.nn.relu(x), x),
    "another value's mask": lambda x: jnp.where((x.sum(-1, keepdims=True) > 0) & EVEN, x, 0.0),
    "the largest": lambda x: jnp.where(x >= lax.top_k(x, 3)[0][:, -1:], x, 0),
    "a max-pool by slices": lambda x: jnp.maximum(x[:, ::2], x[:, 1::2]).repeat(2, 1),
    "a max-pool": lambda x: nn.max_pool(x[..., None], (2,), (1,), "SAME")[..., 0],
    "l2 norm": lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12),
    "l1 norm": lambda x: x / (1e-6 + jnp.abs(x).sum(-1, keepdims=True)),
    "a guarded deviation": lambda x: x / jnp.where(x.std() > 1e-3, x.std(), 1.0),
    "a guarded logarithm": lambda x: jnp.log(jnp.clip(jax.nn.softmax(x), 1e-6, 1)),
    "infinite bounds": lambda x: jnp.clip(x, -jnp.inf, jnp.inf),
    "nan_to_num": jnp.nan_to_num,
    "straight through": lambda x: x + lax.stop_gradient(jnp.clip(jnp.round(x), -1, 1) - x),
    "a gate": lambda x: x * jax.nn.sigmoid(x.mean(-1, keepdims=True)),
    "LayerNorm": lambda x: nn.LayerNorm().apply({"params": {"scale": SCALE, "bias": SCALE}}, x),
    "GroupNorm": lambda x: nn.GroupNorm(2).apply({"params": {"scale": SCALE, "bias": SCALE}}, x),
    "attention": lambda x: jax.nn.dot_product_attention(*[x[None, :, None]] * 3, is_causal=True)[
        0, :, 0
    ],
    "relu6": jax.nn.relu6,
    "relu6 by minimum": lambda x: jnp.minimum(jax.nn.relu(x), 6),
    "relu6, the upper first": lambda x: jnp.maximum(jnp.minimum(x, 6), 0),
    "a ReLU of ReLUs": lambda x: jax.nn.relu(jnp.where(x > 0, x, 0) * ROW - 1),
}


def _traced(activation):
    """Traces a network of a ReLU and an activation, and returns the warnings' texts."""
    score = lambda x: (activation(jax.nn.relu(jnp.clip(x, -9, 9) @ W[:, :6]) @ W) @ SCALE).sum()  # noqa: E731
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        jax.eval_shape(backward(score, lambda g, positive: g), X)
    return [str(each.message) for each in told]


@pytest.mark.parametrize("name", TOLD)
def test_a_kink_beside_replaced_relus_is_told_of_where_it_stands(name):
    (told,) = _traced(TOLD[name])
    assert "1 others keep their own" in told
    assert " at test_kinks.py:" in told


@pytest.mark.parametrize("name", QUIET)
def test_what_has_no_kink_of_its_own_is_not_told_of(name):
    assert _traced(QUIET[name]) == []


def test_places_are_the_lines_of_the_calls_each_with_its_count():
    """JAX traces `leaky_relu` once for both: the second call has a line of its own."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.abs(nn.leaky_relu(nn.Dense(8)(x)) @ np.eye(8, dtype=np.float32))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = Block()(nn.relu(Block()(x)))
            for _ in range(3):
                x = nn.elu(nn.Dense(8)(x))
            return nn.leaky_relu(nn.Dense(8)(x))

    net = Net()
    params = net.init(jax.random.key(0), X)
    start = inspect.getsourcelines(test_places_are_the_lines_of_the_calls_each_with_its_count)[1]
    leaky, elu, last = (f"at test_kinks.py:{start + after}" for after in (6, 13, 14))
    with pytest.warns(UserWarning) as told:
        jax.eval_shape(backward(lambda x: net.apply(params, x).sum(), lambda g, _: g), X)
    (text,) = (str(each.message) for each in told)
    assert text.count("where f32[2,8] in Net/Block_") == 2
    assert f"where f32[2,8] in Net/Block_0 {leaky};" in text
    assert f"where f32[2,8] in Net {elu} (3 times)" in text
    assert f"where f32[2,8] in Net {last}" in text
    assert text.count("abs f32[2,8]") == 2 and "8 others keep" in text
