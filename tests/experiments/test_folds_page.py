"""What the page of several networks says follows from their numbers, class by class."""

import pytest

from experiments import claims, folds_page, networks
from experiments.edits import EDITS
from experiments.interventions_section import interventions_section, readings
from experiments.parts import PARTS

UP, DOWN, OPEN = [1.0, 0.5, 1.5], [-1.0, -2.0, -0.5], [0.1, -1.0, 1.0]
MEASURES = {name: [0.5, 0.4, 0.6] for name in ("drop", "changed", "area", "amount")}


def shape(**over: dict[str, list[float]]) -> dict:
    """Edited tumours; by edit (its blanks underscores) what it costs by class beyond its sham."""

    def edit(name: str) -> dict:
        gap = over.get(name.replace(" ", "_"), {"glioma": OPEN, "pituitary": OPEN})
        names = ("by_class", "over_control_by_class", "tumour_by_class", "sham_by_class")
        return {
            "tumour": MEASURES,
            "sham": MEASURES,
            "over_sham": OPEN,
            "changed_over_sham": OPEN,
            "control": "put back",
            "over_control": OPEN,
            "answers": {"glioma": 0.25, "pituitary": 0.75},
            **{each: gap for each in names},
        }

    return {
        "study": {"data": "figshare"},
        "cases": 7,
        "without_place": 1,
        "shams": 2,
        "bootstrap": "patient",
        "clusters": 30,
        "logit": UP,
        "logit_by_class": {"glioma": UP, "pituitary": UP},
        "by_class_cases": {"glioma": 3, "pituitary": 4},
        "edits": {name: edit(name) for name in EDITS},
    }


def parts(**told: list[float]) -> dict:
    """Heads reduced; by part (its blanks underscores) how well it tells gliomas."""

    def by_class(name: str) -> dict:
        gap = told.get(name.replace(" ", "_").replace("'", ""), OPEN)
        shares = {"named": [0.75, 0.7, 0.8], "named_in_others": [0.25, 0.2, 0.3]}
        return {"glioma": {**shares, "told": gap}, "<b>": {**shares, "told": OPEN}}

    return {
        "cases": 9,
        "bootstrap": "patient",
        "clusters": 30,
        "classes": ["glioma", "<b>"],
        "by_class_cases": {"glioma": 5, "<b>": 4},
        "parts": {name: by_class(name) for name in PARTS},
    }


def test_a_claim_is_answered_for_each_class() -> None:
    found = folds_page.class_verdicts(
        shape(
            tumour_removed={"glioma": OPEN, "pituitary": UP},
            surround_removed={"glioma": DOWN, "pituitary": UP},
        )
    )
    assert found["The tumour matters"] == {"glioma": claims.OPEN, "pituitary": claims.HOLDS}
    assert found["Its surround matters"] == {"glioma": claims.SMALL, "pituitary": claims.HOLDS}
    costly = shape(tumour_removed={"glioma": UP, "pituitary": UP})
    costly["edits"]["tumour removed"]["over_control_by_class"] = {"glioma": OPEN, "pituitary": UP}
    found = folds_page.class_verdicts(costly)
    assert found["The tumour matters"]["glioma"] == claims.OPEN


def test_what_tells_a_class_is_what_is_enough_and_what_it_can_do_without() -> None:
    whole, most, none = [0.8, 0.7, 0.9], [0.75, 0.6, 0.9], [0.02, -0.1, 0.1]
    record = parts(
        untouched=whole,
        tumour_alone=none,
        heads_outline_alone=[0.4, 0.2, 0.6],
        rest_of_head_alone=most,
        head_shifted=[0.3, 0.2, 0.4],
    )
    glioma, other = readings(record)
    assert glioma == (
        "Glioma: told from the others by 0.80 on whole images; by rest of head alone 0.75 "
        "[0.60, 0.90] and head's outline alone 0.40 [0.20, 0.60] where that is all that is left. "
        "On average it is told nearly as well without tumour and surround (0.75). It is what the "
        "network answers to a black image."
    )
    assert other == "<b>: not told from the others on whole images (0.10)."
    assert "<b>: not" not in interventions_section(record)


@pytest.fixture(scope="module")
def record() -> dict:
    def run(fold: int, accuracy: float) -> dict:
        return {
            "fold": fold,
            "accuracy": accuracy,
            "accuracy_interval": [accuracy - 0.02, accuracy + 0.02],
            "bootstrap": "image",
            "confusion": [[40, 5], [5, 50]],
            "macro_auc": 0.97,
            "calibration": {"ece": 0.05, "brier": 0.2},
            "completeness": {"within_1_percent": 1.0, "mean_points": 29.5, "most_points": 129},
        }

    def compared(first: float) -> dict:
        ranks = {"gradient": [first, 1.0, 2.0], "occlusion": [3 - first, 1.0, 2.0]}
        return {
            "cases": 40,
            "ranks": {"faithfulness": ranks, "localisation": ranks},
            "methods": {"gradient": {}, "occlusion": {}},
            "milliseconds": {"gradient": 1.0, "occlusion": 8.0},
        }

    several = [compared(1.0), compared(2.0), compared(1.0)]
    return {
        "networks": 3,
        "settings": {"data": "figshare"},
        "accuracy": 0.94,
        "accuracy_interval": [0.92, 0.96],
        "lowest": 0.93,
        "highest": 0.95,
        "macro_auc": [0.97, 0.96, 0.98],
        "calibration": {"ece": [0.05, 0.04, 0.06], "brier": [0.2, 0.1, 0.3]},
        "per_class": {"glioma": dict.fromkeys(("sensitivity", "specificity", "auc"), UP)},
        "folds": [run(1, 0.93), run(2, 0.94), run(3, 0.95)],
        "experiments": {
            # Of one network each interval is OPEN; together they are of the three means.
            "tumor_shape": networks.pooled(
                [shape(tumour_removed={"glioma": OPEN, "pituitary": x}) for x in (UP, DOWN, OPEN)]
            ),
            "interventions": networks.pooled([parts(), parts(), parts()]),
            "compare_methods": networks.pooled(several),
        },
        "agreement": {"faithfulness": [-0.33, -1.0, 1.0], "localisation": [-0.33, -1.0, 1.0]},
    }


@pytest.fixture(scope="module")
def page(record: dict) -> str:
    return folds_page.render(record)


def test_networks_at_chance_have_a_banner_and_no_claims(record: dict) -> None:
    chance = record | {"accuracy": 0.6, "accuracy_interval": [0.45, 0.75]}
    page = folds_page.render(chance)
    assert folds_page.claims_in_words(chance) == [] and "shown to matter" not in page
    assert page.index("not shown to be better than chance") < page.index("of the images right")
    assert "The paper" not in page and 'class="verdict"' not in page


def test_the_answer_comes_first_and_intervals_are_of_networks(page: str) -> None:
    assert page.index("94.0 % of the images right (93.0 % to 95.0 % by fold)") < page.index("<h2>")
    assert "<li>The tumour: shown to matter for glioma, not decided for pituitary.</li>" in page
    assert "Student&#x27;s t of the means of 3 networks" in page
    assert "too narrow: the files name no patients" in page


def test_networks_that_do_not_agree_rank_nothing(page: str) -> None:
    assert page.index("not shown to rank the methods alike") < page.index("Mean rank over the")
