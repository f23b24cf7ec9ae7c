"""Which operations are ReLUs, however they were written, and what happens to their derivative."""

from contextlib import nullcontext

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.rewrite.backward import backward
from jaxsal.rewrite.notes import collect_notes

X = np.array([[-2.0, -0.5, 0.0], [0.5, 3.0, 7.0]], np.float32)
WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)
SEVENFOLD = lambda g, positive: jnp.where(positive, 7 * g, jnp.zeros_like(g))  # noqa: E731


@jax.jit
def relu(x):
    """By name, though it is written with a `where`."""
    return jnp.where(x > 0, x, 0)


def _scanned(x):
    return jax.lax.scan(lambda c, zero: (jnp.maximum(c, zero), None), x, jnp.zeros(2))[0]


def _carried_zero(x):
    (out, _), _ = jax.lax.scan(lambda c, _: ((jnp.maximum(*c), c[1]), None), (x, 0.0), length=2)
    return out


def _branch(x):
    return jax.lax.cond(x.sum() > -9, jax.nn.relu, lambda x: x, x)


@jax.custom_jvp
def rectified(x):
    """A ReLU by another name, with its own derivative."""
    return jnp.maximum(x, 0.0)


rectified.defjvp(lambda x, dx: (rectified(*x), jnp.where(x[0] > 0, dx[0], 0)))


@jax.custom_vjp
def masked_back(x):
    return x * (x > 0).astype(x.dtype)


masked_back.defvjp(lambda x: (masked_back(x), x > 0), lambda above, g: (above.astype(g.dtype) * g,))


def _by_number(x):
    """A choice for each number, under the user's `vmap`."""
    one = lambda x: jax.lax.cond(x > 0, lambda x: x, lambda x: 0.0 * x, x)  # noqa: E731
    return jax.vmap(jax.vmap(one))(x)


RELUS = {
    "nn.relu": nn.relu,
    "jitted nn.relu": jax.jit(jax.nn.relu),
    "a jitted function called relu": relu,
    "maximum(x, 0)": lambda x: jnp.maximum(x, 0),
    "maximum(0, x)": lambda x: jnp.maximum(0.0, x),
    "maximum(x, zeros)": lambda x: jnp.maximum(x, jnp.zeros_like(x)),
    "clip(x, 0)": lambda x: jnp.clip(x, 0),
    "clip(x, 0, inf)": lambda x: jnp.clip(x, 0, jnp.inf),
    "where(x > 0, x, 0)": lambda x: jnp.where(x > 0, x, 0),
    "where(x >= 0, x, 0)": lambda x: jnp.where(x >= 0, x, jnp.zeros_like(x)),
    "where(x < 0, 0, x)": lambda x: jnp.where(x < 0, 0, x),
    "where(0 < x, x, 0)": lambda x: jnp.where(0 < x, x, 0),
    "where(not x <= 0, x, 0)": lambda x: jnp.where(~(x <= 0), x, 0),
    "lax.select": lambda x: jax.lax.select(x > 0, x, jnp.zeros_like(x)),
    "x (x > 0)": lambda x: x * (x > 0).astype(x.dtype),
    "x (x > 0), stopped": lambda x: x * (jax.lax.stop_gradient(x) > 0).astype(x.dtype),
    "(x + |x|) / 2": lambda x: (x + jnp.abs(x)) / 2,
    "0.5 (x + |x|)": lambda x: 0.5 * (x + abs(x)),
    "0.5 x + 0.5 |x|": lambda x: 0.5 * x + 0.5 * jnp.abs(x),
    "x (sign(x) + 1) / 2": lambda x: x * (jnp.sign(x) + 1) / 2,
    "x heaviside(x)": lambda x: x * jnp.heaviside(x, 0.0),
    "lax.max": lambda x: jax.lax.max(x, jnp.zeros_like(x)),
    "maximum(x, 0 x)": lambda x: jnp.maximum(x, 0 * x),
    "fmax(x, 0)": lambda x: jnp.fmax(x, 0),
    "clip(x, 0, None)": lambda x: jnp.clip(x, 0, None),
    "-min(-x, 0)": lambda x: -jnp.minimum(-x, 0),
    "x - min(x, 0)": lambda x: x - jnp.minimum(x, 0),
    "relu(x) (x > 0)": lambda x: jax.nn.relu(x) * (x > 0).astype(x.dtype),
    "nan_to_num(where)": lambda x: jnp.nan_to_num(jnp.where(x > 0, x, 0)),
    "three times a third": lambda x: 3 * jnp.where(x > 0, x / 3, 0),
    "computed twice": lambda x: jnp.where(1.0 * x.T > 0, 1.0 * x.T, 0).T,
    "where in a scan": lambda x: jax.lax.scan(lambda c, r: (c, jnp.where(r > 0, r, 0)), 0, x)[1],
    "where in remat": jax.checkpoint(lambda x: jnp.where(x > 0, x, 0)),
    "where for one number": _by_number,
    "a custom_jvp of another name": rectified,
    "a custom_vjp of another name": masked_back,
    "vmap": jax.vmap(jax.nn.relu),
    "remat": jax.checkpoint(jax.nn.relu),
    "zero as a sequence of a scan": _scanned,
    "zero as the carry of a scan": _carried_zero,
    "cond": _branch,
    "while reads it": lambda x: jax.nn.relu(x) * jax.lax.while_loop(lambda i: i < 1, jnp.exp, 1.0),
}
RELU6S = {
    "nn.relu6": nn.relu6,
    "clip(x, 0, 6)": lambda x: jnp.clip(x, 0, 6),
    "minimum(relu)": lambda x: jnp.minimum(jax.nn.relu(x), 6.0),
    "maximum(minimum)": lambda x: jnp.maximum(jnp.minimum(x, 6.0), 0),
    "lax.clamp": lambda x: jax.lax.clamp(0.0, x, 6.0),
    "where(where)": lambda x: jnp.where(x > 6, 6, jnp.where(x > 0, x, 0)),
}
NO_RELUS = {
    "clip to [0, 1]": (lambda x: jnp.clip(x, 0, 1), "clips to [0, 1]"),
    "clamp to [0, 1]": (lambda x: jax.lax.clamp(0.0, x, 1.0), "clips to [0, 1]"),
    "clip of a ReLU": (lambda x: jnp.clip(jax.nn.relu(x), 0, 2), "clips to [0, 2]"),
    "upper first": (lambda x: jnp.maximum(jnp.minimum(x, 2.0), 0), "clips to [0, 2]"),
    "standard deviation": (lambda x: jnp.sqrt(jnp.maximum(x.var(), 0) + 1e-6), "normalises"),
    "norm": (lambda x: x / (1 + jnp.maximum(x * x, 0)), "normalises"),
    "power": (lambda x: jnp.maximum(x.var(), 0) ** -0.5, "normalises"),
    "logarithm": (lambda x: jnp.log(jnp.maximum(x, 0) + 1), "normalises"),
    "clip to [0, 1] by where": (
        lambda x: jnp.where(x > 1, 1, jnp.where(x > 0, x, 0)),
        "clips to [0, 1]",
    ),
    "norm by sums": (lambda x: x / (1 + jnp.sum(jnp.maximum(x, 0))), "normalises"),
    "unknown bound": (lambda x: jnp.maximum(x, x.shape[0] * 0.5), "none at all"),
    "of no image": (lambda x: x * jax.nn.relu(jnp.float32(2)), "none at all"),
    "integers": (lambda x: x * jnp.maximum((x > 1).astype(int), 0).astype(float), "none at all"),
    "dead": (lambda x: (jax.nn.relu(x), x)[1], "none at all"),
    "sealed": (
        jax.custom_jvp(lambda x: jnp.maximum(x, 0.0) * 2),
        "derivative of its own",
    ),
}
NO_RELUS["sealed"][0].defjvp(lambda x, dx: (x[0] * 2, dx[0] * 2))

