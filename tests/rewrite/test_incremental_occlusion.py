"""Incremental occlusion: at every corner the score of the image with the window replaced."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxsal
from jaxsal.rewrite import incremental_occlusion
from jaxsal.rewrite.incremental_occlusion import incremental_score
from jaxsal.rewrite.notes import collect_notes
from jaxsal.rewrite.occlusion.blocks import Span, clamped_span, union
from tests import toy

rng = np.random.default_rng(0)
KERNEL = rng.normal(size=(3, 3, 1, 2)).astype(np.float32)
WIDE = rng.normal(size=(3, 3, 2, 2)).astype(np.float32)
POINT = rng.normal(size=(1, 1, 2, 2)).astype(np.float32)
BIAS = np.ones((1, 1, 1, 2), np.float32)


def convolve(x, w, stride=1, padding="SAME", dilation=1):
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def pool(x, size=2, padding="VALID"):
    window = (1, size, size, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, padding)


def plain(image):
    x = pool(jax.nn.relu(convolve(image[None], KERNEL) + BIAS))
    return jnp.tanh(0.1 * pool(jax.nn.relu(convolve(x, WIDE)), padding="SAME").mean((1, 2))).sum()


def strided_with_skip(image):
    """A residual block whose two branches reach differently far, and a gap between windows."""
    x = convolve(image[None], KERNEL, stride=2)
    y = convolve(jnp.tanh(convolve(x, WIDE)), WIDE, stride=2, padding=((0, 2), (1, 0)))
    y = y + convolve(x, POINT, stride=2)[:, : y.shape[1], : y.shape[2]]
    return (jax.nn.silu(y) ** 2).mean()


def dilated_and_joined(image):
    x = convolve(image[None], KERNEL, dilation=2, padding="VALID")
    x = jnp.concatenate([x, jnp.where(x > 0, x, 0.1 * x)], -1)
    return jnp.sum(jnp.transpose(x, (0, 3, 1, 2)) ** 3)


def unknown(image):
    """Sorting is done on the whole."""
    return jnp.sum(jnp.sort(convolve(image[None], KERNEL), axis=1)[:, :3] ** 2)


SCORES = [plain, strided_with_skip, dilated_and_joined, unknown]
IMAGE = rng.normal(size=(21, 18, 1)).astype(np.float32)


def corners(window):
    axes = [np.arange(n - w + 1) for n, w in zip(IMAGE.shape[:2], window, strict=True)]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], -1).astype(np.int32)


def whole(score, image):
    return lambda values, corner: score(lax.dynamic_update_slice(image, values, corner))


def at_corners(how, score, image, values, places):
    replaced = how(score, image)
    return jax.vmap(lambda place: replaced(values, (place[0], place[1], 0)))(places)


@pytest.mark.parametrize("window", [(2, 3), (5, 4)])
@pytest.mark.parametrize("score", SCORES)
def test_every_corner(score, window):
    values = rng.normal(size=(*window, 1)).astype(np.float32)
    changed, expected = (
        jax.jit(functools.partial(at_corners, how, score))(IMAGE, values, corners(window))
        for how in (incremental_score, whole)
    )
    assert np.ptp(expected) > 1e-3
    toy.close(changed, expected)


def convolutions(score):
    """The elements of each convolution that a replaced window costs."""
    replaced = incremental_score(score, jnp.asarray(IMAGE))
    program = jax.make_jaxpr(lambda i: replaced(jnp.zeros((2, 2, 1)), (i, i, 0)))(jnp.int32(3))
    eqns = [e for e in program.jaxpr.eqns if e.primitive.name == "conv_general_dilated"]
    return [e.outvars[0].aval.size for e in eqns]


def test_only_what_the_window_reaches_is_computed():
    def score(image):
        return plain(image)

    assert max(convolutions(score)) <= 8 * 8 * 2
    score.rewrite = False
    assert max(convolutions(score)) == 21 * 18 * 2


def test_where_a_window_costs_too_much_for_a_platform_the_whole_is_computed(monkeypatch):
    def score(image):
        return plain(image)

    def noted():
        with collect_notes() as notes:
            values = jnp.ones((2, 2, 1))
            found = at_corners(incremental_score, score, IMAGE, values, corners((2, 2)))
        return found, notes[0]

    inside, costs = noted()
    score.platform = "tpu"
    monkeypatch.setattr(incremental_occlusion, "MOST_COST", {"tpu": 0.01})
    outside, refused = noted()
    toy.close(outside, inside)
    assert costs.done and not refused.done and "at most 1% pays" in refused.why
    assert convolutions(score) == [21 * 18 * 2, 10 * 9 * 2]  # and none of a block beside
    score.platform = "gpu"
    assert noted()[1].done


def test_under_vmap_and_shard_map():
    images = jnp.stack([jnp.asarray(IMAGE), 2.0 * IMAGE])
    values, places = jnp.zeros((3, 3, 1)), corners((3, 3))[::40]
    batched = jax.vmap(functools.partial(at_corners, incremental_score, plain), (0, None, None))
    expected = jax.vmap(functools.partial(at_corners, whole, plain), (0, None, None))(
        images, values, places
    )
    toy.close(jax.jit(batched)(images, values, places), expected)
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    spread = jax.shard_map(
        batched, mesh=mesh, in_specs=(P("data"), P(), P()), out_specs=P("data"), check_vma=True
    )
    toy.close(jax.jit(spread)(images, values, places), expected)


def test_gradient_with_respect_to_the_image():
    def loss(how, image):
        values = jnp.zeros((2, 2, 1))
        return (at_corners(how, plain, image, values, corners((2, 2))[::60]) ** 2).sum()

    slope, expected = (
        jax.jit(jax.grad(functools.partial(loss, h)))(IMAGE) for h in (incremental_score, whole)
    )
    toy.close(slope, expected)


def test_spans():
    starts = np.arange(-2, 5)
    span = clamped_span(starts, starts + 3, 0, 6)
    np.testing.assert_array_equal(span.starts, [0, 0, 0, 1, 2, 2, 2])
    assert span.size == 4
    assert clamped_span(starts, starts + 7, 0, 6) is None
    both = union(Span(np.array([0, 1]), 2, 0), Span(np.array([1, 1]), 3, 0), 9)
    np.testing.assert_array_equal(both.starts, [0, 1])
    assert both.size == 4
    assert union(span, span._replace(source=1), 6) is None


def test_a_sum_over_channels_loses_nothing_behind_a_dark_patch() -> None:
    """The old sum and its change cancel where what was there is much brighter."""

    def directed(image):
        norm = jnp.sqrt(jnp.sum(image**2, -1, keepdims=True)) + 1e-12
        return jnp.sum((image / norm) ** 3)

    explain = {
        rewrite: jaxsal.explainer(
            lambda _, images: jnp.stack([jax.vmap(directed)(images)] * 2, -1),
            jaxsal.occlusion,
            window=4,
            baseline=0.01,
            rewrite=rewrite,
        )
        for rewrite in (True, False)
    }
    images = np.full((1, 16, 16, 3), 100, np.float32)
    maps = {rewrite: call({}, images, 0) for rewrite, call in explain.items()}
    np.testing.assert_allclose(maps[True], maps[False], atol=1e-3)


def test_a_dilated_mask_is_the_same_at_the_border() -> None:
    def masked(images):
        bright = images > 0.5
        window = (1, 3, 3, 1)
        grown = lax.reduce_window(bright, False, lax.bitwise_or, window, (1, 1, 1, 1), "SAME")
        most = lax.reduce_window(bright.astype(jnp.int32), 0, lax.max, window, (1, 1, 1, 1), "SAME")
        return images * jnp.where(grown, 1 + most, 0).astype(images.dtype)

    images = np.random.default_rng(0).random((2, 12, 12, 1)).astype(np.float32)
    maps = [
        jaxsal.explainer(
            lambda _, x: jnp.stack([masked(x).sum((1, 2, 3))] * 2, -1),
            jaxsal.occlusion,
            window=4,
            rewrite=rewrite,
        )({}, images, 0)
        for rewrite in (True, False)
    ]
    np.testing.assert_allclose(*maps, atol=1e-4)


@jax.custom_jvp
def spike(slope, x):
    """A ReLU in value, with a slope of the user's own for derivative, and before x."""
    return jnp.maximum(x, 0.0)


