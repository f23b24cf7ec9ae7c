"""A contest: contenders agree before they are timed, and none is skipped in silence."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

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
