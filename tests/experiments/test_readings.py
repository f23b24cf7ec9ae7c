"""What the sections say follows from the numbers, and from nothing else."""

from pathlib import Path

import numpy as np
import pytest

from experiments import claims, sanity, shape_figures, study
from experiments.compare_section import compare_section
from experiments.edits import EDITS
from experiments.sanity_section import FAILS, PASSES, UNDECIDED, sanity_section
from experiments.scoring import ROBUSTNESS
from experiments.shape_section import CLAIMS, PAPER, shape_section, verdicts
from experiments.wording import wording
from jaxsal.viz import charts
from jaxsal.viz.picture import Picture

UP, DOWN, OPEN, NONE = [1.0, 0.5, 1.5], [-1.0, -2.0, -0.5], [0.1, -1.0, 1.0], [None] * 3


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(UP, claims.HOLDS), (DOWN, claims.SMALL), (OPEN, claims.OPEN), (NONE, claims.OPEN)],
)
def test_verdicts(interval, expected) -> None:
    assert claims.verdict(interval) == expected


def test_only_an_interval_below_the_margin_shows_an_effect_to_be_small() -> None:
    near = [0.0, -0.1, 0.04]
    assert claims.verdict(near) == claims.OPEN
    assert claims.verdict(near, margin=0.05) == claims.SMALL
    assert claims.verdict([0.02, 0.01, 0.04], margin=0.05) == claims.HOLDS


@pytest.mark.parametrize(
    ("over_sham", "over_control", "expected"),
    [
        (UP, UP, claims.HOLDS),
        (UP, OPEN, claims.OPEN),
        (UP, DOWN, claims.OPEN),  # a control that costs more than the edit bounds nothing
        (OPEN, DOWN, claims.OPEN),
        (DOWN, UP, claims.SMALL),
        (DOWN, NONE, claims.SMALL),
        (NONE, DOWN, claims.OPEN),
        ([0.02, 0.01, 0.04], OPEN, claims.SMALL),  # an effect, but a small one
        ([0.02, 0.01, 0.04], UP, claims.HOLDS),
    ],
)
def test_an_edit_is_small_by_its_sham_and_shown_by_both(over_sham, over_control, expected) -> None:
    assert claims.of_edit(over_sham, over_control, margin=0.05) == expected


def shape_record(over_control: dict[str, list] | None = None, **over: list) -> dict:
    """A record in which nothing is decided but the given edits, by difference to the sham.

    Args:
        over_control: by edit where it is another than that to the sham.
        over: by edit, its blanks underscores.
    """
    measures = {name: [0.5, 0.4, 0.6] for name in ("drop", "changed", "area", "amount")}

    def edit(name: str) -> dict:
        gap = over.get(name.replace(" ", "_"), OPEN)
        return {
            "tumour": measures,
            "sham": measures,
            "over_sham": gap,
            "changed_over_sham": gap,
            "control": "put back",
            "over_control": (over_control or {}).get(name, gap),
            "by_class": {"glioma": OPEN, "pituitary": gap},
            "answers": {"glioma": 0.25, "none <b>": 0.75},
        }

    return {
        "cases": 7,
        "without_place": 1,
        "shams": 2,
        "bootstrap": "image",
        "logit": UP,
        "by_class_cases": {"glioma": 3, "pituitary": 4},
        "edits": {name: edit(name) for name in EDITS},
    }


def test_the_papers_claim_stands_and_falls_with_the_intervals() -> None:
    assert set(CLAIMS.values()) <= set(EDITS) and set(PAPER) <= set(CLAIMS)
    every = shape_record(tumour_removed=UP, surround_removed=UP, shape_made_a_disc=UP)
    page = shape_section(every)
    assert "shown to matter: the tumour, its surround and its shape." in page
    assert "Not decided:" not in page and "Shown to cost less" not in page
    part = shape_record(tumour_removed=UP, shape_made_a_disc=DOWN)
    page = shape_section(part)
    assert "Over all tumours here, shown to matter: the tumour." in page
    assert "the tumour is shown to matter for pituitary, not for glioma." in page
    share = "5.0 % of the logit over that of a black image"
    assert f"Shown to cost less than {share}: its shape." in page
    assert "Not decided: its surround." in page
    assert "The paper" in page
    assert "The paper" not in shape_section(part | {"study": {"data": "folder"}})
    assert verdicts(part)["Its shape matters"] == claims.SMALL
    assert "name no patients" in page and "none &lt;b&gt; (75.0 %)" in page
    assert "name no patients" not in shape_section(part | {"bootstrap": "patient"})


def test_figures_are_in_the_words_of_their_images(monkeypatch) -> None:
    drawn: dict = {}

    def dots(series: dict, **_: object) -> Picture:
        drawn.update(series)
        return charts.confusion([[1]], ["a"])

    monkeypatch.setattr(shape_figures.charts, "dots", dots)
    shape_figures.effects(shape_record(), wording("folder"))
    assert list(drawn) == ["outlined region", "sham"]
    assert "outlined region removed" in drawn["sham"]


