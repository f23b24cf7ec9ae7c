"""What the page of several networks says follows from their numbers, class by class."""

import json

import numpy as np
import pytest

from experiments import claims, compare_methods, folds_page, networks, sanity
from experiments.controls import CONTROLS
from experiments.edits import EDITS
from experiments.interventions_section import interventions_section, readings
from experiments.parts import PARTS
from experiments.sanity_section import FAILS, PASSES, UNDECIDED
from experiments.scoring import ROBUSTNESS
from jaxsal.common import files

UP, DOWN, OPEN = [1.0, 0.5, 1.5], [-1.0, -2.0, -0.5], [0.1, -1.0, 1.0]
MEASURES = {name: [0.5, 0.4, 0.6] for name in ("drop", "changed", "area", "amount")}


def shape(**over: dict[str, list[float]]) -> dict:
    """Edited tumours; by edit (its blanks underscores) what it costs by class beyond its sham."""

    def edit(name: str) -> dict:
        gap = over.get(name.replace(" ", "_"), {"glioma": OPEN, "pituitary": OPEN})
        names = ("by_class", "over_control_by_class", "tumour_by_class", "sham_by_class")
        names += ("changed_by_class",)
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
        "network answers to a black image: a part may tell it by what it shows of the other "
        "classes, without speaking for it."
    )
    assert other == "<b>: not told from the others on whole images (0.10)."
    assert "<b>: not" not in interventions_section(record)


def ranked(order: str, above: tuple[str, ...] = ()) -> dict:
    """Methods compared on a network, the first of them the most faithful."""
    names = sorted(order)
    ranks = {name: [1.0 + order.index(name), 1.0, 2.0] for name in names}
    robustness = {metric.__name__: UP for metric in ROBUSTNESS}
    return {
        "cases": 40,
        "few": 8,
        "bootstrap": "patient",
        "families": {"faithfulness": ["deletion", "road"], "localisation": ["roc_auc"]},
        "methods": {
            n: {"deletion": [ord(n), 1.0, 2.0], "road": UP, "roc_auc": UP, **robustness}
            for n in names
        },
        "ranks": {"faithfulness": ranks, "localisation": ranks},
        "behind": {"faithfulness": ranks, "localisation": ranks},
        "best": {"faithfulness": order[0], "localisation": order[0]},
        "above_controls": {name: list(above) for name in names},
        "undefined": dict.fromkeys(names, 1),
        "milliseconds": dict.fromkeys(names, 2.0),
    }


def randomised(correlation: float) -> dict:
    """A method's maps on a network whose layers are drawn anew."""
    near = [correlation, correlation - 0.05, correlation + 0.05]
    values = {"Dense_0": dict.fromkeys(("in_head", "spearman", "ssim", "cosine"), near)}
    rule = {"unlike": 0.5, "alike": 0.95}
    means = {"cascading": values, "independent": values}
    found = {**means, **sanity.by_rule(means, **rule), "defined": 12}
    common = {"cases": 12, "draws": 1, "bootstrap": "patient", "rule": rule}
    return {**common, "methods": {"a": found}}


def test_several_networks_have_one_ranking_by_what_holds_on_all() -> None:
    orders = [
        ranked("abc", ("deletion", "road")),
        ranked("abc", ("road",)),
        ranked("bac", ("road",)),
    ]
    found = compare_methods.pooled(orders)
    assert found["best"] == {"faithfulness": "a", "localisation": "a"}
    assert found["above_controls"] == {name: ["road"] for name in "abc"}
    assert found["undefined"] == dict.fromkeys("abc", 3) and found["few"] == 24
    np.testing.assert_allclose(
        found["behind"]["faithfulness"]["b"], networks.mean_interval([1.0, 1.0, -1.0])
    )
    assert found["behind"]["faithfulness"]["a"] == [0.0, 0.0, 0.0]
    assert found["ranks"]["faithfulness"]["a"][1] == 1.0  # none is before the first
    tau = found["agreement"]["faithfulness"]
    np.testing.assert_allclose(tau[0], (1 + 1 / 3 + 1 / 3) / 3)
    assert "agreement" not in compare_methods.pooled(orders[:1])
    assert found["duplicates"] == {}
    with pytest.raises(ValueError, match="take away the older"):
        compare_methods.pooled([ranked("abc"), ranked("ab")])
    with pytest.raises(ValueError, match="take away the older"):
        compare_methods.pooled([ranked("abc"), ranked("abc") | {"definitions": {"patch": 4}}])


