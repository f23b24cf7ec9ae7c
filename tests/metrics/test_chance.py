"""Guessing is told from knowing, and one answer to everything from many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.metrics.chance import agreement, chance, doubt, one_class

labels = st.lists(st.integers(0, 2), min_size=1, max_size=30)


def test_one_answer_to_everything():
    assert one_class([2, 2, 1, 2]) == (2, 0.75)
    with pytest.raises(ValueError, match="predictions: expected at least one"):
        one_class([])


@given(labels)
def test_a_constant_is_no_better_than_chance(true):
    assert chance(true, [1] * len(true), draws=20) == 1


def test_the_share_is_that_of_all_permutations():
    """Of two and two labels, one of six orders meets predictions that are all right."""
    assert chance([0, 0, 1, 1], [0, 0, 1, 1], draws=20000) == pytest.approx(1 / 6, abs=0.02)
    true = np.arange(40) % 2
    assert chance(true, true) == pytest.approx(1 / 2001)


def test_guesses_are_found_out_nineteen_times_of_twenty():
    random = np.random.default_rng(0)
    found = [
        chance(random.integers(0, 3, 60), random.integers(0, 3, 60), draws=200, seed=trial) <= 0.05
        for trial in range(200)
    ]
    assert np.mean(found) < 0.1


def test_other_numbers_are_refused():
    with pytest.raises(ValueError, match=r"labels \(2,\): expected \[N\] as predictions \(1,\)"):
        chance([0, 1], [0])


@given(labels, st.randoms(use_true_random=False))
def test_agreement_is_the_mean_over_all_shuffles(true, random):
    guessed = [random.choice(true) for _ in true]
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (true, guessed), 1)
    shifted = [np.mean(np.roll(true, n) == guessed) for n in range(len(true))]
    assert agreement(counts) == pytest.approx(np.mean(shifted))


def test_a_rare_class_that_is_known_is_no_guess():
    """Right for 960 of 1000: always saying the first class is right for 950, and knows nothing."""
    assert doubt([[930, 20], [20, 30]], [0.945, 0.97]) == ""
    always = doubt([[950, 0], [50, 0]], [0.93, 0.96])
    assert "of shuffled labels 100% give its accuracy of 0.950" in always


def test_what_patients_leave_open_is_no_knowledge():
    counts = [[40, 17], [25, 37]]
    assert doubt(counts) == doubt(counts, [0.5, 0.8]) == doubt(counts, [float("nan")] * 2) == ""
    assert "its accuracy is 0.647, by its interval perhaps 0.450" in doubt(counts, [0.45, 0.8])
    assert doubt(counts, share=0.051) and doubt([]) == ""
