"""Edits of a tumour: removed, flattened, reshaped, moved, resized; or its surround alone removed.

Functions of ONE image `[H, W, C]` and ONE mask `[H, W]`, on the device. Each does the same to a
tumour and to any other part of the head that a mask of the tumour's shape is laid on (a sham).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from experiments.head import head
from jaxsal.metrics import impute
from jaxsal.metrics.regions import distance, ring
from jaxsal.types import Image

Mask = Bool[Array, "height width"]
Positions = Float[Array, "2 height width"]

MARGIN = 1.5  # pixels around the mask that go with the tumour: its edge is blurred
SURROUND = 0.5  # equivalent diameters, as in the study
ANGLES = 64  # at which a tumour's outline is looked up
NUDGE = 0.5  # pixels: where interpolation blurs most
DILATED, ERODED = 2.0, 0.5  # the tumour's area afterwards, in its own


class Cut(NamedTuple):
    """An image whose tumour was cut out.

    Attributes:
        ground: the image with the tumour and a margin imputed from their neighbours.
        inside: the tumour; beyond its mask its mean.
        centre: of the mask. radius: of the disc of its area, in pixels.
        place: [2], how far away another place for the tumour is, in pixels.
    """

    image: Image
    mask: Mask
    ground: Image
    inside: Image
    centre: Float[Array, "2 1 1"]
    radius: Float[Array, ""]
    place: Int[Array, " 2"]


def cut_out(image: Image, mask: Mask, place: Int[Array, " 2"]) -> Cut:
    """Cuts what the mask covers out of the image; the mask is not empty."""
    area = jnp.sum(mask, dtype=jnp.float32)
    mean = jnp.sum(image, (0, 1), where=mask[..., None]) / area
    centre = jnp.sum(_positions(mask), (1, 2), where=mask[None]) / area
    return Cut(
        image,
        mask,
        impute(image, distance(mask) <= MARGIN),
        jnp.where(mask[..., None], image, mean[None, None]),
        centre[:, None, None],
        jnp.sqrt(area / jnp.pi),
        place,
    )


def untouched(cut: Cut) -> Image:
    """As it was."""
    return cut.image


def put_back(cut: Cut) -> Image:
    """The tumour cut out and put back: what the cutting alone does."""
    return jnp.where(cut.mask[..., None], cut.image, cut.ground)


def removed(cut: Cut) -> Image:
    """Without the tumour: imputed from its neighbours."""
    return cut.ground


def flattened(cut: Cut) -> Image:
    """The tumour's mean in all of its shape: no texture."""
    mean = jnp.sum(cut.image, (0, 1), where=cut.mask[..., None])
    mean /= jnp.sum(cut.mask, dtype=jnp.float32)
    return jnp.where(cut.mask[..., None], mean[None, None], cut.image)


def rounded(cut: Cut) -> Image:
    """The tumour's texture on a disc of equal area: each ray is stretched to the disc's radius."""
    away = jnp.hypot(*(_positions(cut.mask) - cut.centre))
    return _pasted(cut, _of_disc(cut), jnp.clip(cut.radius - away + 0.5, 0, 1))


def resampled_as_disc(cut: Cut) -> Image:
    """The tumour in its shape, each pixel off its place by the fraction that the disc's is.

    So it is interpolated with the disc's weights, and blurred as much.
    """
    source = _of_disc(cut)
    return _warped(cut, _positions(cut.mask) + source - jnp.round(source))


def nudged(cut: Cut) -> Image:
    """The tumour half a pixel down and to the right: only resampled."""
    return _warped(cut, _positions(cut.mask) - NUDGE)


def turned(cut: Cut) -> Image:
    """The tumour turned about its centre by an eighth: its shape and texture in another pose."""
    y, x = _positions(cut.mask) - cut.centre
    turn = jnp.sqrt(0.5)
    return _warped(cut, cut.centre + turn * jnp.stack([y + x, x - y]))


def moved(cut: Cut) -> Image:
    """The tumour elsewhere in the head; where it was, its neighbours."""
    return _warped(cut, _positions(cut.mask) - cut.place[:, None, None].astype(jnp.float32))


