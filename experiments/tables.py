"""Numbers and tables as HTML: escaped, with a dash for what is not defined."""

from typing import Any

from jaxsal.viz.page import DASH as DASH
from jaxsal.viz.page import bounds as bounds
from jaxsal.viz.page import defined as defined
from jaxsal.viz.page import facts as facts
from jaxsal.viz.page import measured as measured
from jaxsal.viz.page import number as number
from jaxsal.viz.page import percent as percent
from jaxsal.viz.page import table as table
from jaxsal.viz.page import text as text


def two(value: Any) -> str:
    """A number with two digits after the point, or a dash."""
    return number(value, 2)


def times(value: Any) -> str:
    """A number with three figures, or all before the point: 0.071, 1.02, 18.3, 2,776."""
    if not defined(value):
        return DASH
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def words(name: str) -> str:
    """A key of `metrics.json` as a reader would say it."""
    return " ".join(WORDS.get(word, word) for word in name.replace("_", " ").split(" "))


WORDS = {name.lower(): name for name in ("AUC", "ROC", "ROAD", "SIC", "AIC", "Lipschitz")}
WORDS["count"] = "images"
