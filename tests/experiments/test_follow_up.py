"""Experiments on a finished study, from end to end at toy size: their sections in its report."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from experiments import (
    augmentation,
    compare_methods,
    completeness,
    follow_up,
    interventions,
    methods,
    networks,
    sanity,
    scoring,
    sections,
    study,
    tumor_shape,
)
from experiments.augmentation_section import ALONE, COPIES, augmentation_section
from experiments.completeness_section import ADAPTIVE
from experiments.controls import CONTROLS
from tests.metrics.test_properties import SIGNED


@pytest.fixture
def few(monkeypatch):
    """Two methods and the controls, for methods compile longest."""
    some = {"gradient": jaxsal.gradient, "grad cam": jaxsal.grad_cam, **CONTROLS}
    monkeypatch.setattr(methods, "with_controls", lambda size, background: some)
    monkeypatch.setattr(scoring, "AGAIN", 1)
    return some


def record_of(folder: Path, name: str) -> dict:
    record = json.loads((folder / name / f"{name}.json").read_text())
    page = (folder / name / f"{name}.html").read_text()
    report = (folder / "report.html").read_text()
    assert f'<section id="{name}">' in report and report.count("<h1>") == 1
    assert "://" not in page and "data:image/png;base64" in page  # no base64 has a colon
    assert list((folder / name).glob("*.png"))
    assert {"versions", "device", "commit", "command", "date", "settings"} <= set(record)
    return record


def test_tumour_shape(untrained: Path) -> None:
    tumor_shape.main(tumor_shape.Settings(untrained, explain=3, shams=1))
    record = record_of(untrained, "tumor_shape")
    assert 1 <= record["cases"] <= 3 and record["bootstrap"] == "patient"
    for edit in record["edits"].values():
        assert np.isfinite(edit["tumour"]["drop"][0]) and np.isfinite(edit["sham"]["drop"][0])
        assert sum(edit["answers"].values()) == pytest.approx(1)
    for who in ("tumour", "sham"):
        nothing = record["edits"]["untouched"][who]
        assert nothing["area"][0] == 0 and nothing["drop"][0] == pytest.approx(0, abs=1e-5)
    removed = record["edits"]["tumour removed"]
    assert removed["tumour"]["area"][0] == pytest.approx(removed["sham"]["area"][0], rel=0.5)


def test_a_network_that_always_says_the_same_tells_no_class_by_anything(untrained: Path) -> None:
    interventions.main(interventions.Settings(untrained))
    record = record_of(untrained, "interventions")
    assert record["classes"] == ["glioma", "meningioma", "pituitary"]  # the others have no mask
    for by_class in record["parts"].values():
        assert [each["named"][0] for each in by_class.values()] == [1, 0, 0]
        assert [each["told"][0] for each in by_class.values()] == [0, 0, 0]
    page = (untrained / "interventions" / "interventions.html").read_text()
    assert "Glioma: not told from the others on whole images" in page


def test_sanity(untrained: Path, few) -> None:
    sanity.main(sanity.Settings(untrained, explain=3))
    record = record_of(untrained, "sanity")
    assert list(record["methods"]) == list(few)
    layers = ["Dense_0", "Conv_1", "Conv_0"]
    for name, each in record["methods"].items():
        assert list(each["cascading"]) == list(each["independent"]) == layers
        if name == "even in the head":  # has no order there
            assert each["defined"] == 0 and each["verdict"] == sanity.UNDECIDED
        elif name in CONTROLS:
            assert each["final"]["in_head"][0] == pytest.approx(1, abs=1e-5)
            assert each["verdict"] == sanity.UNDECIDED  # three patients have no interval
    assert record["methods"]["gradient"]["final"]["in_head"][0] < 0.9


class Killed(Exception):
    """In place of the end of a process."""


def test_compare_methods(untrained: Path, few, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "BLOCK", 2)  # the second one short

    def killed(*args):
        raise Killed

    settings = compare_methods.Settings(untrained, explain=3)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(scoring, "_robustness", killed)
        compare_methods.main(settings)
    left = sorted((untrained / "compare_methods").rglob("*.npz"))
    with monkeypatch.context() as patch:  # what was done is not done again
        patch.setattr(compare_methods.explaining, "explain", None)
        patch.setattr(scoring, "_of_all", None)
        compare_methods.main(settings)
    assert len(left) == len(few) + 2 and not left[0].parent.parent.exists()
    record = record_of(untrained, "compare_methods")
    assert record["earlier_parts"] == len(few) + 2
    page = (untrained / "compare_methods" / "compare_methods.html").read_text()
    assert f"{len(few) + 2} of its parts are of an earlier run" in page
    assert set(record["methods"]) == set(few) == set(record["milliseconds"])
    names = {name for family in record["families"].values() for name in family}
    names |= {"deletion_curve", "insertion_curve", "road_curve"}
    names |= {metric.__name__ for metric in scoring.ROBUSTNESS}
    assert names == set(jaxsal.METRICS)  # curves by their areas
    ranks = [rank[0] for rank in record["ranks"]["faithfulness"].values()]
    assert ranks == sorted(ranks)
    assert record["undefined"]["gradient"] == 0
    blind = record["methods"]["centre prior"]
    assert blind["sensitivity_max"][0] == 0


def test_points_are_added_until_a_map_is_complete(untrained: Path) -> None:
    settings = completeness.Settings(untrained, explain=4, steps=(2,), tolerance=1e-3)
    completeness.main(settings)
    rules = record_of(untrained, "completeness")["rules"]
    assert list(rules) == ["2 points", ADAPTIVE]
    assert rules["2 points"]["points"][0] == 2
    assert rules[ADAPTIVE]["complete"][0] == 1
    assert 2 <= rules[ADAPTIVE]["points"][0] <= rules[ADAPTIVE]["most_points"] <= settings.max_steps


def test_copies_of_an_image_name_it_together(untrained: Path, monkeypatch) -> None:
    augmentation.main(augmentation.Settings(untrained, copies=2))
    found = record_of(untrained, "augmentation")
    assert found["gain"][0] == 0 and found["copies"] == 2  # a network that says the same of all
    named = [each["named"] for each in found["answers"].values()]
    assert named[0] == named[1]
    with pytest.raises(ValueError, match="copies: expected at least 1, got 0"):
        augmentation.Settings(untrained, copies=0)
    reopened = study.reopen(study.Reopened(untrained))
    chosen = study.choose(reopened, np.ones(len(reopened.predicted), bool), 5, 0, what="is there")
    monkeypatch.setattr(augmentation, "augment", lambda key, image: 0.5 * image)
    monkeypatch.setattr(augmentation, "BATCH", 2)  # in parts, the last one short
    darker = reopened.apply(reopened.variables, 0.5 * jnp.asarray(chosen.examples.images))
    expected = (jax.nn.softmax(chosen.logits) + 3 * jax.nn.softmax(darker)) / 4
    found = augmentation.with_copies(reopened, chosen, 3, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.abs(expected - jax.nn.softmax(chosen.logits)).max() > 1e-5


def test_copies_of_an_image_are_drawn_anew(untrained: Path, monkeypatch) -> None:
    reopened = study.reopen(study.Reopened(untrained))
    chosen = study.choose(reopened, np.ones(len(reopened.predicted), bool), 2, 0, what="is there")
    drawn: list[list[int]] = []

    def seen(key: jax.Array, image: jax.Array) -> jax.Array:
        jax.debug.callback(lambda data: drawn.append(data.tolist()), jax.random.key_data(key))
        return image

    monkeypatch.setattr(augmentation, "augment", seen)
    augmentation.with_copies(reopened, chosen, 3, 0)
    jax.effects_barrier()
    assert len(drawn) == len(set(map(tuple, drawn))) == 6


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ([0.012, 0.004, 0.02], "copies more images are named right: 1.2 [0.4, 2.0] points"),
        ([-0.012, -0.02, -0.004], "copies fewer images are named right: -1.2 [-2.0, -0.4] points"),
        ([0.001, -0.01, 0.012], "not decided: 0.1 [-1.0, 1.2] points"),
        ([0.001, None, None], "not decided: 0.1 points"),
    ],
)
def test_what_copies_are_worth_is_said_as_the_interval_has_it(gain: list, said: str) -> None:
    share = {"named": [0.9, 0.8, 1.0]}
    answers = {name: {**share, "by_class": {"glioma": share}} for name in (ALONE, COPIES)}
    record = {"cases": 9, "copies": 4, "bootstrap": "patient", "answers": answers, "gain": gain}
    assert said in augmentation_section(record)
    pooled = networks.pooled([{**record, "gain": [x, None, None]} for x in (0.01, 0.03)])
    assert pooled["cases"] == 18 and pooled["gain"][0] == pytest.approx(0.02)
    assert "named by the network that it is new to" in augmentation_section(pooled)


def test_every_method_is_compared() -> None:
    found = methods.every(32, np.zeros((2, 32, 32, 1), np.float32))
    compared = {name.replace(" ", "_") for name in found}
    assert compared | methods.ELSEWHERE == {*jaxsal.METHODS, *jaxsal.COMBINATORS}
    assert not compared & methods.ELSEWHERE


def test_metrics_are_those_that_the_page_says() -> None:
    faithful = scoring.families(64)["faithfulness"]
    assert set(scoring.SIGNED) == SIGNED & set(faithful)
    assert scoring.PROBABILITY == ("average_drop", "average_increase", "sic")
    # Of all 64 patches the mean is the score less that of selectivity: one measure, counted twice.
    assert faithful["region_perturbation"].keywords["regions"] == 10
    assert scoring.families(224)["faithfulness"]["region_perturbation"].keywords["regions"] == 125


def test_each_metric_has_the_score_that_it_is_defined_on(untrained: Path, monkeypatch) -> None:
    """Average drop the probability; infidelity takes a CAM as contributions, a gradient not.

    And in blocks of images what is drawn is what would be of all together.
    """
    monkeypatch.setattr(scoring, "BLOCK", 1)
    every = scoring.families(32)
    few = {name: every["faithfulness"][name] for name in ("infidelity", *scoring.PROBABILITY)}
    few["relevance_mass"] = every["localisation"]["relevance_mass"]
    monkeypatch.setattr(scoring, "families", lambda size: {"some": few})
    found, chosen = study.tumours(study.Reopened(untrained, explain=2))
    images = chosen.examples.images
    maps = {"gradient": images - 0.3, "grad cam": images[..., 0] ** 2}
    values = scoring.score(found, chosen, maps, dict.fromkeys(maps), 0, 0)
    called = (found.variables, images)
    drop = jaxsal.evaluator(
        found.apply, "average_drop", objective=lambda z, t: jax.nn.softmax(z)[t]
    )
    for name, map in maps.items():
        expected = drop(*called, map, chosen.targets)
        np.testing.assert_allclose(values[name]["average_drop"], expected, rtol=1e-4, atol=1e-6)
        infidelity = jaxsal.evaluator(
            found.apply,
            "infidelity",
            normalize=True,
            samples=scoring.PERTURBATIONS,
            contributions=name == "grad cam",
        )
        expected = infidelity(*called, map, chosen.targets, key=jax.random.key(0))
        np.testing.assert_allclose(values[name]["infidelity"], expected, rtol=1e-3, atol=1e-9)


def test_a_study_is_looked_at_with_other_images(untrained: Path) -> None:
    given = study.Reopened(untrained, data="folder", data_dir=untrained / "nowhere")
    with pytest.raises(ValueError, match="data_dir"):
        study.reopen(given)
    with pytest.raises(ValueError, match=r"checkpoint: .* does not exist"):
        study.reopen(replace(given, checkpoint=untrained / "nowhere"))
    with pytest.raises(ValueError, match="explain: expected at least 0, got -1"):
        study.Reopened(untrained, explain=-1)


def test_what_is_found_on_other_images_is_in_their_words(untrained: Path, tmp_path: Path) -> None:
    record = {"study": {"data": "folder", "classes": ["no tumour", "cyst"]}}
    given = study.Reopened(untrained, out=tmp_path)
    follow_up.publish("completeness", given, record, [], lambda _: "<p>no tumour: the tumour</p>")
    said = "<p>no tumour: the outlined region</p>"
    assert said in (tmp_path / "completeness.html").read_text()
    assert said in (untrained / "report.html").read_text()


def test_sections_have_their_place(tmp_path: Path) -> None:
    (tmp_path / "params.npz").write_bytes(b"one network")
    for name in reversed(sections.ORDER):
        sections.write(tmp_path, name, name)
    found = sections.read(tmp_path)
    assert [html.split('"')[1] for html in found] == list(sections.ORDER)
    with pytest.raises(ValueError, match="name: expected one of"):
        sections.write(tmp_path, "other", "")
    (tmp_path / "params.npz").write_bytes(b"another one")
    assert not sections.read(tmp_path)