spike.defjvps(None, lambda g, ans, slope, x: g * slope / (1 + jnp.abs(x)))


@jax.custom_jvp
def cast(spare, x):
    """The maximum is taken of the second input, in another type; the first is not read."""
    return jnp.maximum(x.astype(jnp.float16), 0).astype(spare.dtype)


cast.defjvps(None, lambda g, ans, spare, x: g.astype(jnp.float32))


@jax.custom_jvp
def broadcast(row, x):
    """The first input has another shape than the result."""
    return jnp.maximum(x * row, 0.0)


broadcast.defjvps(None, lambda g, ans, row, x: jnp.where(ans > 0, g, 0))


@jax.custom_jvp
def spread(x):
    """Elementwise in value, not in its derivative."""
    return jnp.maximum(x, 0.0)


spread.defjvps(lambda g, ans, x: g - jnp.mean(g))


@jax.custom_jvp
def sigmoid(x):
    """The derivative calls the function again."""
    return 1 / (1 + jnp.exp(-x))


sigmoid.defjvps(lambda g, ans, x: g * sigmoid(x) * (1 - sigmoid(x)))


@jax.custom_vjp
def straight(x, sign):
    """A step whose derivative is passed straight through where it is small."""
    return jnp.where((x > 0) & sign, 1.0, 0.0)


