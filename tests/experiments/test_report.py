"""The report: self-contained, whole or absent, and true to the numbers it is given."""

import html.parser
import os

import numpy as np
import pytest

from experiments import answer, headline, report, tables
from experiments.head import REGIONS
from experiments.relevance import CLAIMS
from experiments.wording import wording
from jaxsal import render
from jaxsal.viz import charts

PNG = render.png(charts.confusion([[1]], ["a"]), dpi=30)


def method(densities, half=0.1):
    regions = {
        region: {"share": [0.25, 0.2, 0.3], "density": [d, d - half, d + half], "area": 0.25}
        for region, d in zip(REGIONS, densities, strict=True)
    }
    agreement = ("relevance_mass", "rank_accuracy", "pointing_game", "roc_auc")
    return regions | {name: [0.5, 0.4, 0.6] for name in agreement}


METRICS = {
    "accuracy": 0.9673,
    "accuracy_interval": [0.951, 0.981],
    "classes": ["none", "glioma"],
    "per_class": {
        "none": {"sensitivity": 0.912, "specificity": 0.934, "count": 57},
        "glioma": {"sensitivity": float("nan"), "specificity": None, "count": 0},
    },
    "macro_auc": 0.9987,
    "confusion": [[52, 5], [1, 61]],
    "calibration": {"ece": 0.0213, "brier": 0.0456},
    "relevance": {
        "cases": 61,
        "excluded": {"empty mask": 2, "map not finite": 0},
        "bootstrap": "patient",
        "surround_width": 0.5,
        "methods": {
            "gradient": method([1.05, 1.0, 0.9, 1.0]),
            "integrated gradients": method([8.0, 2.0, 0.9, 0.1]),
            "centre prior": method([2.3, 2.2, 1.4, 0.4]),
            "even in the head": method([1.9, 1.9, 1.9, 0.0]),
        },
        "differences": {
            "gradient": {key: [-0.8, -0.9, 0.1] for key in CLAIMS},
            "integrated gradients": {key: [6.1, 6.0, 6.2] for key in CLAIMS},
        },
    },
    "completeness": {"within_1_percent": 0.987},
    "sanity": {
        name: {"in_head": [0.123, 0.1, 0.15], "spearman": [0.456, 0.4, 0.5]}
        for name in ("gradient", "integrated gradients")
    },
    "settings": {"image_size": 64, "nested": {"rate": 0.001}},
    "data": {
        "source": "phantom <b>",
        "counts": {"train": {"none": 10, "glioma": 11}},
        "skipped": ["glioma/broken.png: truncated"],
        "notes": ["3 resized"],
    },
    "timings": {"train": 12.5},
    "versions": {"jax": "0.12.0"},
    "device": {"kind": "cpu"},
    "commit": "8e932ec",
    "command": "python -m experiments.brain_tumor --out 'a & b'",
    "date": "2026-01-01",
}
FIGURES = [("Maps", "six & more", PNG)]


