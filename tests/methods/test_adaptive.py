"""Integrated gradients with a tolerance: as complete as asked, or said not to be."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy
from tests.golden2 import IMAGES, PARAMS, TARGETS, apply

TOLERANCE = 0.002
METHOD = functools.partial(jaxsal.integrated_gradients, tolerance=TOLERANCE)


def one_device():
    return jax.sharding.Mesh(jax.devices()[:1], ("devices",))


@functools.cache
def record():
    return jax.device_get(jaxsal.explainer(apply, METHOD).record(PARAMS, IMAGES, TARGETS))


def missing(maps):
    """What a batch of maps lacks, as a share of the score's change."""
    logits = np.asarray(apply(PARAMS, jnp.asarray(IMAGES)) - apply(PARAMS, 0 * IMAGES[:1]))
    change = logits[np.arange(len(TARGETS)), TARGETS]
    return np.abs(np.asarray(maps).sum((1, 2, 3)) - change) / np.abs(change)


def test_maps_are_as_complete_as_asked_and_images_take_different_numbers_of_points():
    found = record()
    assert found.steps.converged.all() and found.steps.points.dtype == np.int32
    assert (missing(found.maps) <= 1.1 * TOLERANCE).all()  # the sum is not taken in the same order
    assert len(set(found.steps.points.tolist())) > 1
    fixed = jaxsal.explainer(apply, jaxsal.integrated_gradients, steps=400)
    toy.close(found.maps, np.asarray(fixed(PARAMS, IMAGES, TARGETS)), 0.03)


def test_neither_chunk_nor_batch_nor_devices_decide_the_map():
    sizes = {f"{n}": functools.partial(METHOD, chunk=n) for n in (1, 3)}
    explain = jaxsal.explainer(apply, sizes, mesh=one_device(), batch_size=3)
    found = jax.device_get(explain.record(PARAMS, IMAGES, TARGETS))
    for name in sizes:
        toy.close(found.maps[name], record().maps)
        np.testing.assert_array_equal(found.steps[name].points, record().steps.points)
    with toy.compilations() as counter:
        again = explain.record(PARAMS, IMAGES[::-1].copy(), TARGETS[::-1].copy())
    assert counter.count == 0
    toy.close(again.maps["3"], record().maps[::-1])


def test_images_do_not_wait_for_each_other_on_a_cpu():
    """Of a fixed number of points all images are evaluated at once."""
    fixed = functools.partial(jaxsal.integrated_gradients, steps=3)
    plans = {}
    for name, method in {"adaptive": METHOD, "fixed": fixed}.items():
        explain = jaxsal.explainer(apply, method, mesh=one_device())
        call = explain._prepare(PARAMS, {"image": IMAGES}, TARGETS, None)
        plans[name] = explain._execute.plan(call)[0]
    assert (plans["adaptive"].images, plans["adaptive"].chunk) == (1, 4)
    assert plans["fixed"].images == len(IMAGES)


LIMITS = {"tolerance": 0.05, "max_steps": 5}
WAVES = IMAGES[:3, :4, :4]
NOISE = {"samples": 3, "noise": 0.3, "relative": False}


def waves(params, images):
    return jnp.sin(3 * images).sum((1, 2))


def told(method, **options):
    """What a record of waves says, and whether something was warned of."""
    explain = jaxsal.explainer(waves, method, mesh=one_device(), spatial_axes=(0, 1), **options)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        steps = explain.record({}, WAVES, 0, key=jax.random.key(0)).steps
    return steps, [str(each.message).split(" are ")[0] for each in found]


