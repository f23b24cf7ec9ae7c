"""Functions that move pixels are told from those that leave them, by marks."""

import numpy as np
import pytest
import scipy.ndimage

from jaxsal.commands import moved_pixels

draw = np.random.default_rng(0)


def image(*shape: int) -> np.ndarray:
    """A bright ball on black: smooth, as scans are, and of no symmetry."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), -1)
    ball = np.clip(1 - ((grid - 0.2) ** 2).sum(-1), 0, 1)
    noise = draw.uniform(0, 0.05, shape)
    return (ball * (0.8 + noise))[..., None].astype(np.float32)


def resized(values: np.ndarray, size: int) -> np.ndarray:
    factors = [size / side for side in values.shape[:-1]]
    return scipy.ndimage.zoom(values, [*factors, 1], order=1, grid_mode=True, mode="nearest")


def equalised(values: np.ndarray) -> np.ndarray:
    return values.ravel().argsort().argsort().reshape(values.shape) / values.size


STAY = {
    "nothing": lambda x: x,
    "standardised": lambda x: (x - x.mean()) / x.std(),
    "in place": lambda x: np.subtract(x, x.mean(), out=x),
    "stretched": lambda x: (x - x.min()) / (x.max() - x.min()),
    "inverted": lambda x: 1 - x,
    "gamma": np.sqrt,
    "percentiles": lambda x: np.clip(x, *np.percentile(x, (1, 99))),
    "equalised": equalised,
    "blurred": lambda x: scipy.ndimage.gaussian_filter(x, 1),
    "edges": lambda x: np.hypot(scipy.ndimage.sobel(x, 0), scipy.ndimage.sobel(x, 1)),
    "without background": lambda x: x * (x > 0.3),
    "channels first": lambda x: np.moveaxis(x, -1, 0),
    "as colour": lambda x: np.repeat(x, 3, -1),
    "no channel": lambda x: x[..., 0],
    "finer": lambda x: resized(x, 96),
    "coarser": lambda x: resized(x, 32),
}
MOVE = {
    "left and right": lambda x: x[:, ::-1],
    "up and down": lambda x: x[::-1],
    "half a turn": lambda x: x[::-1, ::-1],
    "a quarter": lambda x: np.rot90(x),
    "swapped": lambda x: x.swapaxes(0, 1),
    "shifted": lambda x: np.roll(x, 3, 0),
    "cropped": lambda x: x[8:-8, 8:-8],
    "cropped and resized": lambda x: resized(x[4:-4, 4:-4], 64),
    "flipped, channels first": lambda x: np.moveaxis(x[:, ::-1], -1, 0),
    "flipped and standardised": lambda x: (x[:, ::-1] - x.mean()) / x.std(),
}
UNTOLD = {
    "at random": lambda x: x + draw.normal(size=x.shape),
    "one number": lambda x: np.full_like(x, x.mean()),
    "features": lambda x: x.ravel(),
    "no numbers": lambda x: x * np.nan,
}


@pytest.mark.parametrize("name", [*STAY, *MOVE, *UNTOLD])
def test_marks_tell_whether_pixels_move(name: str) -> None:
    expected = True if name in MOVE else False if name in STAY else None
    assert moved_pixels.moves({**STAY, **MOVE, **UNTOLD}[name], [image(64, 64)]) is expected


@pytest.mark.parametrize("shape", [(8, 8), (48, 80), (24, 24, 24)])
def test_of_any_size_and_of_volumes(shape: tuple[int, ...]) -> None:
    assert moved_pixels.moves(np.asarray, [image(*shape)]) is False
    for axis in range(len(shape)):
        assert moved_pixels.moves(lambda x, axis=axis: np.flip(x, axis), [image(*shape)]) is True
    assert moved_pixels.moves(lambda x: x.swapaxes(0, 1), [image(*shape)]) is True


def test_an_image_of_one_value_tells_nothing_and_the_next_is_asked() -> None:
    black = np.zeros((16, 16, 1), np.float32)
    assert moved_pixels.moves(np.fliplr, [black]) is None
    assert moved_pixels.moves(np.fliplr, [black, image(16, 16)]) is True
    assert moved_pixels.moves(np.fliplr, []) is None
    assert (
        moved_pixels.some(3) == [0, 1, 2] and len(moved_pixels.some(1000)) == moved_pixels.LOOKED_AT
    )