straight.defvjp(
    lambda x, sign: (straight(x, sign), x), lambda x, g: (jnp.where(jnp.abs(x) < 1, g, 0.0), None)
)


@jax.custom_vjp
def forward_alone(x):
    """Its author gave it no derivative."""
    return jnp.tanh(x)


def refused(*_):
    raise NotImplementedError("no gradient here")


forward_alone.defvjp(lambda x: (jnp.tanh(x), None), refused)


@jax.custom_vjp
def step(x):
    """An integer of each value."""
    return jnp.floor(3 * x).astype(jnp.int32)


step.defvjp(lambda x: (step(x), None), refused)


@jax.custom_vjp
def looked_up(index):
    return jnp.asarray([0.5, -2.0, 1.5, 3.0])[jnp.clip(index, 0, 3)]


looked_up.defvjp(lambda index: (looked_up(index), None), refused)


@pytest.mark.parametrize("call", [forward_alone, lambda x: looked_up(step(x))])
def test_calls_without_a_derivative(call):
    """Occlusion asks for none."""
    image = jax.random.normal(jax.random.key(0), (12, 10, 1))

    def score(image):
        return jnp.mean(call(image))

    values, corner = jnp.full((3, 3, 1), 0.7), (2, 4, 0)
    changed = jax.lax.dynamic_update_slice(image, values, corner)
    np.testing.assert_allclose(
        incremental_score(score, image)(values, corner), score(changed), rtol=1e-6
    )


@jax.custom_jvp
def curved(x):
    """Its derivative is elementwise, that of its derivative is not."""
    return x**2


curved.defjvps(lambda g, ans, x: 2 * g * spread(x))


def test_a_second_derivative_of_other_positions_is_refused():
    def loss(value):
        values = value[None, None, None] * jnp.ones((2, 2, 1))
        return incremental_score(lambda image: curved(image).sum(), jnp.ones((6, 6, 1)))(
            values, (0, 0, 0)
        )

    assert jax.grad(loss)(0.5) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="elementwise derivatives of spread"):
        jax.grad(jax.grad(loss))(0.5)


CALLS = {
    "slope before x": lambda x: spike(0.2 + 0.5 * jnp.cos(x), jnp.sin(x)),
    "slope, a number": lambda x: spike(jnp.float32(0.3), x),
    "casts": lambda x: cast(jnp.cos(x), x),
    "another shape": lambda x: broadcast(jnp.arange(18.0).reshape(1, 18, 1) - 9, x),
    "derivative of the whole": spread,
    "derivative of itself": sigmoid,
    "custom_vjp": lambda x: straight(x, jnp.sign(x) > 0),
    "softplus": jax.nn.softplus,
    "relu": jax.nn.relu,
}


@functools.cache
def values_and_slopes(how):
    """Of all the calls, from one program."""

    def each(image):
        places = corners((3, 4))[::11]
        values = jnp.full((3, 4, 1), 0.1)

        def total(call, image):
            scores = at_corners(how, lambda x: jnp.sum(call(x) ** 2), image, values, places)
            return jnp.sum(scores**2), scores

        return {n: jax.value_and_grad(total, 1, True)(c, image) for n, c in CALLS.items()}

    return jax.jit(each)(IMAGE)


@pytest.mark.parametrize("name", CALLS)
def test_calls_with_a_derivative_of_their_own(name):
    """Their values are those of their bodies, whichever input these read; so are their slopes."""
    ((_, scores), slope), ((_, expected), plain) = (
        values_and_slopes(how)[name] for how in (incremental_score, whole)
    )
    assert np.ptp(expected) > 1e-3
    toy.close(scores, expected)
    toy.close(slope, plain)


def test_a_second_derivative_of_a_call():
    """The derivative of a call that calls it again."""

    def curvature(how):
        def total(scale):
            replaced = how(lambda x: jnp.sum(sigmoid(x)), scale * IMAGE)
            return replaced(jnp.zeros((3, 3, 1)), (jnp.int32(4), jnp.int32(5), jnp.int32(0)))

        return jax.jit(jax.grad(jax.grad(total)))(1.5)

    np.testing.assert_allclose(curvature(incremental_score), curvature(whole), rtol=1e-4)


