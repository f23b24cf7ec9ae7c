"""Which axes of a value run along the image, whatever was done to its layout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.rewrite.axes.layout import layout
from jaxsal.rewrite.interpreter import inline
from jaxsal.rewrite.program import trace

KERNEL = np.ones((3, 3, 2, 4), np.float32)


def _conv(x, layout="NHWC"):
    numbers = (layout, "HWIO", layout)
    return jax.lax.conv_general_dilated(x, KERNEL, (2, 1), "SAME", dimension_numbers=numbers)


def _window(x, start=1):
    """A `gather` under `vmap`."""
    return jax.lax.dynamic_slice(x, (start, 0, 0), (3, 5, 4))


@pytest.mark.parametrize(
    ("fun", "axes", "spatial"),
    [
        (lambda x: _conv(x[None]), (1, 2), (0, 1)),
        (lambda x: jnp.swapaxes(_conv(x[None])[0], 0, 1), (1, 0), (0, 1)),
        (lambda x: _conv(x[None].transpose(0, 3, 1, 2), "NCHW"), (2, 3), (0, 1)),
        (lambda x: _conv(x[None]) @ jnp.ones((4, 5)), (1, 2), (0, 1)),
        (lambda x: jax.image.resize(_conv(x[None]), (1, 7, 5, 4), "bilinear"), (1, 2), (0, 1)),
        (lambda x: _conv(x[None]).reshape(1, -1, 4), None, (0, 1)),
        (lambda x: _conv(x[None]).mean((1, 2)), None, (0, 1)),
        (lambda x: _conv(x[None]).max(1), None, (0, 1)),
        (lambda x: _conv(x[None]).reshape(4, 6, 2, 2), (0, 1), (0, 1)),
        (lambda x: jnp.cumsum(_conv(jnp.pad(x[None], [(0, 0)] * 4)), 1), (1, 2), (0, 1)),
        (lambda x: jnp.sin(x) @ jnp.ones((2, 5)), (0, 1), (0, 1)),
        (lambda x: jax.lax.dynamic_slice(_conv(x[None])[0], (1, 0, 0), (3, 5, 4)), (0, 1), (0, 1)),
        (lambda x: jax.vmap(_window)(_conv(x[None])), (1, 2), (0, 1)),
        (lambda x: jax.vmap(_window, (None, 0))(_conv(x[None])[0], jnp.arange(2)), None, (0, 1)),
    ],
)
def test_axes_are_followed(fun, axes, spatial):
    flat = inline(trace(fun, jnp.ones((8, 6, 2)))[0])
    found = layout(flat)
    assert (found.axes(flat.jaxpr.outvars[0]), found.spatial) == (axes, spatial)


@pytest.mark.parametrize(
    ("shape", "fun", "axes"),
    [
        ((1, 6, 2), lambda x: x[None].reshape(1, 1, 1, 6, 2), (2, 3)),
        ((6, 1, 2), lambda x: x.reshape(1, 6, 1, 2, 1), (1, 2)),
        ((6, 1, 2), lambda x: x.reshape(6, 1, 1, 2), (0, 2)),
        ((1, 6, 2), lambda x: x.reshape(1, 6, 2, 1, 1), (0, 1)),
        ((6, 1, 1), lambda x: x[None].reshape(1, 6, 1), (1, 2)),
        ((1, 6, 2), lambda x: jnp.squeeze(x, 0), (None, 0)),
        ((1, 6, 2), lambda x: jnp.tanh(jnp.squeeze(x, 0))[None], (None, 1)),
        ((1, 6, 2), lambda x: jax.vmap(lambda x: jnp.squeeze(x, 0))(x[None]), (None, 1)),
        ((1, 6, 2), lambda x: x.reshape(12), None),
        ((4, 6, 2), lambda x: x[:1], None),
        ((4, 6, 2), lambda x: x[0], None),
        ((1, 6, 2), lambda x: x.mean(0), None),
    ],
)
def test_axes_of_length_one_are_followed(shape, fun, axes):
    flat = inline(trace(fun, jnp.ones(shape))[0])
    assert layout(flat).axes(flat.jaxpr.outvars[0]) == axes


def test_images_with_the_channels_first():
    flat = jax.make_jaxpr(lambda x: _conv(x[None], "NCHW"))(jnp.ones((2, 8, 6)))
    assert layout(flat).spatial == (1, 2)


def _pooled(x):
    """A channels-first max-pool by reshape."""
    c, h, w = x.shape
    return x.reshape(c, h // 2, 2, w // 2, 2).max((2, 4))


def _unshuffled(x):
    """Space to depth of `[1, H, W, C]`."""
    _, h, w, c = x.shape
    x = x.reshape(1, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(1, h // 2, w // 2, 4 * c)


def _windows(x, side=2):
    """Swin's windows of `[1, H, W, C]`, as rows of tokens."""
    _, h, w, c = x.shape
    x = x.reshape(1, h // side, side, w // side, side, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, side * side, c)


def _merged(tokens, shape, side=2):
    _, h, w, _ = shape
    x = tokens.reshape(1, h // side, w // side, side, side, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(1, h, w, -1)


def _attention(tokens):
    scores = jax.nn.softmax(tokens @ jnp.swapaxes(tokens, -1, -2))
    return scores @ tokens


def _shifted(x):
    """One block of a Swin with shifted windows, without its skip."""
    x = jnp.roll(x, (-1, -1), (1, 2))
    return jnp.roll(_merged(_attention(_windows(x)), x.shape), (1, 1), (1, 2))


def _with_class_token(x):
    return jnp.concatenate([jnp.ones((1, 2)), x.reshape(48, 2)])


def _after_attention(tokens):
    """A block of two heads, with its skip."""
    heads = tokens.reshape(49, 2, 1).transpose(1, 0, 2)
    return tokens + _attention(heads).transpose(1, 0, 2).reshape(49, 2)


def _turns(x):
    """A recurrent layer over the rows of `[H, W, C]`."""
    turn = lambda state, row: (jnp.tanh(state + row), state * row)  # noqa: E731
    return jax.lax.scan(turn, jnp.zeros(x.shape[1:]), x)[1]


FIRST = lambda x: x.transpose(2, 0, 1)  # noqa: E731


@pytest.mark.parametrize(
    ("fun", "axes"),
    [
        (lambda x: x.reshape(1, -1, 2).reshape(1, 8, 6, 2).transpose(0, 2, 1, 3), (2, 1)),
        (lambda x: FIRST(x).reshape(2, -1).T.reshape(8, 6, 2), (0, 1)),
        (lambda x: _pooled(FIRST(x))[None], (2, 3)),
        (lambda x: FIRST(x).reshape(1, 2, 4, 2, 3, 2).mean((3, 5)), (2, 3)),
        (lambda x: jnp.repeat(jnp.repeat(FIRST(x)[None], 2, 2), 2, 3), (2, 3)),
        (lambda x: _unshuffled(x[None]), (1, 2)),
        (lambda x: _unshuffled(x[None]).transpose(0, 3, 1, 2) + 1, (2, 3)),
        (
            lambda x: _merged(_attention(_windows(x[None])), (1, 8, 6, 2)).transpose(0, 2, 1, 3),
            (2, 1),
        ),
        (lambda x: _shifted(x[None]).transpose(0, 3, 1, 2), (2, 3)),
        (lambda x: _attention(x.reshape(48, 2)).T.reshape(1, 2, 8, 6), (2, 3)),
        (lambda x: jax.image.resize(FIRST(x)[None], (1, 2, 5, 7), "nearest"), (2, 3)),
        (lambda x: jnp.flip(jnp.sin(jnp.flip(FIRST(x)[None], 2)), 2), (2, 3)),
        (lambda x: jnp.pad(FIRST(x)[None], [(0, 0), (0, 0), (1, 1), (2, 1)], "reflect"), (2, 3)),
        (lambda x: jnp.zeros((1, 2, 10, 8)).at[:, :, 1:9, 1:7].set(FIRST(x)[None]), (2, 3)),
        (lambda x: _turns(x).transpose(2, 0, 1)[None], (2, 3)),
        (lambda x: jax.lax.cond(x[0, 0, 0] > 0, jnp.sin, jnp.cos, FIRST(x)[None]), (2, 3)),
        (lambda x: x.reshape(8, 2, 6).transpose(0, 2, 1)[None], (1, 3)),
        (lambda x: jnp.split(FIRST(x)[None], 2, 1)[1] * x[0, 0, 0], (2, 3)),
        (lambda x: _with_class_token(x)[1:].reshape(1, 8, 6, 2), (1, 2)),
        (lambda x: _after_attention(_with_class_token(x))[1:].T.reshape(1, 2, 8, 6), (2, 3)),
        (lambda x: jnp.split(_with_class_token(x), [1])[1].reshape(8, 6, 2), (0, 1)),
        (lambda x: jnp.pad(x.reshape(48, 2), [(3, 1), (0, 0)])[3:51].reshape(1, 8, 6, 2), (1, 2)),
    ],
)
def test_axes_are_followed_through_merges_and_splits(fun, axes):
    flat = inline(trace(fun, jnp.ones((8, 6, 2)))[0])
    assert layout(flat).axes(flat.jaxpr.outvars[0]) == axes


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: jnp.sort(x.reshape(-1)).reshape(1, 4, 4, 6),
        lambda x: jnp.sort(x[None], 1),
        lambda x: jax.lax.conv(
            jnp.sort(x.reshape(-1)).reshape(1, 2, 8, 6), jnp.ones((3, 2, 1, 1)), (1, 1), "SAME"
        ),
        lambda x: jnp.abs(jnp.fft.fft2(x[None], axes=(1, 2))),
        lambda x: x.reshape(1, 6, 8, 2),
        lambda x: jnp.tile(x, (2, 1, 1))[None],
        lambda x: jnp.concatenate([x, x])[None],
        lambda x: x[None, jnp.array([3, 1, 2])],
        lambda x: jnp.zeros((8, 6, 2)).at[7 - jnp.arange(8)].set(x)[None],
        lambda x: x[None, 7 - jnp.arange(8)],
        lambda x: _windows(x[None]),
        lambda x: x.reshape(1, 4, 2, 3, 2, 2),
        lambda x: x.reshape(1, 4, 2, 6, 2).mean(1),
        lambda x: x.reshape(1, 48, 2, 1) @ jnp.ones((1, 4)),
        lambda x: jnp.einsum("hwc,hk->kwc", x, jnp.ones((8, 8)))[None],
        lambda x: x[None, :6] + x[None, :6].transpose(0, 2, 1, 3),
        lambda x: x[None, :, :, 0].transpose(1, 0, 2) @ x[None, :, :, 0].transpose(1, 2, 0),
        lambda x: _with_class_token(x)[:48].reshape(1, 8, 6, 2),
        lambda x: _with_class_token(x)[::-1][1:].reshape(1, 8, 6, 2),
        lambda x: _with_class_token(x)[2:].reshape(1, 47, 2),
        lambda x: _with_class_token(x).reshape(7, 7, 2)[None],
        lambda x: jax.lax.pad(x.reshape(48, 2), 0.0, [(-1, 1, 0), (0, 0, 0)]).reshape(1, 8, 6, 2),
        lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y.swapaxes(0, 1), x[:6])[None],
        lambda x: jax.pure_callback(lambda y: y, jnp.ones((1, 8, 6, 2)), x[None]),
    ],
)
def test_axes_that_are_lost_are_not_guessed(fun):
    flat = inline(trace(fun, jnp.ones((8, 6, 2)))[0])
    assert layout(flat).axes(flat.jaxpr.outvars[0]) is None


