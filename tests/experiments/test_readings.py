"""What the sections say follows from the numbers, and from nothing else."""

import pytest

from experiments import claims
from experiments.compare_section import compare_section
from experiments.edits import EDITS
from experiments.sanity_section import sanity_section
from experiments.shape_section import CLAIMS, PAPER, shape_section, verdicts

UP, DOWN, OPEN, NONE = [1.0, 0.5, 1.5], [-1.0, -2.0, -0.5], [0.1, -1.0, 1.0], [None] * 3


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(UP, claims.HOLDS), (DOWN, claims.AGAINST), (OPEN, claims.OPEN), (NONE, claims.OPEN)],
)
def test_verdicts(interval, expected) -> None:
    assert claims.verdict(interval) == expected


def test_of_several_verdicts_all_must_hold() -> None:
    assert claims.together([claims.HOLDS, claims.HOLDS]) == claims.HOLDS
    assert claims.together([claims.HOLDS, claims.OPEN]) == claims.OPEN
    assert claims.together([claims.OPEN, claims.AGAINST]) == claims.AGAINST


def shape_record(**over: list) -> dict:
    """A record in which nothing is decided but the given edits, by difference to the sham."""
    measures = {name: [0.5, 0.4, 0.6] for name in ("drop", "changed", "area", "amount")}

    def edit(name: str) -> dict:
        gap = over.get(name.replace(" ", "_"), OPEN)
        return {
            "tumour": measures,
            "sham": measures,
            "over_sham": gap,
            "changed_over_sham": gap,
            "control": "put back",
            "over_control": gap,
            "by_class": {"glioma": gap},
            "answers": {"glioma": 0.25, "none <b>": 0.75},
        }

    return {
        "cases": 7,
        "without_place": 1,
        "shams": 2,
        "bootstrap": "image",
        "logit": UP,
        "by_class_cases": {"glioma": 7},
        "edits": {name: edit(name) for name in EDITS},
    }


def test_the_papers_claim_stands_and_falls_with_the_intervals() -> None:
    assert set(CLAIMS.values()) <= set(EDITS) and set(PAPER) <= set(CLAIMS)
    every = shape_record(tumour_removed=UP, surround_removed=UP, shape_made_a_disc=UP)
    assert "all three hold" in shape_section(every)
    part = shape_record(tumour_removed=UP, shape_made_a_disc=DOWN)
    page = shape_section(part)
    assert "Here these hold: the tumour drives it." in page
    assert "These do not hold: shape matters." in page
    assert "These are not decided: its surround does." in page
    assert verdicts(part)["Its shape matters"] == claims.AGAINST
    assert "name no patients" in page and "none &lt;b&gt; (75.0 %)" in page
    assert "name no patients" not in shape_section(part | {"bootstrap": "patient"})


def sanity_record(passes: dict[str, bool], ignored: dict[str, list[str]]) -> dict:
    values = {"in_head": UP, "spearman": UP, "ssim": OPEN, "cosine": NONE}
    return {
        "cases": 4,
        "bootstrap": "patient",
        "rule": {"unlike": 0.5, "alike": 0.95},
        "methods": {
            name: {
                "cascading": {"Dense_0": values, "Conv_0": values},
                "independent": {"Dense_0": values, "Conv_0": values},
                "final": values,
                "defined": 4,
                "changed": good or bool(ignored.get(name)),
                "ignored": ignored.get(name, []),
                "passes": good,
            }
            for name, good in passes.items()
        },
    }


def test_who_passes_the_sanity_check() -> None:
    passes = {"a": True, "b": False, "c": False, "edge detector": False}
    page = sanity_section(sanity_record(passes, {"c": ["Dense_0"]}))
    assert "1 of 3 methods pass: a." in page
    assert "not shown to be, by a network that has learned nothing: b." in page
    assert "These ignore a layer: c (Dense_0)." in page
    assert "All controls fail, as they must." in page
    lenient = sanity_section(sanity_record(passes | {"edge detector": True}, {}))
    assert "the rule is too lenient" in lenient


def compare_record(best: str, behind: dict[str, list]) -> dict:
    names = list(behind)
    return {
        "cases": 4,
        "few": 2,
        "bootstrap": "patient",
        "families": {"faithfulness": ["deletion"], "localisation": ["roc_auc"], "other": []},
        "methods": {n: {"deletion": UP, "roc_auc": UP, "sensitivity_max": NONE} for n in names},
        "ranks": {f: {n: UP for n in names} for f in ("faithfulness", "localisation")},
        "behind": {"faithfulness": behind},
        "best": {"faithfulness": best, "localisation": "b"},
        "above_controls": {n: ["deletion"] if n == "a" else [] for n in names if len(n) == 1},
        "milliseconds": {n: float(i) + 1 for i, n in enumerate(names)},
    }


def test_who_is_told_apart_from_the_first() -> None:
    behind = {"b": OPEN, "a": [0, 0, 0], "c": UP, "edge detector": UP}
    page = compare_section(compare_record("a", behind))
    assert "The most faithful by mean rank is a. Not told apart from it: b." in page
    assert "The cheapest of these is b, at 1.00 ms a map." in page
    assert "in all 1 metrics of faithfulness: a." in page and "In none of them: b and c." in page
    alone = compare_section(compare_record("a", {"a": [0, 0, 0], "b": UP}))
    assert "All other methods are behind it" in alone
    blind = compare_section(compare_record("edge detector", {"edge detector": [0, 0, 0], "a": UP}))
    assert "no method is shown to be faithful" in blind
