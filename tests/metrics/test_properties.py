"""What holds of every metric, whichever it is."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal import metrics
from tests import toy

P = toy.params()
IMAGES = toy.images(8)
TARGETS = toy.targets(8)
KEYS = jax.random.split(jax.random.key(3), 8)
MASKS = toy.images(8, seed=4)[..., 0] > 1
MAPS = toy.images(8, seed=5)

OPTIONS: dict[str, dict[str, Any]] = {
    "top_k_intersection": {"k": 7},
    "insertion": {"steps": 5},
    "insertion_curve": {"steps": 5},
    "deletion": {"steps": 5},
    "deletion_curve": {"steps": 5},
    "road": {"removed": (0.2, 0.5, 0.9)},
    "road_curve": {"removed": (0.2, 0.5, 0.9)},
    "infidelity": {"samples": 3},
    "sensitivity_max": {"samples": 3, "method": jaxsal.gradient},
    "sensitivity_n": {"samples": 3, "shares": (0.1, 0.5)},
}
METRICS = {
    name: functools.partial(metric, **OPTIONS.get(name, {}))
    for name, metric in jaxsal.METRICS.items()
}
MASKED = {n for n, f in METRICS.items() if "mask" in inspect.signature(f).parameters}
POINTS = [n for n, f in METRICS.items() if "chunk" in inspect.signature(f).parameters]
SHAPES = {
    "insertion_curve": (6,),
    "deletion_curve": (6,),
    "road_curve": (3,),
    "sensitivity_n": (2,),
}
TOLERANCE = 5e-5
"""Of the largest value: completeness divides by what may be a small difference."""

every = pytest.mark.parametrize("name", METRICS)


@functools.cache
def evaluator(name: str, **options: Any) -> jaxsal.Evaluator:
    return jaxsal.evaluator(toy.apply, METRICS[name], **options)


def rows(name: str, chosen: Any = slice(None)) -> dict[str, Any]:
    return {"mask": MASKS[chosen]} if name in MASKED else {}


@functools.cache
def values(name: str) -> np.ndarray:
    """The metric of eight maps on eight devices."""
    evaluate = evaluator(name)
    return jax.device_get(evaluate(P, IMAGES, MAPS, TARGETS, key=KEYS, **rows(name)))


def one_device() -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("devices",))


@every
def test_shape_dtype_and_finite_values(name: str) -> None:
    assert values(name).shape == (8, *SHAPES.get(name, ()))
    assert values(name).dtype == np.float32
    assert np.isfinite(values(name)).all()


@every
def test_a_batch_on_eight_devices_equals_single_images_on_one(name: str) -> None:
    singles = [
        evaluator(name)(P, IMAGES[i], MAPS[i], TARGETS[i], key=KEYS[i], **rows(name, i))
        for i in (slice(k, k + 1) for k in range(0, 8, 3))
    ]
    toy.close(jnp.concatenate(singles), values(name)[::3], TOLERANCE)


@every
def test_no_value_depends_on_the_batch_size(name: str) -> None:
    evaluate = evaluator(name, batch_size=7, mesh=one_device())
    got = evaluate(P, IMAGES, MAPS, TARGETS, key=KEYS, **rows(name))
    toy.close(got, values(name), TOLERANCE)


@pytest.mark.parametrize("with_channels", [True, False])
def test_channels_may_come_first(with_channels: bool) -> None:
    """Which axes are spatial is read in the program: every metric's values are the same."""
    images, maps = np.moveaxis(IMAGES[:2], -1, 1), np.moveaxis(MAPS[:2], -1, 1)
    cheap = ("deletion", "completeness", "entropy", "roc_auc")  # of a map without channels
    chosen = METRICS if with_channels else {name: METRICS[name] for name in cheap}
    evaluate = jaxsal.evaluator(
        toy.channels_first, chosen, rewrite=False, mesh=one_device(), batch_size=2
    )
    maps = maps if with_channels else maps[:, 0]
    found = evaluate(P, images, maps, TARGETS[:2], key=KEYS[:2], mask=MASKS[:2])
    for name, got in found.items():
        toy.close(got, values(name)[:2], TOLERANCE)


@pytest.mark.parametrize("name", POINTS)
def test_no_value_depends_on_the_chunk(name: str) -> None:
    chunks = {str(size): functools.partial(METRICS[name], chunk=size) for size in (1, 2)}
    evaluate = jaxsal.evaluator(toy.apply, chunks)
    got = evaluate(P, IMAGES[:1], MAPS[:1], TARGETS[:1], key=KEYS[:1], **rows(name, slice(1)))
    toy.close(got, dict.fromkeys(chunks, values(name)[:1]), TOLERANCE)


@every
def test_a_rewritten_program_equals_the_plain_one(name: str) -> None:
    evaluate = evaluator(name, rewrite=False)
    got = evaluate(P, IMAGES, MAPS, TARGETS, key=KEYS, **rows(name))
    toy.close(got, values(name), TOLERANCE)


@every
def test_the_batch_around_a_map_does_not_change_its_value(name: str) -> None:
    """Quantus normalises by the largest value of a batch."""
    order = np.array([3, 0, 0, 7, 1, 2, 6, 5])
    keys = jax.random.wrap_key_data(np.asarray(jax.random.key_data(KEYS))[order])
    with toy.compilations() as counter:
        got = evaluator(name)(
            P, IMAGES[order], MAPS[order], TARGETS[order], key=keys, **rows(name, order)
        )
    assert counter.count == 0
    toy.close(got, values(name)[order], TOLERANCE)


SCALED = sorted(
    set(METRICS) - {"completeness", "infidelity"}  # these forecast the score's change itself
)


@pytest.mark.parametrize("name", SCALED)
def test_the_scale_of_a_map_does_not_count(name: str) -> None:
    got = evaluator(name)(P, IMAGES, 1e3 * MAPS, TARGETS, key=KEYS, **rows(name))
    toy.close(got, values(name), TOLERANCE)


SIGNED = {"completeness", "infidelity", "sensitivity_n"}


@pytest.mark.parametrize("name", sorted(set(METRICS) - SIGNED))
def test_the_sign_of_a_map_does_not_count_unless_said(name: str) -> None:
    got = evaluator(name)(P, IMAGES, np.abs(MAPS), TARGETS, key=KEYS, **rows(name))
    toy.close(got, values(name), TOLERANCE)


@every
def test_a_map_that_is_not_finite_is_never_a_good_one(name: str) -> None:
    maps = MAPS.copy()
    maps[0, 3, 3] = np.nan
    got = np.asarray(evaluator(name)(P, IMAGES, maps, TARGETS, key=KEYS, **rows(name)))
    if name != "sensitivity_max":  # which explains anew
        assert np.isnan(got[0]).all()
    toy.close(got[1:], values(name)[1:], TOLERANCE)


@pytest.mark.parametrize("name", ["deletion", "road", "infidelity", "sensitivity_n"])
def test_channels_are_summed_and_a_map_without_them_is_one(name: str) -> None:
    spatial = evaluator(name)(P, IMAGES, MAPS[..., 0], TARGETS, key=KEYS)
    toy.close(spatial, values(name), TOLERANCE)
    with pytest.raises(ValueError, match="map: expected the image's shape"):
        evaluator(name)(P, IMAGES, MAPS[:, :4], TARGETS, key=KEYS)


def test_the_table_is_complete_and_says_which_way_is_better() -> None:
    for name, function in jaxsal.METRICS.items():
        assert function.__name__ == name
        assert getattr(metrics, name) is function
        assert function.__doc__
    assert metrics.LOWER_IS_BETTER < set(jaxsal.METRICS)
