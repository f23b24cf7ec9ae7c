"""Which axes of a value run along the image, whatever was done to its layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.rewrite.axes import layout
from jaxsal.rewrite.interpreter import inline
from jaxsal.rewrite.program import trace

KERNEL = np.ones((3, 3, 2, 4), np.float32)


def _conv(x, layout="NHWC"):
    numbers = (layout, "HWIO", layout)
    return jax.lax.conv_general_dilated(x, KERNEL, (2, 1), "SAME", dimension_numbers=numbers)


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


def test_a_value_of_unknown_history_is_taken_as_channels_last():
    mixed = lambda x: jnp.sort(x.reshape(-1)).reshape(1, 4, 4, 6)  # noqa: E731
    flat = inline(trace(mixed, jnp.ones((8, 6, 2)))[0])
    assert layout(flat).axes(flat.jaxpr.outvars[0]) == (1, 2)
