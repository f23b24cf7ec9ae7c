"""Random pose, sharpness, noise and intensity of one image, on the device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsal.common.filters import binomial
from jaxsal.types import Key


def augment(
    key: Key,
    image: Float[Array, "H W C"],
    *,
    flip: bool = True,
    rotation: float = 0.5,
    scale: tuple[float, float] = (0.8, 1.3),
    shift: float = 0.06,
    sharpness: float = 0.0,
    noise: float = 0.0,
    intensity: float = 0.1,
) -> Float[Array, "H W C"]:
    """Draws one pose, sharpness, noise and intensity and applies them, resampling once.

    The point p of the result shows the point A (p - c - t) + c of the image, c being the centre and
    A = rotation(-θ) mirror / s; as sharp as the image, black beyond the border. Then
    x <- x + u (x - blur(x)), x <- x + v n, and x <- clip(a x^g, 0, 1).
    With every range closed (False, 0, (1, 1), 0, 0, 0, 0) the image comes back unchanged.

    Args:
        key: consumed.
        image: [H, W, C] in [0, 1], float.
        flip: mirrors left and right, half of the time.
        rotation: θ is uniform in ±rotation, radians.
        scale: s is log-uniform in this range; above 1 enlarges.
        shift: t is uniform in ±shift, a fraction of each side.
        sharpness: u is uniform in ±sharpness; blur is the binomial mean of 3x3 pixels. Scanners
            differ in sharpness, and a class is often from few scanners.
        noise: v is uniform in [0, noise], n standard normal, where the image is not black.
        intensity: log a and log g are uniform in ±intensity.
    """
    pose_key, tone_key = jax.random.split(key)
    drawn = pose(pose_key, *image.shape[:2], flip=flip, rotation=rotation, scale=scale, shift=shift)
    moved = resample(image, *drawn)
    return tone(tone_key, moved, sharpness=sharpness, noise=noise, intensity=intensity)


def augment_volume(
    key: Key, volume: Float[Array, "X Y Z C"], *, shift: float = 0.06, intensity: float = 0.1
) -> Float[Array, "X Y Z C"]:
    """Mirrors a volume left and right half of the time, moves it by whole voxels, varies its tone.

    Args:
        key: consumed.
        volume: [X, Y, Z, C] in [0, 1], x from left to right.
        shift: uniform in ±shift, a fraction of each side; black comes in from beyond the border.
        intensity: as of `augment`.
    """
    flip_key, move_key, tone_key = jax.random.split(key, 3)
    mirrored = jnp.where(jax.random.bernoulli(flip_key), jnp.flip(volume, 0), volume)
    most = [round(shift * side) for side in volume.shape[:3]]
    padded = jnp.pad(mirrored, [*((edge, edge) for edge in most), (0, 0)])
    draws = jax.random.uniform(move_key, (3,))
    starts = [jnp.int32(jnp.floor(d * (2 * edge + 1))) for d, edge in zip(draws, most, strict=True)]
    moved = jax.lax.dynamic_slice(padded, [*starts, jnp.int32(0)], volume.shape)
    return tone(tone_key, moved, intensity=intensity)


def tone(
    key: Key,
    image: Float[Array, "*space C"],
    *,
    sharpness: float = 0.0,
    noise: float = 0.0,
    intensity: float,
) -> Float[Array, "*space C"]:
    """Draws sharpness, noise, gain and gamma, as in `augment`; black stays black.

    The key is consumed.
    """
    draws = jax.random.uniform(key, (4,), image.dtype, -1, 1)
    varied = image
    if sharpness:
        varied += sharpness * draws[2] * (image - binomial(image))
    if noise:
        grains = jax.random.normal(jax.random.fold_in(key, 0), image.shape, image.dtype)
        varied += noise * (draws[3] + 1) / 2 * grains
    gain, gamma = jnp.exp(intensity * draws[:2])
    # A power below one has an infinite slope at zero.
    toned = gain * jnp.maximum(varied, 1e-6) ** gamma
    return jnp.where(image > 0, jnp.clip(toned, 0, 1), 0)


def pose(
    key: Key,
    height: int,
    width: int,
    *,
    flip: bool,
    rotation: float,
    scale: tuple[float, float],
    shift: float,
) -> tuple[Float[Array, "2 2"], Float[Array, "2"]]:
    """Draws the affine map from a point of the result to a point of the image: M p + o.

    Points are (row, column) in pixels. Options as in `augment`; the key is consumed.
    """
    # One draw for all: each call of the generator costs a second of compilation on a CPU.
    draws = jax.random.uniform(key, (5,), minval=-1.0)
    mirror, turn, grow = jnp.where(flip & (draws[0] < 0), -1.0, 1.0), draws[1], draws[2]
    low, high = jnp.log(scale[0]), jnp.log(scale[1])
    factor, turn = jnp.exp(low + (high - low) * (grow + 1) / 2), rotation * turn
    sides = jnp.array([height, width], jnp.float32)
    centre, move = (sides - 1) / 2, shift * sides * draws[3:]
    cos, sin = jnp.cos(turn) / factor, jnp.sin(turn) / factor
    matrix = jnp.array([[cos, sin], [-sin * mirror, cos * mirror]])
    # Positions are too fine for the default precision of a product on an accelerator.
    return matrix, centre - jnp.matmul(matrix, centre + move, precision="highest")


def resample(
    image: Float[Array, "H W C"], matrix: Float[Array, "2 2"], offset: Float[Array, "2"]
) -> Float[Array, "H W C"]:
    """Values of the image at the points M p + o; zero beyond its border.

    Bilinear on a raster twice as fine. Bilinear on the image's own raster blurs: a network trained
    on blurred images is at a loss before sharp ones. The border fades to black within two pixels,
    as if black pixels surrounded the image.
    """
    rows, columns = (jnp.arange(n, dtype=matrix.dtype) for n in image.shape[:2])
    rows, columns = rows[:, None], columns[None, :]
    y = matrix[0, 0] * rows + matrix[0, 1] * columns + offset[0]
    x = matrix[1, 0] * rows + matrix[1, 1] * columns + offset[1]
    fine = _halfway(_halfway(image, 0), 1)
    return _bilinear(fine, 2 * y, 2 * x)


HALFWAY = (3 / 256, -25 / 256, 150 / 256, 150 / 256, -25 / 256, 3 / 256)
"""The polynomial of degree five through six samples, halfway between the middle two."""


def _halfway(image: Float[Array, "H W C"], axis: int) -> Float[Array, "H2 W2 C"]:
    """The image with a sample between every two along an axis: [..., 2 n - 1, ...]."""
    count, reach = image.shape[axis], len(HALFWAY) // 2 - 1
    padding = [(reach, reach) if i == axis else (0, 0) for i in range(image.ndim)]
    padded = jnp.pad(image, padding)
    between = sum(
        weight * jax.lax.slice_in_dim(padded, i, i + count - 1, axis=axis)
        for i, weight in enumerate(HALFWAY)
    )
    last = jnp.zeros_like(jax.lax.slice_in_dim(image, 0, 1, axis=axis))
    pairs = jnp.stack([image, jnp.concatenate([between, last], axis)], axis + 1)
    shape = (*image.shape[:axis], 2 * count, *image.shape[axis + 1 :])
    return jax.lax.slice_in_dim(pairs.reshape(shape), 0, 2 * count - 1, axis=axis)


def _bilinear(
    image: Float[Array, "H W C"], y: Float[Array, "h w"], x: Float[Array, "h w"]
) -> Float[Array, "h w C"]:
    height, width, channels = image.shape
    top, left = jnp.floor(y), jnp.floor(x)
    down = (y - top)[..., None].astype(image.dtype)
    right = (x - left)[..., None].astype(image.dtype)
    top, left = top.astype(int), left.astype(int)
    flat = image.reshape(-1, channels)

    def at(row: Int[Array, "H W"], column: Int[Array, "H W"]) -> Float[Array, "H W C"]:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
        return jnp.where(inside[..., None], flat[index], 0)

    above = (1 - right) * at(top, left) + right * at(top, left + 1)
    below = (1 - right) * at(top + 1, left) + right * at(top + 1, left + 1)
    return (1 - down) * above + down * below