def test_axes_that_run_backward_are_told():
    fun = lambda x: _conv(jnp.flip(x, 1)[None]).transpose(0, 2, 1, 3)  # noqa: E731
    flat = inline(trace(fun, jnp.ones((8, 6, 2)))[0])
    found, out = layout(flat), flat.jaxpr.outvars[0]
    assert (found.axes(out), found.reversed_axes(out)) == ((2, 1), (1,))


def _moved(rng, shape):
    """A random chain of merges, splits, transpositions and turns of an array of `shape`."""
    moves = []
    for _ in range(rng.integers(2, 7)):
        kind = rng.integers(4)
        if kind == 0:
            order = rng.permutation(len(shape))
            shape = tuple(shape[i] for i in order)
            moves.append(lambda x, order=order: jnp.transpose(x, order))
        elif kind == 1:
            at = int(rng.integers(len(shape)))
            moves.append(lambda x, at=at: jnp.flip(x, at))
        elif kind == 2:
            at = int(rng.integers(len(shape)))
            n = int(rng.choice([n for n in range(1, shape[at] + 1) if shape[at] % n == 0]))
            shape = (*shape[:at], n, shape[at] // n, *shape[at + 1 :])
            moves.append(lambda x, shape=shape: jnp.reshape(x, shape))
        elif len(shape) > 1:
            at = int(rng.integers(len(shape) - 1))
            shape = (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
            moves.append(lambda x, shape=shape: jnp.reshape(x, shape))
    return lambda x: functools.reduce(lambda value, move: move(value), moves, x)


def test_what_is_said_of_an_axis_is_true_of_the_positions_it_holds():
    """Along an axis of the image, that axis' positions rise; one turned, they fall."""
    rng, said, shape = np.random.default_rng(0), 0, (8, 6, 2)
    for _ in range(150):
        fun = _moved(rng, shape)
        flat = inline(trace(fun, jnp.ones(shape))[0])
        found, out = layout(flat), flat.jaxpr.outvars[0]
        for axis, along in enumerate(found.axes(out) or ()):
            value = np.asarray(fun(jnp.asarray(np.indices(shape)[axis])))
            others = tuple(i for i in range(value.ndim) if i != along)
            steps = np.diff(value.mean(others)) * (-1 if along in found.reversed_axes(out) else 1)
            assert np.all(steps > 0) and len(steps) > 0
            said += 1
    assert said > 50


@pytest.mark.parametrize(("spec", "axes"), [("NHWC", (1, 2)), ("NCHW", (2, 3))])
def test_a_convolution_says_where_a_value_lies_that_lost_its_axes(spec, axes):
    def fun(x):
        lost = jnp.sort(_conv(x[None]).reshape(-1))
        return _conv(lost.reshape((1, 8, 6, 2) if spec == "NHWC" else (1, 2, 8, 6)), spec)

    flat = inline(trace(fun, jnp.ones((8, 6, 2)))[0])
    assert layout(flat).axes(flat.jaxpr.outvars[0]) == axes


def test_the_first_convolution_sees_the_image_behind_a_reshape():
    stem = lambda x: _conv(_pooled(x)[None], "NCHW")  # noqa: E731
    flat = inline(trace(stem, jnp.ones((2, 8, 6)))[0])
    assert layout(flat).spatial == (1, 2)
