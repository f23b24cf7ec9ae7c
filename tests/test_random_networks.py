"""The short form of `python -m tests.random_networks`, and that it can fail."""

import jax
import numpy as np
import pytest

from tests.random_networks import __main__ as fuzz
from tests.random_networks import judging, questions


@pytest.mark.parametrize("number", [3, 4, 5, 9])
def test_networks_drawn_at_random_agree_with_plain_jax(number: int, capsys) -> None:
    with jax.numpy_dtype_promotion("standard"):  # networks as people write them
        summary = fuzz.run(0, number, 1)
    assert summary["comparisons"] > 3 and not summary["refused"]
    assert summary["wrong"] == 0, capsys.readouterr().out


def test_all_methods_come_round_equally() -> None:
    rounds = 2 * len(questions.NAMES)
    asked = [name for number in range(rounds) for name in questions.names(0, number, False)]
    counts = {name: asked.count(name) for name in questions.NAMES}
    # One that is drawn twice for a network, at the border of two rounds, is asked once.
    assert min(counts.values()) > 0.7 * max(counts.values()) > 0


class Still:
    """An oracle that does not move."""

    half = False

    def moved(self, name: str, *, eager: bool) -> float:
        return 1e-7

    def gives(self, form: str, result: np.ndarray, name: str) -> bool:
        return False


def hold(one: np.ndarray, other: np.ndarray, oracle: Still) -> list[judging.Difference]:
    return judging.hold("here", ("rewritten", one), ("JAX", other), oracle, "0")


VALUES = np.array([1.0, -3.0, 0.0])
OTHERS = {
    "size": VALUES * (1 + 2e-5),
    "nan": np.array([1.0, np.nan, 0.0]),
    "shape": VALUES[:2],
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_difference_is_told(other: str) -> None:
    for pair in ((VALUES, OTHERS[other]), (OTHERS[other], VALUES)):
        assert [each.wrong for each in hold(*pair, Still())] == [True]


def test_what_moves_by_itself_as_much_is_no_fault() -> None:
    still = Still()
    still.moved = lambda name, *, eager: 1e-5
    (found,) = hold(VALUES, VALUES * (1 + 2e-5), still)
    assert not found.wrong and found.size < found.own
    assert not hold(VALUES, VALUES * (1 + 1e-6), Still())


def test_what_another_way_to_run_plain_jax_gives_is_no_fault() -> None:
    several = Still()
    several.gives = lambda form, result, name: True
    (found,) = hold(VALUES, OTHERS["nan"], several)
    assert not found.wrong and found.why == judging.ANOTHER_WAY
