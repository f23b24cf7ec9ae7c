"""One reading of an image's axes: what a program says, what an option says, what nobody says.

That EVERY method and metric takes it is held in the two `test_properties.py`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxsal
from jaxsal import metrics
from jaxsal.rewrite.axes.spatial import spatial_axes
from tests import toy

SPACES = {"HW": (7, 5), "DHW": (4, 3, 5), "T": (9,)}


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def network(space: str, channels: int) -> Callable[[jax.Array], jax.Array]:
    """The score of an image with channels last: a convolution, and a sum over squares."""
    kernel, rank = normal(0, *(3,) * len(space), channels, 3), len(space)
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")

    def score(image: jax.Array) -> jax.Array:
        x = lax.conv_general_dilated(
            image[None], kernel, (1,) * rank, "SAME", dimension_numbers=numbers
        )
        return jnp.square(jax.nn.relu(x)).mean()

    return score


def explained(score: Callable[[jax.Array], jax.Array], image: jax.Array, map: jax.Array) -> Any:
    """Maps of one image, and metrics of one map, all of which ask which axes are spatial."""
    space = tuple(image.shape[axis] for axis in spatial_axes(score, image))
    blur = functools.partial(metrics.blur, sigma=1)
    segments = np.arange(np.prod(space)).reshape(space) // 4
    maps = {
        "occlusion": jaxsal.occlusion(score, image, window=2, stride=1, baseline=metrics.mean),
        "ablation": jaxsal.feature_ablation(score, image, segments=segments, baseline=blur),
        "cam": jaxsal.grad_cam(score, image),
        "edges": metrics.edge_detector(score, image),
    }
    values = {
        "insertion": metrics.insertion(score, image, map, steps=5),
        "entropy": metrics.entropy(score, image, map),
    }
    return maps, values


def last(values: Any, at: int | None, rank: int) -> Any:
    """A map with channels at `at` (`None`: without any) as one with channels last."""
    if values.ndim == rank and at is not None:
        return values  # of a CAM
    return values[..., None] if at is None else jnp.moveaxis(values, at, -1)


@functools.cache
def with_channels_last(space: str, channels: int) -> Any:
    image, map = (normal(seed, *SPACES[space], channels) for seed in (1, 2))
    return jax.jit(functools.partial(explained, network(space, channels)))(image, map)


@pytest.mark.parametrize(
    ("space", "channels", "at"),
    [("HW", 2, 0), ("HW", 1, None), ("DHW", 2, 0), ("T", 2, 0)],
)
def test_one_network_has_the_same_maps_and_metrics_in_any_layout(
    space: str, channels: int, at: int | None
) -> None:
    score, rank = network(space, channels), len(space)
    image, map = (normal(seed, *SPACES[space], channels) for seed in (1, 2))
    back = functools.partial(last, at=at, rank=-1)
    put = (lambda x: x[..., 0]) if at is None else (lambda x: jnp.moveaxis(x, -1, at))
    whole = lambda x: score(back(x))  # noqa: E731
    maps, values = jax.jit(functools.partial(explained, whole))(put(image), put(map))
    maps = {name: last(map, at, rank) for name, map in maps.items()}
    expected, of_metrics = with_channels_last(space, channels)
    expected |= {"cam": expected["cam"].reshape(maps["cam"].shape)}
    toy.close(maps, expected)
    toy.close(values, of_metrics, 5e-5)


def conv(image: jax.Array, letters: str, *, window: int = 3) -> jax.Array:
    """The sum of a convolution of an image of these axes; `C` are its channels."""
    space = letters.replace("C", "")
    channels = image.shape[letters.index("C")]
    numbers = (f"N{letters}", f"{space}IO", f"N{space}C")
    kernel = jnp.ones((*(window,) * len(space), channels, 1))
    return jnp.sum(
        lax.conv_general_dilated(
            image[None], kernel, (1,) * len(space), "SAME", dimension_numbers=numbers
        )
    )


def pooled(image: jax.Array, *windows: int) -> jax.Array:
    found = lax.reduce_window(image, -jnp.inf, lax.max, windows, windows, "VALID")
    return jnp.sum(jnp.square(found))


def recurrent(image: jax.Array) -> jax.Array:
    """Steps along the first axis; a convolution inside a step would be of the others."""
    return lax.scan(lambda c, x: (jnp.tanh(c + x), None), jnp.zeros(image.shape[1:]), image)[
        0
    ].sum()


READ = {
    "channels last": ((6, 5, 3), lambda x: conv(x, "HWC"), (0, 1)),
    "channels first": ((3, 6, 5), lambda x: conv(x, "CHW"), (1, 2)),
    "channels between": ((6, 3, 5), lambda x: conv(x, "HCW"), (0, 2)),
    "no channels": ((6, 5), lambda x: conv(x[..., None], "HWC"), (0, 1)),
    "a volume": ((2, 4, 6, 5), lambda x: conv(x, "CDHW"), (1, 2, 3)),
    "a signal": ((3, 9), lambda x: conv(x, "CT"), (1,)),
    "frames as channels": ((4, 6, 5), lambda x: conv(x.transpose(1, 2, 0), "HWC"), (1, 2)),
    "windows of one position": ((3, 6, 5), lambda x: conv(x, "CHW", window=1), (1, 2)),
    "padded": ((3, 6, 5), lambda x: conv(jnp.pad(x, ((0, 0), (1, 1), (2, 2))), "CHW"), (1, 2)),
    "within jit": ((3, 6, 5), lambda x: jax.jit(lambda x: conv(x, "CHW"))(x), (1, 2)),
    "within remat": ((3, 6, 5), lambda x: jax.checkpoint(lambda x: conv(x, "CHW"))(x), (1, 2)),
    "merged and split again": (
        (3, 6, 5),
        lambda x: conv(x.reshape(3, 30).T.reshape(6, 5, 3), "HWC"),
        (1, 2),
    ),
    "a pool": ((3, 6, 4), lambda x: pooled(x, 1, 2, 2), (1, 2)),
    "patches": (
        (3, 6, 4),
        lambda x: jnp.sum(x.reshape(3, 3, 2, 2, 2).transpose(1, 3, 0, 2, 4).reshape(6, 12) ** 2),
        (1, 2),
    ),
    "a pool by reshape": (
        (6, 4, 3),
        lambda x: jnp.sum(x.reshape(3, 2, 2, 2, 3).max((1, 3)) ** 2),
        (0, 1),
    ),
    "a signal's patches": (
        (3, 8),
        lambda x: jnp.sum(x.reshape(3, 4, 2).transpose(1, 0, 2).reshape(4, 6) ** 2),
        (1,),
    ),
}
BY_SHAPE = {
    "channels last": ((6, 5, 3), (0, 1)),
    "channels first": ((1, 6, 5), (1, 2)),
    "a volume": ((7, 6, 5, 4), (0, 1, 2)),
}
UNREAD = {
    "a dense layer": ((6, 5), jnp.sum),
    "a dense layer of few slices": ((4, 6, 5, 7), jnp.sum),
    "a dense layer of few positions": ((4, 6, 3), jnp.sum),
    "a dense layer of channels between": ((6, 3, 5), jnp.sum),
    "a dense layer of tokens": ((6, 8), lambda x: jnp.sum(x @ jnp.ones((8, 2)))),
    "channels in groups": ((6, 5, 8), lambda x: jnp.sum(x.reshape(6, 5, 2, 4).max(-1))),
    "steps": ((6, 8), recurrent),
    "features": ((8,), jnp.sum),
    "rows of another length": ((6, 8), lambda x: jnp.sum(x.reshape(12, 4) ** 2)),
}


def an_explainers(score: Any, axes: tuple[int, ...] | None = None) -> Any:
    """A score as the explainer makes it."""

    def own(image: jax.Array) -> jax.Array:
        return score(image)

    own.spatial_axes, own.readings = axes, {}  # type: ignore[attr-defined]
    return own


@pytest.mark.parametrize("name", READ)
def test_the_program_says_which_axes_are_spatial(name: str) -> None:
    shape, score, axes = READ[name]
    assert spatial_axes(score, jnp.ones(shape)) == axes
    assert spatial_axes(an_explainers(score), jnp.ones(shape)) == axes


@pytest.mark.parametrize("name", BY_SHAPE)
def test_of_a_dense_program_the_shape_says_it_where_one_end_is_short(name: str) -> None:
    shape, axes = BY_SHAPE[name]
    for score in (jnp.sum, an_explainers(jnp.sum), None):
        assert spatial_axes(score, jnp.ones(shape)) == axes


@pytest.mark.parametrize("name", UNREAD)
def test_a_program_that_does_not_say_is_told(name: str) -> None:
    shape, score = UNREAD[name]
    with pytest.raises(ValueError, match=r"spatial_axes: the model has no convolution.*=\(0,"):
        spatial_axes(an_explainers(score), jnp.ones(shape))
    assert spatial_axes(an_explainers(score, (-1,)), jnp.ones(shape)) == (len(shape) - 1,)


def test_the_option_goes_before_the_program() -> None:
    shape, score, _ = READ["channels last"]
    assert spatial_axes(an_explainers(score, (-1, 1)), jnp.ones(shape)) == (1, 2)


def test_a_plain_function_has_a_convention_and_may_say_otherwise() -> None:
    def dense(image: jax.Array) -> jax.Array:
        return jnp.sum(image)

    image = jnp.ones((5, 6, 7))
    assert spatial_axes(dense, image) == spatial_axes(None, image) == (0, 1)
    dense.spatial_axes = (1, 2)  # type: ignore[attr-defined]
    assert spatial_axes(dense, image) == (1, 2)
