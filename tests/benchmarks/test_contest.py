"""A contest: contenders agree before they are timed, and none is skipped in silence."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.agreement import apart
from benchmarks.contest import Case, Contender, agreement, contest, workers
from benchmarks.throughput import row_text
from benchmarks.worker import Died, Worker

ECHO = {"jax": "tests.benchmarks.echo", "torch": "tests.benchmarks.no_such_module"}
CASE = Case("none", "gradient", 2)


def test_every_contender_has_a_row_and_is_compared_with_the_first(tmp_path):
    names = ("quick", "slow", "nobody", "broken")
    contenders = [Contender("jax", name) for name in names] + [Contender("torch", "captum")]
    with workers(modules=ECHO) as running:
        rows = contest(running, CASE, contenders, tmp_path, rounds=3, precision="highest")
    quick, slow, nobody, broken, captum = rows
    assert quick["ratio"] == 1.0 and slow["ratio"] > 1.5
    assert slow["agreement"]["largest"] == 0.0
    assert nobody["absent"] == "not installed"
    assert broken["failed"] == "ValueError: no such thing"
    assert "no_such_module" in captum["absent"]
    assert "absent" in row_text(nobody) and "img/s" in row_text(slow)


def test_a_contender_that_takes_its_process_along_is_a_row_and_the_others_stand(tmp_path):
    contenders = [Contender("jax", name) for name in ("killed", "quick")]
    with workers(modules=ECHO) as running:
        killed, quick = contest(running, CASE, contenders, tmp_path, rounds=1, precision="highest")
    assert killed["failed"] == "exit 9: out of memory"
    assert quick["images_per_s"] > 0


@pytest.mark.parametrize("last", ["killed", "killed later"])
def test_what_was_prepared_before_a_process_died_is_prepared_again(last, tmp_path):
    contenders = [Contender("jax", name) for name in ("quick", "slow", last)]
    with workers(modules=ECHO) as running:
        quick, slow, killed = contest(
            running, CASE, contenders, tmp_path, rounds=2, precision="highest"
        )
    assert killed["failed"] == "exit 9: out of memory" and "time" not in killed
    assert quick["images_per_s"] > 0 and slow["ratio"] > 1.5


def test_only_maps_that_are_the_first_ones_are_timed(tmp_path):
    contenders = [Contender("jax", name) for name in ("nan", "quick", "other", "slow")]
    with workers(modules=ECHO) as running:
        rows = contest(running, CASE, contenders, tmp_path, rounds=1, precision="highest")
        drawn = CASE._replace(random=True)
        random = contest(running, drawn, contenders[:3], tmp_path, rounds=1, precision="highest")
    nan, quick, other, slow = rows
    assert nan["failed"] == random[0]["failed"] == "maps not finite"
    assert other["failed"] == "other maps: cosine 0.500, expected 0.99"
    assert not {"time", "ratio", "first_call_s"} & (set(nan) | set(other))
    assert "time" in quick and "time" in slow  # the first that are numbers are the reference
    assert all("time" in row for row in random[1:])  # what is drawn at random may differ


def test_how_alike_maps_must_be_depends_on_the_precision_and_on_known_variants() -> None:
    def row(cosine, contender="torch", method="gradient"):
        found = {"largest": 0.1, "median": 0.0, "cosine": cosine}
        return {"contender": contender, "method": method, "random": False, "agreement": found}

    assert apart(row(0.98), "highest") and not apart(row(0.98), "tf32")
    assert apart(row(0.9), "tf32") and not apart(row(0.9, "torch bfloat16"), "tf32")
    assert apart(row(float("nan")), "highest")
    deep_lift = row(0.95, "captum, channels_last", "deep_lift")
    assert not apart(deep_lift, "highest") and apart(row(0.95, "captum"), "highest")


def test_single_values_agree_by_their_difference() -> None:
    """Of one positive number an image any other has the cosine 1."""
    values = np.asarray([[0.5], [1.0]], np.float32)
    row = {"contender": "torch", "method": "deletion", "random": False}
    same, other = (agreement({"value": values + gap}, {"value": values}) for gap in (1e-6, 0.01))
    assert apart({**row, "agreement": same}, "highest") is None
    assert (
        apart({**row, "agreement": other}, "highest")
        == "other values: 1.0e-02 of the largest apart"
    )


def test_maps_of_one_channel_are_compared_whether_they_say_so_or_not() -> None:
    """Grad-CAM's are [B, H, W] by jaxsal and [B, H, W, 1] by captum; both were once timed alone."""
    maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert agreement({"map": maps[..., None]}, {"map": maps})["largest"] == 0.0
    assert agreement({"map": maps[:, :1]}, {"map": maps}) == {}


def test_a_dead_worker_says_what_it_said_last():
    with Worker("tests.benchmarks.no_such_module") as worker, pytest.raises(Died, match="No mod"):
        worker.ask("about")


small = arrays.arrays(np.float32, (3, 2, 2, 1), elements=st.integers(-3, 3).map(float))


@given(small)
def test_maps_agree_with_themselves(maps):
    found = agreement({"map": maps}, {"map": maps})
    assert found["largest"] == found["median"] == 0.0
    flat = maps.reshape(3, -1)
    if flat.any(1).all() and np.ptp(flat, axis=1).all():
        assert found["cosine"] == pytest.approx(1.0) and found["spearman"] == pytest.approx(1.0)


@given(small, small)
def test_rank_correlation_is_scipys(ours, theirs):
    pairs = [(a.ravel(), b.ravel()) for a, b in zip(ours, theirs, strict=True)]
    if not all(np.ptp(a) and np.ptp(b) for a, b in pairs):
        return
    expected = min(scipy.stats.spearmanr(a, b).statistic for a, b in pairs)
    assert agreement({"m": ours}, {"m": theirs})["spearman"] == pytest.approx(expected, abs=1e-6)
