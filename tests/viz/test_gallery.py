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
    assert "map of: pituitary" in page and "http" not in page


def test_a_page_without_pictures() -> None:
    page = gallery("none", [], [("a", "b")])
    assert (
        "0 images, 1 without a picture" in page and "data-filter=" not in page.split("<script>")[0]
    )
