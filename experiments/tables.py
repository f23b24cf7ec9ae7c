"""Numbers and tables as HTML: escaped, with a dash for what is not defined."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from jaxsal.viz.page import DASH as DASH
from jaxsal.viz.page import bounds as bounds
from jaxsal.viz.page import defined as defined
from jaxsal.viz.page import measured as measured
from jaxsal.viz.page import number as number
from jaxsal.viz.page import percent as percent
from jaxsal.viz.page import table as table
from jaxsal.viz.page import text as text


def two(value: Any) -> str:
    """A number with two digits after the point, or a dash."""
    return number(value, 2)


def times(value: Any) -> str:
    """A ratio with three figures: 0.071, 1.02, 18.3."""
    return f"{value:#.3g}".rstrip(".") if defined(value) else DASH


def facts(title: str, values: Mapping[str, Any] | None) -> str:
    """A titled table of names and values, nested dicts flattened; nothing for an empty one."""
    if not values:
        return ""
    rows = "".join(f"<tr><th>{text(k)}</th><td>{text(v)}</td></tr>\n" for k, v in _flat(values))
    body = f'<div class="wide"><table class="facts"><tbody>\n{rows}</tbody></table></div>'
    return f"<div><h3>{text(title)}</h3>{body}</div>"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label} · ")
        elif isinstance(value, float):
            yield label, f"{value:,.4g}" if math.isfinite(value) else DASH
        elif isinstance(value, list | tuple):
            yield label, ", ".join(str(part) for part in value)
        else:
            yield label, DASH if value is None else str(value)


def words(name: str) -> str:
    """A key of `metrics.json` as a reader would say it."""
    return " ".join(WORDS.get(word, word) for word in name.replace("_", " ").split(" "))


WORDS = {name.lower(): name for name in ("AUC", "ROC", "ROAD", "SIC", "AIC", "Lipschitz")}
WORDS["count"] = "images"