SLOPES = jnp.array([0.1, 0.2, -0.3])[None]
LARGER = {
    "Keras's PReLU": lambda x: jax.nn.relu(x) - SLOPES * jax.nn.relu(-x),
    "max(x, 0) + a min(x, 0)": lambda x: jnp.maximum(x, 0) + SLOPES * jnp.minimum(x, 0),
    "0.9 relu(x) + 0.1 x": lambda x: 0.9 * jax.nn.relu(x) + 0.1 * x,
    "CELU": lambda x: jnp.maximum(x, 0) + jnp.expm1(jnp.minimum(x, 0)),
    "softplus": lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    "hard_swish": lambda x: x * jax.nn.relu6(x + 3) / 6,
    "hard_swish by clip": lambda x: x * (jnp.clip(x + 3, 0, 6) / 6),
    "hard_sigmoid": lambda x: jax.nn.relu6(x + 3) / 6,
    "hard_sigmoid by minimum": lambda x: jnp.minimum(jnp.maximum(x + 3, 0), 6) / 6,
    "soft threshold": lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 1, 0),
}
NO_RELUS |= {name: (fun, "more than a ReLU") for name, fun in LARGER.items()}
WARNED = {*LARGER, "unknown bound", "integers", "clip to [0, 1] by where", "clip of a ReLU"}
WARNED -= {"hard_sigmoid by minimum"}
"""What has a kink that is neither a ReLU's, nor a guard's, nor the end of the image's range."""


def _replaced(fun):
    """The gradient of a weighted sum with the ReLU's derivative seven times as large."""
    return jax.jit(jax.grad(backward(lambda x: (fun(x) * WEIGHTS).sum(), SEVENFOLD)))(X)


@pytest.mark.parametrize("name", RELUS)
def test_every_relu_is_replaced(name):
    times = 49 if "carry" in name or "sequence" in name else 7
    np.testing.assert_allclose(_replaced(RELUS[name]), times * WEIGHTS * (X > 0))