def test_a_combinator_tells_what_its_method_took():
    """All samples' points, of each map; a map is as asked where all of its samples are."""

    @jax.jit
    @jax.vmap
    def sample(image, key):
        image = image + 0.3 * jax.random.normal(key, image.shape)
        score = lambda x: waves({}, x[None])[0, 0]  # noqa: E731
        return jaxsal.integrated_gradients.refined(score, image, **LIMITS)

    points, converged = [], []
    for row, image in enumerate(WAVES):
        own = jax.random.fold_in(jax.random.key(0), row)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(own, np.arange(3))
        took = sample(jnp.stack([image] * 3), keys)
        points.append(int(took.points.sum()))
        converged.append(bool(took.converged.all()))
    assert 0 < sum(converged) < 3
    warned = [f"tolerance: maps of {3 - sum(converged)} of 3 images"]

    bound = functools.partial(jaxsal.integrated_gradients, **LIMITS)
    steps, said = told(jaxsal.smoothgrad(jaxsal.integrated_gradients, **NOISE), **LIMITS)
    both, again = told(
        {
            "var": jaxsal.vargrad(bound, **NOISE),
            "twice": jaxsal.smoothgrad(jaxsal.smoothgrad_squared(bound, **NOISE), samples=2),
        }
    )
    for found in (steps, both["var"]):
        np.testing.assert_array_equal(found.points, points)
        np.testing.assert_array_equal(found.converged, converged)
    assert said == warned and len(again) == 1
    assert (both["twice"].points >= 2 * 3 * 2).all() and both["twice"].points.dtype == np.int32


def test_what_max_steps_do_not_suffice_for_is_said():
    explain = jaxsal.explainer(apply, METHOD, tolerance=1e-7, max_steps=6, mesh=one_device())
    with pytest.warns(RuntimeWarning, match="tolerance: maps of 4 of 4 images are not as complete"):
        found = explain.record(PARAMS, IMAGES, TARGETS)
    assert not found.steps.converged.any()
    np.testing.assert_array_equal(found.steps.points, 5)  # nine would be the next


def test_every_class_and_no_tolerance():
    explain = jaxsal.explainer(apply, METHOD, mesh=one_device())
    steps = explain.record(PARAMS, IMAGES[:2], "all").steps
    assert steps.points.shape == steps.converged.shape == (2, 5)
    plain = jaxsal.explainer(apply, jaxsal.integrated_gradients, steps=3, mesh=one_device())
    assert plain.record(PARAMS, IMAGES[:1], TARGETS[:1]).steps is None


def test_a_path_without_length_and_a_polynomial():
    """Of a cubic, Simpson's rule on three points is exact; forward-mode derivatives pass."""
    cubic = lambda x: jnp.sum(x**3)  # noqa: E731
    image = jnp.asarray([1.0, 2.0, -0.5])
    found = jaxsal.integrated_gradients.refined(cubic, image, tolerance=1e-5)
    np.testing.assert_allclose(found.map, image**3, rtol=1e-6)
    assert found.points == 3 and found.converged
    still = jaxsal.integrated_gradients.refined(cubic, image, baseline=image, tolerance=0.1)
    assert still.converged and not still.map.any() and still.points == 2
    explain = functools.partial(jaxsal.integrated_gradients, cubic, tolerance=1e-5)
    tangent = jax.jvp(explain, (image,), (jnp.ones(3),))[1]
    np.testing.assert_allclose(tangent, 3 * image**2, rtol=1e-5)


def test_errors_that_cancel_in_the_sum_are_not_seen():
    """As the docstring says: completeness is asked for, of the map as a whole."""
    score = lambda x: x[0] ** 3 - x[1] ** 3  # noqa: E731
    found = jaxsal.integrated_gradients.refined(score, jnp.ones(2), tolerance=0.0)
    assert found.converged and found.points == 2
    np.testing.assert_allclose(found.map, [1.5, -1.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": -1.0}, r"tolerance: expected a number in \[0, inf\], got -1.0"),
        ({"tolerance": 0.1, "max_steps": 1}, "max_steps: expected an integer >= 2, got 1"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        jaxsal.integrated_gradients(jnp.sum, jnp.ones(3), **options)


@pytest.mark.parametrize("other", [{"steps": 20}, {"rule": "riemann_left"}])
def test_what_a_tolerance_takes_the_place_of_is_refused(other):
    with pytest.raises(ValueError, match="no steps or rule beside it"):
        METHOD(lambda image: jnp.sum(image**2), jnp.ones((4, 4, 1)), **other)
    with pytest.raises(ValueError, match="no steps or rule beside it"):
        told(METHOD, **other)