HOT = np.full((20, 16, 1), 0.5, np.float32) + np.abs(rng.normal(size=(20, 16, 1))).astype(
    np.float32
)
HOT[9:11, 9:11] = 30.0
ZERO = HOT.copy()
ZERO[10, 10] = 0.0


SUMS = {
    "log-sum-exp": lambda x: jnp.log(jnp.sum(jnp.exp(2 * x))),
    "GeM": lambda x: jnp.mean(x**12) ** (1 / 12),
    "GeM, traced power": lambda x: jnp.mean(x ** (jnp.sum(0 * x) + 9.0)) ** (1 / 9),
    "L2 norm": lambda x: jnp.sqrt(jnp.sum(jnp.square(x) ** 2)),
    "of rows": lambda x: jnp.sum(jnp.log(jnp.sum(jnp.exp(x), 0))),
    "of columns": lambda x: jnp.sum(jnp.log(jnp.sum(jnp.exp(x), 1))),
    "one axis after the other": lambda x: jnp.log(jnp.sum(jnp.sum(jnp.exp(x), 1), 0)).sum(),
    "softmax pooling": lambda x: jnp.sum(x * jnp.exp(x)) / jnp.sum(jnp.exp(x)),
    "normalised": lambda x: jnp.sum(jnp.sin(x)) * lax.rsqrt(jnp.sum(x**8)),
    "turned, of a convolution": lambda x: jnp.log(
        jnp.sum(
            jnp.exp(jnp.transpose(convolve(0.1 * x[None], jnp.abs(KERNEL)), (3, 2, 0, 1))), (1, 3)
        )
    ).sum(),
    "infinite": lambda x: jnp.sum(1 / x**2),
    "whole numbers": lambda x: jnp.sum((x * 1e8).astype(jnp.int32) // 7).astype(jnp.float32),
    "half precision": lambda x: lax.reduce(
        jnp.exp(x).astype(jnp.bfloat16), jnp.bfloat16(0), lax.add, (0, 1, 2)
    ).astype(jnp.float32),
    "mean": lambda x: jnp.mean(x, (0, 1)).sum(),
}


@functools.cache
def sums(how):
    """Of every sum, with each window of four by four dark, from one program."""
    places = np.stack(np.meshgrid(np.arange(5) * 4, np.arange(4) * 4), -1).reshape(-1, 2)

    def each(hot, zero):
        dark = jnp.full((4, 4, 1), 0.5)
        images = {name: zero if name == "infinite" else hot for name in SUMS}
        return {n: at_corners(how, s, images[n], dark, places) for n, s in SUMS.items()}

    return jax.jit(each)(HOT, ZERO)


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_which_the_window_held_most(name):
    """Each is as exact as the sum over the whole: nothing is subtracted."""
    changed, expected = (np.asarray(sums(how)[name]) for how in (incremental_score, whole))
    assert len(set(expected)) > 1
    assert np.isfinite(expected).any()
    rounding = 1e-2 if name == "half precision" else 1e-5
    np.testing.assert_allclose(changed, expected, rtol=rounding)


def test_neither_a_sum_nor_a_call_is_of_the_whole_for_every_window():
    places = corners((3, 3))[:50]

    def program(image):
        score = lambda x: jax.nn.softplus(x).mean()  # noqa: E731
        return at_corners(incremental_score, score, image, jnp.zeros((3, 3, 1)), places)

    eqns = jax.make_jaxpr(program)(IMAGE).jaxpr.eqns
    assert max(var.aval.size for eqn in eqns for var in eqn.outvars) <= 50 * 9


@pytest.mark.parametrize("shape", [(40,), (6, 8, 10)])
def test_sums_over_one_axis_and_over_three(shape):
    """Against occlusion of the whole; the middle window holds most of the sum."""

    def score(x):
        return jnp.log(jnp.sum(jnp.exp(x)))

    def plain_score(x):
        return score(x)

    plain_score.rewrite = False
    image = np.random.default_rng(0).normal(size=(*shape, 1)).astype(np.float32)
    image[tuple(slice(n // 4 * 2, n // 4 * 2 + 1) for n in shape)] = 40.0
    occluded = [
        jax.jit(functools.partial(jaxsal.occlusion, each, window=2, chunk=7))(jnp.asarray(image))
        for each in (score, plain_score)
    ]
    assert np.ptp(occluded[1]) > 30
    toy.close(*occluded)
