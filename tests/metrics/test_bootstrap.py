"""Bootstrap intervals: coverage, clusters, what is left out."""

import numpy as np
import pytest
import scipy.stats

from jaxsal.metrics.bootstrap import (
    Interval,
    cluster_count,
    difference_interval,
    group_difference,
    mean_interval,
    share_interval,
    summarise,
)

draw = np.random.default_rng(0)


def test_intervals_of_normal_values_are_the_textbooks():
    values = draw.normal(3.0, 2.0, size=400)
    got = mean_interval(values, resamples=20000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert got.mean == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert got.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    hits = 0
    for trial in range(300):
        effect = draw.normal(size=30)
        patients = draw.integers(0, 30, size=150)
        values = effect[patients] + 0.1 * draw.normal(size=150)
        # A fresh truth each time: the patients themselves are the sample.
        interval = mean_interval(values, patients, resamples=500, seed=trial)
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 300 <= 0.99


def test_ten_hits_of_ten_are_no_certainty():
    """Wilson's interval of 10 of 10 is [0.722, 1] (Newcombe 1998 has it); of 0 of 10 its mirror."""
    every, none = share_interval(np.ones(10)), share_interval(np.zeros(10))
    assert every == pytest.approx((1, 0.7225, 1), abs=1e-4)
    assert none == pytest.approx((0, 0, 0.2775), abs=1e-4)
    two_patients = share_interval(np.ones(10), np.repeat(["a", "b"], 5), fewest=2)
    assert two_patients.low == pytest.approx(1 / (1 + 1.96**2 / 2), abs=1e-3)
    mixed = np.arange(10) < 7
    assert share_interval(mixed) == mean_interval(mixed)


def test_images_of_one_patient_do_not_count_as_many():
    values = np.repeat(draw.normal(size=20), 10)
    patients = np.repeat([f"p{i}" for i in range(20)], 10)
    by_patient, by_image = mean_interval(values, patients), mean_interval(values)
    ratio = (by_patient.high - by_patient.low) / (by_image.high - by_image.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)
    one_each = mean_interval(values[::10], patients[::10])
    assert by_patient == pytest.approx(one_each)


def test_one_cluster_a_value_is_no_clustering_and_unnamed_patients_are_their_own():
    values = draw.normal(size=12)
    expected = mean_interval(values)
    assert mean_interval(values, np.arange(12)) == pytest.approx(expected)
    assert mean_interval(values, [""] * 12) == pytest.approx(expected)


MISSING = ["", "a", "", "b", "a", ""]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(MISSING, object),
        np.array(MISSING, "S"),
        np.array(MISSING, np.dtypes.StringDType()),
        np.array([each or None for each in MISSING], object),
        np.array([each or np.nan for each in MISSING], object),
        np.array([{"a": 1.0, "b": 2.0}.get(each, np.nan) for each in MISSING]),
        np.array(
            ["NaT" if not each else f"2020-01-0{1 + (each == 'b')}" for each in MISSING], "M8[D]"
        ),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_patients_without_a_name_are_their_own_whatever_the_dtype(labels):
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    own = [2, 0, 3, 1, 0, 4]
    assert cluster_count(values, labels) == 5
    assert mean_interval(values, labels, fewest=2) == mean_interval(values, own, fewest=2)


def test_labels_of_several_types_are_apart():
    assert cluster_count([1.0, 2.0, 3.0], np.array(["1", 1, "1"], object)) == 2


def test_what_is_not_finite_is_left_out():
    values = np.array([1.0, np.nan, 2.0, np.inf, 4.0])
    patients = np.array(["a", "a", "b", "c", "d"])
    assert mean_interval(values, patients) == mean_interval([1.0, 2.0, 4.0], ["a", "b", "d"])


def test_nothing_to_resample_has_no_bounds_and_nothing_at_all_no_mean():
    assert mean_interval([1.0, 3.0], ["a", "a"])[0] == 2.0
    assert np.isnan(mean_interval([1.0, 3.0], ["a", "a"])[1:]).all()
    assert np.isnan(mean_interval([np.nan])).all()
    assert np.isnan(mean_interval([])).all()


def test_few_patients_have_no_interval():
    """However many images they have: the mean stands alone."""
    values = draw.random(90) < 0.5
    for interval in (mean_interval, share_interval):
        few = interval(values, np.arange(90) % 9)
        assert few.mean == values.mean() and np.isnan(few[1:]).all()
        assert np.isfinite(interval(values, np.arange(90) % 10)).all()
        assert np.isfinite(interval(values, np.arange(90) % 9, fewest=9)).all()
    assert np.isnan(share_interval(np.ones(90), np.arange(90) % 9)[1:]).all()
    for interval in (mean_interval, share_interval):  # one alone has none, whatever is asked
        assert np.isnan(interval(np.ones(90), np.zeros(90), fewest=1)[1:]).all()


def test_clusters_are_counted_as_they_are_drawn():
    values = np.array([1.0, np.nan, 2.0, 3.0])
    assert cluster_count(values, ["a", "b", "a", "c"]) == 2
    assert cluster_count(values, ["", "b", "", "c"]) == cluster_count(values) == 3


def test_the_same_seed_gives_the_same_interval():
    values = draw.normal(size=50)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_a_wider_level_is_a_wider_interval():
    values = draw.normal(size=50)
    narrow, wide = mean_interval(values, level=0.5), mean_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_a_paired_difference_is_surer_than_its_parts():
    common = 10 * draw.normal(size=100)
    first, second = common + 1 + 0.1 * draw.normal(size=100), common
    got = difference_interval(first, second)
    assert 0.9 < got.low < got.mean < got.high < 1.1
    assert mean_interval(first).low < mean_interval(second).high
    first[:50] = np.nan
    assert difference_interval(first, second).mean == pytest.approx((first - second)[50:].mean())


def test_two_groups_differ_as_welchs_test_has_it():
    random = np.random.default_rng(3)
    first = np.arange(400) % 4 == 0
    values = random.normal(np.where(first, 1.0, 0.3), np.where(first, 1.0, 2.0))
    found = group_difference(values, first)
    exact = scipy.stats.ttest_ind(values[first], values[~first], equal_var=False)
    low, high = exact.confidence_interval()
    assert found.mean == pytest.approx(values[first].mean() - values[~first].mean())
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.06)