def test_an_effect_has_to_be_above_both_sham_and_control() -> None:
    open_and_above = shape_record({"shape made a disc": UP}, shape_made_a_disc=OPEN)
    assert verdicts(open_and_above)["Its shape matters"] == claims.OPEN
    less = shape_record({"shape made a disc": DOWN}, shape_made_a_disc=UP)
    assert verdicts(less)["Its shape matters"] == claims.OPEN


def test_small_is_small_beside_what_the_logit_is_over_that_of_a_black_image() -> None:
    near = [0.01, -0.02, 0.04]
    record = shape_record(shape_made_a_disc=near) | {"logit": [9.0, 8.0, 10.0]}
    assert verdicts(record | {"over_black": UP})["Its shape matters"] == claims.SMALL
    assert verdicts(record | {"over_black": [0.5, 0.4, 0.6]})["Its shape matters"] == claims.OPEN


def sanity_record(verdicts: dict[str, str], ignored: dict[str, list[str]]) -> dict:
    values = {"in_head": UP, "spearman": UP, "ssim": OPEN, "cosine": NONE}
    return {
        "cases": 4,
        "draws": 1,
        "bootstrap": "patient",
        "rule": {"unlike": 0.5, "alike": 0.95},
        "methods": {
            name: {
                "cascading": {"Dense_0": values, "Conv_0": values},
                "independent": {"Dense_0": values, "Conv_0": values},
                "final": values,
                "defined": 3 if name == "a" else 4,
                "unchanged": verdict == FAILS and name not in ignored,
                "ignored": ignored.get(name, []),
                "verdict": verdict,
            }
            for name, verdict in verdicts.items()
        },
    }


def test_who_passes_the_sanity_check() -> None:
    verdicts = {"a": PASSES, "b": FAILS, "c": FAILS, "d": UNDECIDED, "edge detector": FAILS}
    page = sanity_section(sanity_record(verdicts, {"c": ["Dense_0"]}))
    assert "1 of 4 methods pass: a." in page
    assert "b (hardly changed by a network that has learned nothing); c (ignores Dense_0)." in page
    assert "Undecided: d." in page and "which are left out: a." in page


@pytest.mark.parametrize(
    ("all_layers", "one_layer", "expected"),
    [
        ([0.1, 0.1, 0.1, 0.2], 0.5, PASSES),
        ([0.9, 0.8, 0.9, 0.8], 0.5, FAILS),
        ([0.1, 0.1, 0.9, 0.9], 0.5, UNDECIDED),
        ([0.1, 0.1, 0.1, 0.2], 1.0, FAILS),
        ([np.nan] * 4, 0.5, UNDECIDED),
    ],
)
def test_a_wide_interval_decides_nothing(all_layers, one_layer, expected) -> None:
    alone = np.tile([one_layer, one_layer - 0.01, one_layer, one_layer], 3)
    similarity = {
        "cascading": {"Dense_0": {"in_head": alone}, "Conv_0": {"in_head": np.tile(all_layers, 3)}},
        "independent": {"Dense_0": {"in_head": alone}, "Conv_0": {"in_head": 0 * alone}},
    }
    chosen = study.Chosen(None, None, None, None, "image")
    found = sanity.judged(similarity, chosen, sanity.Settings(Path()))
    assert found["verdict"] == expected
    assert found["defined"] == 3 * np.isfinite(all_layers).sum()


def compare_record(best: str, behind: dict[str, list]) -> dict:
    names = list(behind)
    robustness = {metric.__name__: NONE for metric in ROBUSTNESS}
    return {
        "cases": 4,
        "few": 2,
        "bootstrap": "patient",
        "families": {"faithfulness": ["deletion"], "localisation": ["roc_auc"], "other": []},
        "methods": {n: {"deletion": UP, "roc_auc": UP, **robustness} for n in names},
        "ranks": {f: {n: UP for n in names} for f in ("faithfulness", "localisation")},
        "behind": {"faithfulness": behind},
        "best": {"faithfulness": best, "localisation": "b"},
        "above_controls": {n: ["deletion"] if n == "a" else [] for n in names if len(n) == 1},
        "undefined": {n: 0 for n in names},
        "milliseconds": {n: float(i) + 1 for i, n in enumerate(names)},
    }


def test_who_is_told_apart_from_the_first() -> None:
    behind = {"b": OPEN, "a": [0, 0, 0], "c": UP, "edge detector": UP}
    page = compare_section(compare_record("a", behind))
    assert "on these same images, is a. Not told apart from it: b." in page
    assert "The cheapest of these is b, at 1.00 ms a map." in page
    assert "in all 1 metrics of faithfulness: a." in page and "In none of them: b and c." in page
    alone = compare_section(compare_record("a", {"a": [0, 0, 0], "b": UP}))
    assert "All other methods are behind it" in alone
    blind = compare_section(compare_record("edge detector", {"edge detector": [0, 0, 0], "a": UP}))
    assert "no method is shown to be faithful" in blind