def dilated(cut: Cut) -> Image:
    """The tumour enlarged about its centre to twice its area, outline and texture alike."""
    return _resized(cut, DILATED)


def eroded(cut: Cut) -> Image:
    """The tumour shrunk about its centre to half its area, outline and texture alike."""
    return _resized(cut, ERODED)


def surround_removed(cut: Cut) -> Image:
    """Without the ring around the tumour: imputed from beyond it, the tumour as it was."""
    around = ring(cut.mask, width=SURROUND) & head(cut.image)
    outside = impute(cut.image, cut.mask | around)
    return jnp.where(around[..., None], outside, cut.image)


def both_removed(cut: Cut) -> Image:
    """Without tumour and ring."""
    around = ring(cut.mask, width=SURROUND) & head(cut.image)
    return impute(cut.image, cut.mask | around)


EDITS: dict[str, Callable[[Cut], Image]] = {
    "untouched": untouched,
    "put back": put_back,
    "tumour removed": removed,
    "surround removed": surround_removed,
    "both removed": both_removed,
    "texture flattened": flattened,
    "nudged": nudged,
    "turned": turned,
    "shape made a disc": rounded,
    "resampled as the disc": resampled_as_disc,
    "moved": moved,
    "dilated": dilated,
    "eroded": eroded,
}
"""By name."""

CONTROLS = {
    "tumour removed": "put back",
    "moved": "put back",
    "turned": "nudged",
    "shape made a disc": "resampled as the disc",
    "dilated": "nudged",
    "eroded": "nudged",
}
"""By edit, one that changes pixels in the same way (cutting out, resampling) but leaves the tumour
where and as it was; of the others it is the untouched image."""


def control(edit: str) -> str:
    """The edit that an edit is compared with."""
    return CONTROLS.get(edit, "untouched")


def edited(image: Image, mask: Mask, place: Int[Array, " 2"]) -> dict[str, Image]:
    """The image after each edit."""
    cut = cut_out(image, mask, place)
    return {name: edit(cut) for name, edit in EDITS.items()}


def _positions(mask: Mask) -> Positions:
    return jnp.stack(jnp.mgrid[: mask.shape[0], : mask.shape[1]]).astype(jnp.float32)


def _of_disc(cut: Cut) -> Positions:
    """Where in the tumour each pixel of the disc is taken from."""
    y, x = _positions(cut.mask) - cut.centre
    stretch = _reach(cut)(jnp.arctan2(y, x)) / cut.radius
    return cut.centre + jnp.stack([y, x]) * stretch[None]


def _resized(cut: Cut, area: float) -> Image:
    return _warped(cut, cut.centre + (_positions(cut.mask) - cut.centre) / area**0.5)


def _warped(cut: Cut, source: Positions) -> Image:
    """The tumour as it is found at `source`, outline and all."""
    return _pasted(cut, source, _sampled(cut.mask.astype(jnp.float32), source))


def _pasted(cut: Cut, source: Positions, cover: Float[Array, "height width"]) -> Image:
    texture = jax.vmap(_sampled, (-1, None), -1)(cut.inside, source)
    return cut.ground + cover[..., None] * (texture - cut.ground)


def _sampled(field: Float[Array, "height width"], source: Positions) -> Array:
    return jax.scipy.ndimage.map_coordinates(field, list(source), order=1, mode="constant")


def _reach(cut: Cut) -> Callable[[Array], Array]:
    """How far the mask reaches from its centre, by angle."""
    angles = jnp.linspace(-jnp.pi, jnp.pi, ANGLES, endpoint=False)
    steps = jnp.arange(0, max(cut.mask.shape), 0.5)
    rays = jnp.stack([jnp.sin(angles), jnp.cos(angles)])[:, :, None] * steps[None, None]
    along = _sampled(cut.mask.astype(jnp.float32), cut.centre + rays) >= 0.5
    furthest = jnp.max(jnp.where(along, steps[None] + 0.5, 0.5), axis=1)
    return lambda angle: jnp.interp(angle, angles, furthest, period=2 * jnp.pi)
