"""The page of pictures: nothing in a name is markup, and what is missing is told."""

import re

from jaxsal.viz.gallery import Card, gallery
from tests.experiments.test_report import Page

CARDS = [
    Card("a <b>.png", "a _b_.png", "_t/0.png", "glioma", "glioma", 0.6),
    Card("b.png", "b#1.png", "_t/1.png", "glioma", 'x" onclick="', 0.9),
    Card("c.png", "c.png", "_t/2.png", "", "glioma", None, "pituitary"),
]


def test_the_page_is_well_formed_escaped_and_in_order() -> None:
    broken = [("broken.png", "cut <short>")]
    page = gallery("run $1$ & <i>", CARDS, broken, "Maps of x.", ["No <better> than chance."])
    assert '<div class="banner"><p>No &lt;better&gt; than chance.</p></div>' in page
    assert not Page(re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL)).open
    assert "<b>.png" not in page and "&lt;b&gt;.png" in page and "cut &lt;short&gt;" in page
    assert 'onclick="' not in page.replace("x&quot; onclick=&quot;", "")
    assert "3 images, 1 right, 1 wrong, 1 without a picture, listed below" in page
    assert re.findall(r'href="([^"]*)"', page) == ["b%231.png", "a%20_b_.png", "c.png"]
    assert re.findall(r'class="card (\w*)"', page) == ["wrong", "right", ""]
    ways = ["score-", "score", "name", "place"]
    assert re.findall(r'<option value="([^"]+)"', page) == ways
    assert re.findall(r'data-place="(\d)"', page) == ["1", "0", "2"]
    assert "map of: pituitary" in page and "://" not in page


def test_slices_of_a_scan_stay_in_order_until_they_are_sorted() -> None:
    page = gallery("a scan", CARDS, in_order=True)
    assert re.findall(r'data-place="(\d)"', page) == ["0", "1", "2"]
    assert re.findall(r'<option value="([^"]+)"', page)[:2] == ["place", "score-"]


def test_a_page_without_pictures() -> None:
    page = gallery("none", [], [("a", "b")])
    assert (
        "0 images, 1 without a picture" in page and "data-filter=" not in page.split("<script>")[0]
    )


def test_a_score_that_is_none_leaves_the_others_in_order() -> None:
    scores = [0.2, float("nan"), 0.9, None, -3.0, 0.5]
    cards = [CARDS[2]._replace(name=str(n), score=score) for n, score in enumerate(scores)]
    page = gallery("a regression", cards)
    assert re.findall(r'data-place="(\d)"', page) == ["2", "5", "0", "4", "1", "3"]
    kept = ["0.9", "0.5", "0.2", "-3", "-1e+30", "-1e+30"]  # what the page sorts by itself
    assert re.findall(r'data-score="([^"]*)"', page) == kept
