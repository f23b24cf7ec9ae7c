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
from jaxsal.common.options import takes_key
from tests import toy

P = toy.params()
IMAGES = toy.images(8)
TARGETS = np.argmax(np.asarray(toy.apply(P, IMAGES)), 1).astype(np.int32)  # they are right
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
    "faithfulness_correlation": {"samples": 5, "subset": 9},
    "region_perturbation": {"patch": 3, "regions": 4},
    "selectivity": {"patch": 4},
    "monotonicity": {"steps": 5},
    "sic": {"thresholds": (0.1, 0.4), "points": 10},
    "aic": {"thresholds": (0.1, 0.4), "points": 10},
    "local_lipschitz": {"samples": 3, "method": jaxsal.gradient},
    "relative_input_stability": {"samples": 3, "method": jaxsal.gradient},
}
SIGNED = {"completeness", "infidelity", "sensitivity_n", "faithfulness_correlation"}
SIGNED |= {"region_perturbation", "selectivity", "monotonicity"}
ANEW = {"sensitivity_max", "local_lipschitz", "relative_input_stability"}
"""They explain the image themselves."""
UNDEFINED = ("sic", "aic")
"""NaN where a picture that shows nothing scores as high: here -1."""
METRICS = {
    name: functools.partial(metric, **OPTIONS.get(name, {}))
    for name, metric in jaxsal.METRICS.items()
}
POINTS = [n for n, f in METRICS.items() if "chunk" in inspect.signature(f).parameters]
SHAPES = {
    "insertion_curve": (6,),
    "deletion_curve": (6,),
    "road_curve": (3,),
    "sensitivity_n": (2,),
    "region_perturbation": (4,),
    "selectivity": (4,),
}
TOLERANCE = 5e-5
"""Of the largest value: completeness divides by what may be a small difference."""

Values = dict[str, np.ndarray]


@functools.cache
def evaluator(**options: Any) -> jaxsal.Evaluator:
    """All metrics: what holds of each is asked of one program."""
    return jaxsal.evaluator(toy.apply, METRICS, **options)


def measured(
    evaluate: jaxsal.Evaluator, chosen: Any = slice(None), *, maps: Any = MAPS, masked: bool = True
) -> Values:
    """The metrics of some of the maps."""
    mask = {"mask": MASKS[chosen]} if masked else {}
    keys = jax.random.wrap_key_data(np.asarray(jax.random.key_data(KEYS))[chosen])
    rows = (x[chosen] for x in (IMAGES, maps, TARGETS))
    found = jax.device_get(evaluate(P, *rows, key=keys, **mask))
    if not isinstance(found, dict):
        return found
    return {name: _defined(name, got) for name, got in found.items()}


def _defined(name: str, got: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(got), -1, got) if name.split()[0] in UNDEFINED else got


@functools.cache
def values() -> Values:
    """The metrics of eight maps on eight devices."""
    return measured(evaluator())


def of(chosen: Any, names: Any = METRICS) -> Values:
    return {name: values()[name][chosen] for name in names}


def one_device() -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("devices",))


@pytest.mark.parametrize("name", METRICS)
def test_shape_dtype_and_finite_values(name: str) -> None:
    found = values()[name]
    assert found.shape == (8, *SHAPES.get(name, ()))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_may_be_undefined_is_defined_of_some(name: str) -> None:
    """Else its figures below would compare -1 with -1."""
    assert (values()[name] >= 0).sum() >= 2


def test_a_batch_on_eight_devices_equals_single_images_on_one() -> None:
    for i in range(0, 8, 3):
        one = slice(i, i + 1)
        toy.close(measured(evaluator(), one), of(one), TOLERANCE)


@pytest.mark.parametrize("name", ["completeness", "deletion_curve", "roc_auc"])
def test_a_metric_alone_is_its_entry_among_others(name: str) -> None:
    masked = "mask" in inspect.signature(METRICS[name]).parameters
    alone = measured(jaxsal.evaluator(toy.apply, METRICS[name]), masked=masked)
    toy.close(alone, values()[name], TOLERANCE)


