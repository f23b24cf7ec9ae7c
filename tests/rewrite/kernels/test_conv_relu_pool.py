"""The kernels of a stage and of its derivative, interpreted, beside the plain program."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.kernels.conv_relu_pool import ConvReluPool, conv_relu_pool
from jaxsal.rewrite.kernels.conv_relu_pool_gradient import (
    PoolGradientConv,
    conv_relu_pool_gradient,
)
from jaxsal.rewrite.kernels.tiles import Tiles


class Case(NamedTuple):
    """Images, a kernel of so many features, and what follows."""

    images: tuple[int, int, int, int]
    kernel: tuple[int, int]
    features: int
    window: tuple[int, int] = (2, 2)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))
    steps: tuple[str, ...] = ("add",)
    dtype: str = "float32"
    tolerance: float = 1e-5


CASES = {
    "odd sizes": Case((2, 7, 9, 1), (3, 3), 5),
    "uneven, colours, two tiles of channels": Case(
        (1, 7, 3, 2), (1, 2), 33, (3, 1), ((1, 0), (0, 1)), ("mul", "sub", "mul")
    ),
    "bfloat16": Case(
        (1, 5, 4, 1), (2, 1), 4, steps=("mul", "add"), dtype="bfloat16", tolerance=0.01
    ),
}
STEPS = {"add": jnp.add, "mul": jnp.multiply, "sub": jnp.subtract}


def plain(case, x, kernel, vectors):
    """The stage in JAX's own operations, and what goes into its pool."""
    y = lax.conv_general_dilated(
        x, kernel, (1, 1), case.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    for name, vector in zip(case.steps, vectors, strict=True):
        y = STEPS[name](y, vector.reshape(1, 1, 1, -1))
    window = (1, *case.window, 1)
    y = jax.nn.relu(y)
    return lax.reduce_window(y, -jnp.inf, lax.max, window, window, "VALID"), y


def places(case, y):
    """The first maximum of each window by a search in NumPy; 255 where nothing is positive."""
    y, (h, w) = np.asarray(y, np.float32), case.window
    rows, columns = y.shape[-3] // h, y.shape[-2] // w
    y = y[..., : rows * h, : columns * w, :]
    y = y.reshape(*y.shape[:-3], rows, h, columns, w, -1)
    y = np.moveaxis(y, -4, -3).reshape(*y.shape[:-5], rows, columns, h * w, y.shape[-1])
    return np.where(y.max(-2) > 0, y.argmax(-2), 255)


def kernels(case, x, kernel, vectors, cotangent):
    size = jax.eval_shape(lambda: plain(case, x, kernel, vectors))[1].shape[1:3]
    low = [before for before, _ in case.padding]
    stage = ConvReluPool(tuple(low), size, case.window, case.steps)
    pooled, place = conv_relu_pool(x, kernel, vectors, stage=stage, interpret=True)
    back = tuple(n - 1 - before for n, before in zip(case.kernel, low, strict=True))
    conv = PoolGradientConv(back, x.shape[1:3], case.window, x.shape[-1])
    turned = jnp.swapaxes(jnp.flip(kernel, (0, 1)), 2, 3)
    named = zip(case.steps, vectors, strict=True)
    factors = [vector for name, vector in named if name == "mul"][::-1]
    image = conv_relu_pool_gradient(cotangent, place, turned, factors, conv=conv, interpret=True)
    return pooled, image, place


@pytest.mark.parametrize("name", CASES)
def test_equals_the_plain_program(name):
    case = CASES[name]
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape)

    def integers(*shape):
        return rng.integers(-2, 3, size=shape)

    def given(draw):
        """Images, kernel, vectors; of whole numbers sums are exact, and many are equal."""
        kernel = draw(*case.kernel, case.images[-1], case.features)
        return draw(*case.images), kernel, [draw(case.features) for _ in case.steps]

    noise, ties = given(normal), given(integers)
    black = np.zeros(case.images), *noise[1:]
    holed = np.where(rng.random(case.images) < 0.05, np.nan, noise[0]), *noise[1:]
    drawn = noise, ties, black, holed
    args = jax.tree.map(lambda *xs: jnp.asarray(np.stack(xs), case.dtype), *drawn)
    shapes = jax.eval_shape(jax.vmap(lambda *args: plain(case, *args)), *args)[0].shape
    cotangent = jnp.asarray(normal(*shapes), case.dtype)

    def expected(x, kernel, vectors, cotangent):
        pooled, back, y = jax.vjp(lambda x: plain(case, x, kernel, vectors), x, has_aux=True)
        return pooled, back(cotangent)[0], y

    def both(*args):
        return kernels(case, *args), expected(*args)

    found, (*wanted, y) = jax.jit(jax.vmap(both))(*args, cotangent)
    for ours, theirs in zip(found, wanted, strict=False):
        assert ours.dtype == theirs.dtype
        ours, theirs = (np.asarray(x, np.float32) for x in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, atol=case.tolerance * np.nanmax(np.abs(theirs)))
    exact = slice(case.dtype == "bfloat16", 3)  # XLA may round later; a NaN is no maximum
    np.testing.assert_array_equal(found[2][exact], places(case, y)[exact])
    assert (np.asarray(found[2]) == 255).any() and (np.asarray(found[2]) == 1).any()


def test_tiles_cover_windows_and_channels_once():
    tiles = Tiles((2, 3, 11), 33, 1)
    counted = np.zeros((2, 3, 11, 33), int)
    for i in range(tiles.grid[0]):
        for j in range(tiles.grid[1]):
            places, channels = tiles.places(i), tiles.features(j)
            at = (x[places.exists][:, None] for x in (places.image, places.row, places.column))
            np.add.at(counted, (*at, channels.number[channels.exists][None]), 1)
    assert (counted == 1).all()
