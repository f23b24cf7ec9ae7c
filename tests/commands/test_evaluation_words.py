"""What is concluded of an evaluation, from its record alone."""

import numpy as np
import pytest

from jaxsal.commands import evaluation_words
from jaxsal.commands.localising import above_even
from jaxsal.data.examples import Examples

SIDE = 4


def examples(areas: list[int]) -> Examples:
    """An image a patient, with masks of so many of the 16 pixels."""
    count = len(areas)
    masks = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) < np.array(areas)[:, None, None]
    return Examples(
        np.zeros((count, SIDE, SIDE, 1), np.float32),
        np.arange(count, dtype=np.int32) % 2,
        masks,
        np.ones(count, np.int32),
        np.array([f"patient {n}" for n in range(count)]),
        np.array([str(n) for n in range(count)]),
    )


def record(above: dict[str, list[float | None]]) -> dict:
    """Of a network that is right of all."""
    return {
        "classes": ["no", "yes"],
        "confusion": [[6, 0], [0, 6]],
        "accuracy": 1.0,
        "accuracy_interval": [0.76, 1.0],
        "bootstrap": "patient",
        "chance": 0.001,
        "per_class": {"no": {"sensitivity": 1.0}, "yes": {"sensitivity": 1.0}},
        "localisation": {"above_even": above},
    }


def test_maps_are_concluded_of_where_the_interval_lies_above_an_even_one() -> None:
    above = {"one": [0.2, 0.1, 0.3], "two": [0.1, -0.1, 0.2], "three": [0.3, None, None]}
    assert "difference: one. Not shown of: two, three." in evaluation_words.on_masks(record(above))


def test_a_mass_is_held_against_the_area_of_the_same_images() -> None:
    """Maps that are even, or of no relevance where masks are small, are not above even ones."""
    areas = [1] * 12 + [8] * 12
    shown = examples(areas)
    mass = np.where(np.array(areas) == 1, np.nan, 0.5)
    found = above_even(mass, shown)
    assert found == [0, 0, 0] and mass[12:].mean() > shown.masks.mean()
    mean, low, high = above_even(mass + np.linspace(0.1, 0.3, 24), shown)
    assert mean == pytest.approx(np.linspace(0.1, 0.3, 24)[12:].mean()) and 0.2 < low < mean < high


@pytest.mark.parametrize(("share", "low"), [(0.3, 0.76), (0.001, 0.4)])
def test_nothing_is_concluded_where_guessing_is_warned_of(share, low) -> None:
    """By shuffled labels, or by the interval alone: patients may be fewer than images."""
    above = {"one": [0.2, 0.1, 0.3]}
    sure = record(above)
    assert evaluation_words.missed(sure) and evaluation_words.on_masks(sure)
    doubted = sure | {"chance": share, "accuracy_interval": [low, 1.0]}
    assert evaluation_words.missed(doubted) == evaluation_words.on_masks(doubted) == ""


def test_images_of_unknown_patients_are_doubted_by_shuffled_labels_alone() -> None:
    wide = record({}) | {"accuracy_interval": [0.4, 1.0], "bootstrap": "image"}
    assert evaluation_words.missed(wide)
    assert not evaluation_words.missed(wide | {"chance": 0.3})