def test_no_value_depends_on_the_batch_size() -> None:
    """Three evaluations at a time on one device: chunks of three maps, the last one padded."""
    toy.close(measured(evaluator(batch_size=3, mesh=one_device())), values(), TOLERANCE)


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
    found = {name: _defined(name, got) for name, got in jax.device_get(found).items()}
    toy.close(found, of(slice(2), chosen), TOLERANCE)


def test_no_value_depends_on_the_chunk() -> None:
    one = slice(1)
    chunks = {
        f"{name} {size}": functools.partial(METRICS[name], chunk=size)
        for name in POINTS
        for size in (1, 2)
    }
    found = measured(jaxsal.evaluator(toy.apply, chunks), one, masked=False)
    toy.close(found, {name: values()[name.split()[0]][one] for name in chunks}, TOLERANCE)


def test_a_rewritten_program_equals_the_plain_one() -> None:
    toy.close(measured(evaluator(rewrite=False)), values(), TOLERANCE)


def test_the_batch_around_a_map_does_not_change_its_value() -> None:
    """Quantus normalises by the largest value of a batch."""
    order = np.array([3, 0, 0, 7, 1, 2, 6, 5])
    values()
    with toy.compilations() as counter:
        found = measured(evaluator(), order)
    assert counter.count == 0
    toy.close(found, of(order), TOLERANCE)


def test_the_scale_of_a_map_does_not_count() -> None:
    """But where it forecasts the score's change itself."""
    scaled = METRICS.keys() - {"completeness", "infidelity"}
    found = measured(evaluator(), maps=1e3 * MAPS)
    toy.close({name: found[name] for name in scaled}, of(..., scaled), TOLERANCE)


def test_the_sign_of_a_map_does_not_count_unless_said() -> None:
    unsigned = METRICS.keys() - SIGNED
    found = measured(evaluator(), maps=np.abs(MAPS))
    toy.close({name: found[name] for name in unsigned}, of(..., unsigned), TOLERANCE)


def test_a_map_that_is_not_finite_is_never_a_good_one() -> None:
    maps = MAPS.copy()
    maps[0, 3, 3] = np.nan
    found = measured(evaluator(), maps=maps)
    for name, got in found.items():
        if name not in (*ANEW, *UNDEFINED):
            assert np.isnan(got[0]).all(), name
    toy.close({name: got[1:] for name, got in found.items()}, of(slice(1, None)), TOLERANCE)


def test_images_of_bfloat16_have_values_in_float32() -> None:
    """Near those of float32, of metrics that count nothing."""
    names = ("deletion", "insertion", "infidelity", "average_drop", "selectivity")
    keyed = {name: {"key": KEYS[0]} if takes_key(METRICS[name]) else {} for name in names}

    @jax.jit
    def measure(params: dict, image: jax.Array, map: jax.Array) -> Values:
        score = lambda x: toy.score(params, x, TARGETS[0])  # noqa: E731
        return {name: METRICS[name](score, image, map, **keyed[name]) for name in names}

    given = P, jnp.asarray(IMAGES[0])
    narrow = measure(*jax.tree.map(lambda x: x.astype(jnp.bfloat16), given), MAPS[0])
    assert {x.dtype for x in jax.tree.leaves(narrow)} == {np.dtype("float32")}
    toy.close(narrow, measure(*given, MAPS[0]), 0.05)


def test_channels_are_summed_and_a_map_without_them_is_one() -> None:
    names = ("deletion", "road", "infidelity", "sensitivity_n")
    evaluate = jaxsal.evaluator(toy.apply, {name: METRICS[name] for name in names})
    toy.close(measured(evaluate, maps=MAPS[..., 0], masked=False), of(..., names), TOLERANCE)
    with pytest.raises(ValueError, match="map: expected the image's shape"):
        measured(evaluate, maps=MAPS[:, :4], masked=False)


def test_the_table_is_complete_and_says_which_way_is_better() -> None:
    for name, function in jaxsal.METRICS.items():
        assert function.__name__ == name
        assert getattr(metrics, name) is function
        assert function.__doc__
    assert metrics.LOWER_IS_BETTER < set(jaxsal.METRICS)