class Page(html.parser.HTMLParser):
    """Collects text, links to anything outside, and whether tags are balanced."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page):
        super().__init__()
        self.text, self.links, self.open, self.images = [], [], [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open += [] if tag in self.VOID else [tag]
        self.links += [v for k, v in attrs if k in ("src", "href") and not v.startswith("data:")]
        self.images += tag == "img"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_needs_no_network():
    page = report.render_report(METRICS, FIGURES)
    parsed = Page(page)
    assert not parsed.open and not parsed.links and parsed.images == 1
    for word in ("http:", "https:", "@import", "url(", "<script", "<link"):
        assert word not in page


@pytest.mark.parametrize(
    "words",
    (
        *("96.7 %", "[95.1 %, 98.1 %]", "0.999", "0.912", "0.0213", "8.00", "[7.90, 8.10]"),
        *("empty mask 2", "61 correctly classified", "resampled by patient", "8e932ec"),
        *("glioma/broken.png", "3 resized", "nested · rate", "0.123", "0.456", "0.987"),
        *("[20.0 %, 30.0 %] on 25.0 % of the area", "0.12 [0.10, 0.15]"),
        *("phantom &lt;b&gt;", "&#x27;a &amp; b&#x27;", "six &amp; more"),
    ),
)
def test_every_number_and_word_is_on_the_page_escaped(words):
    assert words in report.render_report(METRICS, FIGURES)


def test_the_reading_claims_what_intervals_support_and_no_more():
    page = report.render_report(METRICS)
    start = page.index("<ul>", page.index("What the intervals"))
    claims = page[start : page.index("</ul>", start)].split("</li>")
    for claim in claims[: len(CLAIMS)]:
        assert "<b>integrated gradients</b>" in claim
    only = {"integrated gradients": METRICS["relevance"]["differences"]["integrated gradients"]}
    page = report.render_report({"relevance": METRICS["relevance"] | {"differences": only}})
    assert page.count("<b>every method</b>") == len(CLAIMS)


def test_nothing_measured_is_not_no_method():
    gaps = {name: {key: [None] * 3 for key in CLAIMS} for name in ("gradient", "vargrad")}
    page = report.render_report({"relevance": METRICS["relevance"] | {"differences": gaps}})
    assert page.count("<b>could not be measured</b>") == len(CLAIMS) and "no method" not in page


def test_at_chance_nothing_is_concluded():
    page = report.render_report({**METRICS, "chance": 0.4, "warnings": ["No better <than> chance"]})
    assert "no conclusion is drawn from them" in page
    assert not any(claim in page for claim in CLAIMS.values())
    assert '<div class="banner"><p>No better &lt;than&gt; chance</p>' in page


def test_few_patients_stand_beside_every_number():
    few = {"clusters": 2, "bootstrap": "patient", "by_patient": {"p1": [3, 4], "p2": [1, 1]}}
    relevance = METRICS["relevance"] | {"clusters": 2}
    page = report.render_report(
        {**METRICS, **few, "accuracy_interval": None, "relevance": relevance}
    )
    assert "too few for an interval: 2 patients" in page
    assert "2 patients are too few for intervals: means stand alone" in page
    assert "<tr><th>p1</th><td>3</td><td>4</td></tr>" in page
    many = {"clusters": 35, "bootstrap": "patient"}
    relevance = METRICS["relevance"] | {"clusters": 35}
    page = report.render_report({**METRICS, **many, "relevance": relevance})
    assert "[95.1 %, 98.1 %] 35 patients" in page and "resampled by patient (35 patients)" in page


def by_data(data, **changes):
    """The metrics of a study of such images."""
    return METRICS | {"settings": {"data": data}} | changes


def told(metrics):
    """The words of the report above its first heading."""
    return " ".join("".join(Page(report.render_report(metrics)).text).split("Pictures")[0].split())


def test_the_answer_comes_first_and_says_what_the_numbers_support():
    page = report.render_report(METRICS, [("Right answers", "", PNG), ("Other", "", PNG)])
    assert page.index('class="answer"') < page.index("<h2>Pictures") < page.index("<table")
    assert page.index("<h2>Figures") > page.index("<h2>Classification")
    assert (
        "More at the tumours than elsewhere, for their area: integrated gradients put 8.0 "
        "[7.9, 8.1] times as much relevance into tumours as an even map over the image (4.2 times "
        "a map even in the head), and 4.0 times as much as into their surround." in page
    )
    assert "Measured on 61 of the " in page and "surround 25.0 %, rest of head 25.0 %" in page
    gaps = METRICS["relevance"]["differences"]["integrated gradients"]
    below = {"integrated gradients": gaps | {"tumour - surround": [-2.0, -3.0, -1.0]}}
    page = report.render_report(
        METRICS | {"relevance": METRICS["relevance"] | {"differences": below}}
    )
    assert "More around the tumours than in them" in page
    assert "and 2.0 [1.9, 2.1] times as much into their surround." in page
    for key, words in (
        ("tumour - surround", "are not shown to put more into them than into their surround"),
        ("tumour - even", "Not shown to be at the tumours: for their area, integrated gradients"),
    ):
        open_ = {"integrated gradients": gaps | {key: [0.5, -0.1, 1.0]}}
        relevance = METRICS["relevance"] | {"differences": open_}
        page = report.render_report(METRICS | {"relevance": relevance})
        assert words in page and "More at the tumours" not in page


def test_a_figure_stands_beside_the_tables_of_what_it_shows():
    titles = ("Relevance density", "Confusion matrix", "Contact sheet", "Other")
    page = report.render_report(METRICS, [(title, "", PNG) for title in titles])
    places = [page.index(f'alt="{title}"') for title in titles]
    heads = [page.index(f"<h2>{head}") for head in ("Where does", "Classification", "Figures")]
    assert heads[0] < places[0] < heads[1] < places[1] < heads[2] < places[3] < places[2]
    assert "Confusion matrix</caption>" not in page  # the figure has the same numbers
    assert "Confusion matrix</caption>" in report.render_report(METRICS)


def test_a_network_at_chance_has_a_banner_and_no_conclusion():
    section = answer.conclusion("<p>The tumour is found best by ig.</p>")
    fine = report.render_report(METRICS, sections=[section])
    assert "At chance" not in fine and fine.count('class="verdict"') == 4
    chance = METRICS | {"accuracy": 0.647, "confusion": [[40, 17], [25, 37]]}
    wide = chance | {"accuracy_interval": [0.48, 0.7], "bootstrap": "patient"}  # few, who differ
    page = report.render_report(wide, sections=[section])
    assert not Page(page).open
    assert "guessing as often of each class is right for 0.498" in page
    for word in ('class="verdict"', 'class="answer"', "found best", "What the intervals", "put 8"):
        assert word not in page
    assert "How sure" not in page and "of the relevance lies" not in page
    assert "At chance" not in report.render_report(chance | {"accuracy_interval": [0.499, 0.7]})
    # Image by image the shuffled labels say more.
    assert "At chance" not in report.render_report(wide | {"bootstrap": "image"})
    guessed = METRICS | {"confusion": [[40, 17], [40, 22]], "accuracy_interval": None}
    assert "of shuffled labels" in report.render_report(guessed)


def test_the_words_fit_the_images():
    page = report.render_report(by_data("folder", classes=["no head", "cyst"]))
    shown = " ".join(Page(page).text)
    assert "outlined regions" in shown and "even in the foreground" in shown
    for word in ("tumours", "in the head", "rest of head"):
        assert word not in shown, word
    assert "no head" in shown  # a class
    picture = 'src="data:image/png;base64,iVBOR/head+tumour/"'
    assert wording("folder")(f"a tumour {picture}") == f"an outlined region {picture}"
    assert "tumours" in report.render_report(by_data("figshare"))
    none = METRICS["relevance"] | {"cases": 0}
    without = report.render_report(by_data("folder", relevance=none))
    assert "There are no masks" in without and "Relevance density by region" not in without


def test_headlines_have_no_private_terms():
    names = " ".join(" ".join(card) for card in headline.cards(METRICS))
    assert "ECE" not in names and "relevance density" not in names and "macro" not in names


def test_what_is_undefined_is_a_dash_and_what_is_missing_is_left_out():
    assert f"<td>{tables.DASH}</td>" in report.render_report(METRICS)
    smallest = report.render_report({"accuracy": None})
    assert "nan" not in smallest.lower() and "Figures" not in smallest
    for key in METRICS:
        parsed = Page(report.render_report({k: v for k, v in METRICS.items() if k != key}))
        assert not parsed.open


def test_numbers():
    assert tables.percent(0.12345) == "12.3 %"
    assert tables.number(np.float64(0.98765)) == "0.988"
    found = [tables.times(v) for v in (0.07123, 1.0, 18.34, 123.4, 2776.02)]
    assert found == ["0.0712", "1.00", "18.3", "123", "2,776"]
    for show in (tables.percent, tables.number, tables.times):
        assert show(None) == show(float("nan")) == show(float("inf")) == tables.DASH
    assert tables.bounds([0.5, None, None]) == ""


def test_the_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    report.write_report(path, METRICS, FIGURES)
    first = path.read_text()
    assert first == report.render_report(METRICS, FIGURES)

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        report.write_report(path, {"accuracy": 0.1}, [])
    assert path.read_text() == first
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