def test_groups_of_patients_are_drawn_with_them():
    patients = np.repeat(np.arange(20), 5)
    own = patients % 2 == 0
    values = np.random.default_rng(0).normal(size=20)[patients]
    found = group_difference(values, own, patients)
    alone = group_difference(values[::5], own[::5])
    np.testing.assert_allclose(found, alone)
    assert np.isnan(group_difference(values[:20], own[:20], patients[:20]).low)
    assert np.isnan(group_difference(values, np.ones(100, bool)).mean)
    lone = group_difference(values, patients == 3, patients)  # one patient against nineteen
    assert np.isfinite(lone.mean) and np.isnan(lone.low)
    with pytest.raises(ValueError, match=r"first \(2,\): expected \(100,\) as the values"):
        group_difference(values, own[:2])


def test_summaries_keep_the_names():
    values = draw.random(9).astype(np.float32)
    got = summarise({"tumour": {"share": values}, "hit": values > 0.5}, resamples=100, seed=1)
    assert got["tumour"]["share"] == list(mean_interval(values, resamples=100, seed=1))
    assert got["hit"] == list(mean_interval(values > 0.5, resamples=100, seed=1))
    assert Interval(*got["hit"]).mean == pytest.approx((values > 0.5).mean())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_interval(np.ones((2, 2))), r"values \(2, 2\)"),
        (lambda: mean_interval([1.0, 2.0], ["a"]), r"clusters \(1,\)"),
        (lambda: mean_interval([1.0, 2.0], level=1.5), "level 1.5"),
        (lambda: difference_interval([1.0], [1.0, 2.0]), r"second \(2,\)"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