def _renamed(name: str, control: str) -> str:
    return control if name == "c" else name


def test_networks_agree_on_methods_and_not_on_controls_or_twice_on_one() -> None:
    control = next(iter(CONTROLS))
    orders = [ranked("abcd"), ranked("bacd"), ranked("abcd")]
    for order in orders:
        for key in ("methods", "above_controls", "undefined", "milliseconds"):
            order[key] = {_renamed(n, control): each for n, each in order[key].items()}
        for key in ("ranks", "behind"):
            order[key] = {
                family: {_renamed(n, control): each for n, each in ranks.items()}
                for family, ranks in order[key].items()
            }
        order["methods"]["d"] = order["methods"]["a"]
    found = compare_methods.pooled(orders)
    assert found["duplicates"] == {"d": "a"}
    np.testing.assert_allclose(found["agreement"]["faithfulness"][0], (-1 + 1 - 1) / 3)  # of a, b


def test_a_method_is_judged_by_all_networks_and_not_by_the_first() -> None:
    verdicts = {
        (0.1, 0.12, 0.11): PASSES,
        (0.1, 0.9, 0.9): UNDECIDED,
        (0.1, 0.85, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9): FAILS,
    }
    for correlations, expected in verdicts.items():
        found = sanity.pooled([randomised(each) for each in correlations])
        assert found["methods"]["a"]["verdict"] == expected
        assert found["methods"]["a"]["defined"] == found["cases"] == 12 * len(correlations)


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
        "sanity": networks.pooled_parts([{"gradient": {"in_head": [x, x, x]}} for x in (0.1, 0.2)]),
        "experiments": {
            # Of one network each interval is OPEN; together they are of the three means.
            "tumor_shape": networks.pooled(
                [shape(tumour_removed={"glioma": OPEN, "pituitary": x}) for x in (UP, DOWN, OPEN)]
            ),
            "interventions": networks.pooled([parts(), parts(), parts()]),
            "compare_methods": compare_methods.pooled([ranked("ab"), ranked("ba"), ranked("ab")]),
            "sanity": sanity.pooled([randomised(0.1), randomised(0.9), randomised(0.9)]),
        },
    }


@pytest.fixture(scope="module")
def page(record: dict) -> str:
    return folds_page.render(as_kept(record))


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


def test_networks_that_do_not_agree_rank_nothing(record: dict, page: str) -> None:
    assert page.index("not shown to rank the methods alike") < page.index("Ranking and cost")
    assert "The most faithful by mean rank" not in page
    alike = compare_methods.pooled([ranked("abcd")] * 3)
    agreed = record | {"experiments": {"compare_methods": alike}}
    page = folds_page.render(as_kept(agreed))
    assert page.index("tau 1.00 [1.00, 1.00]") < page.index("Ranking and cost")
    assert "The most faithful by mean rank, chosen on these same images, is a." in page


@pytest.mark.parametrize("orders", [("abc",), ("abc", "acb")])
def test_few_networks_have_no_bounds_and_tell_nothing_apart(orders, record: dict) -> None:
    compared = compare_methods.pooled([ranked(order) for order in orders])
    page = folds_page.render(as_kept(record | {"experiments": {"compare_methods": compared}}))
    assert ("not shown to rank the methods alike" in page) == (len(orders) == 2)
    assert ("is a. Not told apart from it: b and c." in page) == (len(orders) == 1)


def as_kept(record: dict) -> dict:
    """A record as folds.json has it: what is not defined is null."""
    return json.loads(json.dumps(files.finite(record)))


def test_the_maps_of_the_networks_together_are_put_to_the_check(record: dict, page: str) -> None:
    assert list(record["sanity"]) == ["gradient"]  # and no unit of its own
    bounds = networks.mean_interval([0.1, 0.2])[1:]
    np.testing.assert_allclose(
        record["sanity"]["gradient"]["in_head"], [0.15, *np.clip(bounds, -1, 1)]
    )
    assert "Not shown of: gradient." in page


def test_the_verdict_of_the_page_is_that_of_the_networks(page: str) -> None:
    assert "Undecided: a." in page and "with any one layer below 0.95;" in page
