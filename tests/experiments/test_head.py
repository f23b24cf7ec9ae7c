"""Images whose head is known, and their regions."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experiments.head import REGIONS, head, regions, regions_of

part = jax.jit(regions, static_argnames="width")


def disc(size, radius):
    grid = np.indices((size, size)) - size / 2
    return (grid**2).sum(0) <= radius**2


def hollow(size=40):
    """A bright ring of skull around a dark inside, on a background of weak noise."""
    skull = disc(size, 16) & ~disc(size, 13)
    noise = np.random.default_rng(1).random((size, size)) * 0.03
    return np.where(skull, 0.8, noise).astype(np.float32)[..., None]


def test_the_head_is_the_filled_outline():
    found = np.asarray(head(jnp.array(hollow())))
    truth = disc(40, 16)
    assert (found & truth).sum() / (found | truth).sum() > 0.97


def test_the_head_does_not_depend_on_scale_offset_channels_or_a_speck():
    image = jnp.array(hollow())
    found = head(image)
    np.testing.assert_array_equal(head(300 * image - 70), found)
    np.testing.assert_array_equal(head(jnp.repeat(image, 3, axis=-1)), found)
    np.testing.assert_array_equal(head(image.at[0, 0].set(1.0)), found)


def test_a_constant_image_has_no_head():
    assert not head(jnp.ones((8, 8, 1))).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 2.0]))
def test_every_pixel_is_in_exactly_one_region(seed, width):
    mask = np.random.default_rng(seed).random((40, 40)) < 0.01
    parts = part(jnp.array(hollow()), jnp.array(mask), width=width)
    assert tuple(sorted(parts)) == tuple(sorted(REGIONS))
    assert (sum(part.astype(int) for part in parts.values()) == 1).all()
    np.testing.assert_array_equal(parts["tumour"], mask)
    outside = np.asarray(parts["background"])
    assert not (outside & np.asarray(head(jnp.array(hollow())))).any()


def test_a_batch_is_divided_as_its_images_are():
    images, masks = np.stack([hollow(), hollow()]), np.stack([disc(40, 3), disc(40, 6)])
    found = regions_of(images, masks, width=0.25)
    assert tuple(found) == REGIONS
    for name, region in found.items():
        for i in range(2):
            expected = part(jnp.array(images[i]), jnp.array(masks[i]), width=0.25)[name]
            np.testing.assert_array_equal(region[i], expected)