@pytest.mark.parametrize("name", RELU6S)
def test_relu6_passes_nothing_beyond_its_bound(name):
    np.testing.assert_allclose(_replaced(RELU6S[name]), 7 * WEIGHTS * (X > 0) * (X < 6))


@pytest.mark.parametrize("name", NO_RELUS)
def test_what_is_no_activation_is_left_alone(name):
    fun, why = NO_RELUS[name]
    with pytest.raises(ValueError, match=f"score: expected .*{why}".replace("[", r"\[")):
        jax.eval_shape(backward(lambda x: fun(x).sum(), SEVENFOLD), X)


@pytest.mark.parametrize("name", NO_RELUS)
def test_what_is_left_alone_keeps_its_derivative_beside_a_relu(name):
    fun, _ = NO_RELUS[name]
    score = lambda x: fun(x).sum() + jax.nn.relu(x[0, 0])  # noqa: E731  x[0, 0] < 0: no gradient
    told = pytest.warns(UserWarning, match="keep their own") if name in WARNED else nullcontext()
    with collect_notes() as notes, told:
        both = jax.jit(lambda x: (jax.grad(backward(score, SEVENFOLD))(x), jax.grad(score)(x)))(X)
    np.testing.assert_allclose(*both, rtol=1e-6)
    assert [str(note) for note in notes if note.done] == ["backward: relu f32[]"]


def test_norms_of_flax_are_left_alone_and_reported_where_they_stand():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.LayerNorm()(nn.Dense(4)(x)))
            return nn.GroupNorm(2)(nn.RMSNorm()(x))

    net = Net()
    params = net.init(jax.random.key(0), X)
    with collect_notes() as notes:
        jax.eval_shape(backward(lambda x: net.apply(params, x).sum(), SEVENFOLD), X)
    assert {(note.what, note.done) for note in notes} == {
        ("relu f32[2,4] in Net", True),
        ("max f32[2] in Net/LayerNorm_0", False),
        ("max f32[2,2] in Net/GroupNorm_0", False),
    }


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision(dtype):
    for fun in (jax.nn.relu, lambda x: jnp.clip(x, 0)):
        score = backward(lambda x, fun=fun: fun(x).sum(), SEVENFOLD)
        found = jax.jit(jax.grad(score))(X.astype(dtype))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, 7 * (X > 0))


def test_the_value_and_the_flag_stay():
    score = lambda x: jax.nn.relu(x).sum()  # noqa: E731
    score.rewrite = False
    assert backward(score, SEVENFOLD)(jnp.asarray(X)) == score(X)
    assert backward(score, SEVENFOLD).rewrite is False


def test_a_derivative_of_the_map_is_the_true_one():
    """sum of 7 x² over x > 0 has gradient 7 x; its own gradient is 7 there, not 49."""
    score = backward(lambda x: (jax.nn.relu(x) ** 2).sum() / 2, SEVENFOLD)
    twice = jax.jit(jax.grad(lambda x: jax.grad(score)(x).sum()))(X)
    np.testing.assert_array_equal(twice, 7 * (X > 0))
    forward = jax.jit(lambda x: jax.jvp(jax.grad(score), (x,), (jnp.ones_like(x),))[1])(X)
    np.testing.assert_array_equal(forward, 7 * (X > 0))


def _forward_active(g, positive):
    return jnp.where(positive, g, 0)


@pytest.mark.parametrize("name", RELU6S)
def test_at_relu6s_own_bounds_nothing_goes_on(name) -> None:
    ends = jnp.array([0.0, 6.0, 5.0])
    slope = jax.grad(backward(lambda x: RELU6S[name](x).sum(), _forward_active))
    np.testing.assert_array_equal(slope(ends)[jnp.array([0, 2])], [0, 1])
    if name in ("nn.relu6", "lax.clamp", "clip(x, 0, 6)"):
        assert slope(ends)[1] == jax.grad(lambda x: RELU6S[name](x).sum())(ends)[1]


@pytest.mark.parametrize("name", ["celu", "hard_sigmoid", "hard_silu", "hard_swish"])
def test_activations_that_hold_a_relu_are_not_one(name) -> None:
    score = backward(lambda x: getattr(jax.nn, name)(x).sum(), SEVENFOLD)
    with pytest.raises(ValueError, match="more than a ReLU"):
        jax.grad(score)(jnp.ones(3))


def test_a_relu_in_a_body_that_is_not_gone_into_is_told_of() -> None:
    mesh = jax.make_mesh((1,), ("a",))
    whole = jax.sharding.PartitionSpec()
    inside = jax.shard_map(jax.nn.relu, mesh=mesh, in_specs=whole, out_specs=whole)
    with collect_notes() as notes, pytest.warns(UserWarning, match="a ReLU inside shard_map"):
        jax.grad(backward(lambda x: inside(jax.nn.relu(x) + 1).sum(), SEVENFOLD))(jnp.ones(3))
    assert any("shard_map" in str(note) and not note.done for note in notes)
