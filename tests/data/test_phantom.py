"""The phantom is deterministic, anatomically placed, and not solved by trivial cues."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxsal.data.phantom import CHUNK, CLASSES, FOLDS, anatomy, dataset, lesion, phantom

SIZE, TRAIN, TEST, SEED = 64, 2000, 500, 3
NO_TUMOUR, GLIOMA, MENINGIOMA, PITUITARY = range(4)
MILLIMETRES = anatomy.FIELD_OF_VIEW / SIZE


@pytest.fixture(scope="module")
def many():
    return dataset(SEED, TRAIN + TEST, size=SIZE)


@pytest.fixture(scope="module")
def examples(many):
    return many.examples


@pytest.fixture(scope="module")
def scenes(examples):
    """The random numbers behind each example, drawn again: its head, its level and its tumour."""

    def scene(index, label):
        head_key, level_key, lesion_key, *_ = jax.random.split(
            jax.random.fold_in(jax.random.key(SEED), index), 5
        )
        head, level = anatomy.draw_head(head_key), lesion.draw_level(level_key, label)
        return head, level, lesion.draw_lesion(lesion_key, head, level, label)

    labels = jnp.asarray(examples.labels)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(scene))(jnp.arange(len(labels)), labels))


def _of(examples, label):
    return examples.masks[examples.labels == label]


def test_the_classes_are_in_the_order_of_their_labels():
    assert CLASSES == ("no_tumor", "glioma", "meningioma", "pituitary")


def test_values_are_finite_and_in_the_unit_interval(examples):
    assert examples.images.shape == (TRAIN + TEST, SIZE, SIZE, 1)
    assert examples.images.dtype == np.float32
    assert np.isfinite(examples.images).all()
    assert examples.images.min() >= 0 and examples.images.max() <= 1


def test_each_image_is_a_bright_head_on_a_dark_ground(examples):
    corners = examples.images[:, :4, :4].mean((1, 2, 3))
    middle = examples.images[:, 16:48, 16:48].mean((1, 2, 3))
    assert (middle > 2 * corners).all()


def test_masks_are_exactly_where_a_tumour_class_is(examples):
    np.testing.assert_array_equal(examples.masks.any((1, 2)), examples.labels != NO_TUMOUR)


@pytest.mark.parametrize(
    ("label", "least", "most"),
    [(GLIOMA, 150, 2600), (MENINGIOMA, 90, 1300), (PITUITARY, 110, 800)],
)
def test_tumours_have_plausible_areas_in_square_millimetres(examples, label, least, most):
    areas = _of(examples, label).sum((1, 2)) * MILLIMETRES**2
    assert least < np.quantile(areas, 0.02) and np.quantile(areas, 0.98) < most


def test_a_pituitary_tumour_lies_on_the_midline_at_the_sella(scenes, examples):
    head, level, tumour = scenes
    rows = examples.labels == PITUITARY
    assert (np.abs(tumour.x[rows]) < 3).all() and (np.abs(tumour.y[rows] - 24) < 3).all()
    assert (level[rows] <= lesion.SELLAR[1]).all()
    # In the picture: undo the pose.
    columns = np.arange(SIZE)[None, None, :]
    counts = examples.masks[rows].sum((1, 2))
    across = (examples.masks[rows] * columns).sum((1, 2)) / counts
    middle = (SIZE - 1) / 2 + head.shift_x[rows] / MILLIMETRES
    lean = -24 * np.sin(head.rotation[rows]) * head.scale[rows] / MILLIMETRES
    assert np.quantile(np.abs(across - middle - lean) * MILLIMETRES, 0.98) < 7


def test_a_meningioma_touches_the_dura_or_the_falx_and_a_glioma_does_not(scenes, examples):
    head, level, tumour = scenes
    # The tumour's farthest point from the axis.
    stretch = 1 + tumour.radius / np.maximum(np.hypot(tumour.x, tumour.y), 1)
    x, y = jnp.asarray(tumour.x * stretch), jnp.asarray(tumour.y * stretch)
    z = level + head.pitch * (y - 24) + head.roll * x
    gap = np.asarray(anatomy.skull_depth(head, x, y, z) - anatomy.wall(head, x, y, z))
    beside = np.abs(tumour.x) - tumour.radius
    meningioma = examples.labels == MENINGIOMA
    assert (np.minimum(gap, beside)[meningioma] < 0).all()
    falx = meningioma & (beside < 0)
    assert 0.02 < falx.sum() / meningioma.sum() < 0.3
    assert np.median(gap[examples.labels == GLIOMA]) > 2


def test_a_meningioma_is_brighter_than_the_brain_and_more_even_than_a_glioma(examples):
    inside = [
        [
            image[mask, 0]
            for image, mask, y in zip(*examples[:3:2], examples.labels, strict=True)
            if y == k
        ]
        for k in (GLIOMA, MENINGIOMA)
    ]
    spread = [np.median([v.std() / v.mean() for v in values]) for values in inside]
    assert spread[1] < 0.7 * spread[0]


def test_one_phantom_equals_its_row_of_the_batch(examples):
    one = jax.jit(partial(phantom, size=SIZE))
    for row in (0, CHUNK + 1):
        key = jax.random.fold_in(jax.random.key(SEED), row)
        image, mask = one(key, int(examples.labels[row]))
        np.testing.assert_allclose(image, examples.images[row], atol=2e-3)
        assert np.mean(mask != examples.masks[row]) < 1e-3


def test_a_key_shows_the_same_head_at_another_size(examples):
    rows = jnp.arange(8)
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(SEED)))(rows)
    labels = jnp.asarray(examples.labels[:8])
    small, masks = jax.jit(jax.vmap(partial(phantom, size=SIZE // 2)))(keys, labels)
    pooled = examples.images[:8, :, :, 0].reshape(8, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4))
    for a, b in zip(np.asarray(small)[..., 0], pooled, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95
    areas = np.asarray(masks).sum((1, 2)) * 4, examples.masks[:8].sum((1, 2))
    np.testing.assert_allclose(*areas, rtol=0.35, atol=12)


def test_the_dataset_is_deterministic_balanced_and_one_patient_a_phantom(many, examples):
    again = dataset(SEED, CHUNK + 9, size=SIZE).examples
    other = dataset(SEED + 1, CHUNK, size=SIZE).examples
    assert np.ptp(np.bincount(examples.labels, minlength=4)) <= 1
    assert np.ptp(np.bincount(examples.folds)[1:]) <= 1 and set(examples.folds) == {
        *range(1, FOLDS + 1)
    }
    assert len(set(examples.patients)) == len(set(examples.names)) == TRAIN + TEST
    assert many.classes == CLASSES and "seed 3" in many.source
    repeat = dataset(SEED, CHUNK + 9, size=SIZE).examples
    for a, b in zip(again, repeat, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(other.images[0], again.images[0], atol=0.05)


def test_trivial_cues_do_not_solve_it(examples):
    images, labels = examples.images[..., 0], examples.labels
    thumbnails = images.reshape(-1, 8, SIZE // 8, 8, SIZE // 8).mean((2, 4)).reshape(-1, 64)
    bins = np.stack([np.histogram(i, 32, (0, 1))[0] / i.size for i in images])
    moments = np.stack([images.mean((1, 2)), images.std((1, 2))], axis=1)
    intensities = np.concatenate([moments, bins], axis=1)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    for model, cues in ((KNeighborsClassifier(1), thumbnails), (linear, intensities)):
        model.fit(cues[:TRAIN], labels[:TRAIN])
        assert model.score(cues[TRAIN:], labels[TRAIN:]) < 0.60


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (31, ValueError), (64.0, TypeError)])
def test_a_bad_size_is_an_error(size, error):
    with pytest.raises(error, match="size"):
        phantom(jax.random.key(0), jnp.int32(0), size=size)
    with pytest.raises(error, match="size"):
        dataset(0, 4, size=size)


def test_an_empty_dataset_is_an_error():
    with pytest.raises(ValueError, match="count"):
        dataset(0, 0, size=SIZE)


@pytest.fixture(scope="module")
def both_shapes():
    """The same sixty scenes with a round tumour and with a long one: images and masks of each."""
    drawn = jax.jit(jax.vmap(partial(phantom, size=SIZE, family="shapes"), (0, None)))
    keys = jax.random.split(jax.random.key(SEED), 60)
    return [tuple(map(np.asarray, drawn(keys, label))) for label in (0, 1)]


def test_shapes_differ_in_nothing_but_the_outline(both_shapes):
    (round_images, round_masks), (long_images, long_masks) = both_shapes
    within_reach = np.stack([distance_transform_edt(~m) < 3 for m in round_masks | long_masks])
    gap = np.abs(round_images - long_images)[..., 0]
    np.testing.assert_allclose(gap[~within_reach], 0, atol=1e-5)
    assert (gap[round_masks ^ long_masks] > 0.02).mean() > 0.7


def test_shapes_are_of_one_area_and_one_brightness(both_shapes):
    (round_images, round_masks), (long_images, long_masks) = both_shapes
    areas = [masks.sum((1, 2)) for masks in (round_masks, long_masks)]
    assert np.median(areas[1] / areas[0]) == pytest.approx(1, abs=0.03)
    shared = np.stack([binary_erosion(mask) for mask in round_masks & long_masks])
    np.testing.assert_allclose(round_images[shared], long_images[shared], atol=0.05)


def test_only_one_of_the_shapes_is_long(both_shapes):
    for (_, masks), least, most in zip(both_shapes, (1.0, 1.9), (1.35, 3.2), strict=True):
        ratios = [_elongation(mask) for mask in masks]
        assert least <= np.quantile(ratios, 0.05) and np.quantile(ratios, 0.95) < most


def _elongation(mask):
    return np.sqrt(np.divide(*np.linalg.eigvalsh(np.cov(np.argwhere(mask).T))[::-1]))


def test_a_dataset_of_shapes_has_its_two_classes_and_a_tumour_in_each_image():
    made = dataset(SEED, 10, size=32, family="shapes")
    assert made.classes == ("round", "long")
    assert sorted(made.examples.labels) == [0] * 5 + [1] * 5
    assert made.examples.masks.any((1, 2)).all()
    assert [str(name).split("/")[0] for name in made.examples.names] == [
        made.classes[label] for label in made.examples.labels
    ]


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="family: expected one of tumours, shapes, got 'forms'"):
        dataset(SEED, 10, size=32, family="forms")
