"""Numbers and tables as HTML: escaped, with a dash for what is not defined."""

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

DASH = "–"
Format = Callable[[Any], str]


def text(value: Any) -> str:
    """Any value as HTML text: nothing in it is markup."""
    return html.escape(str(value))


def defined(value: Any) -> bool:
    """Whether a value is a finite number; None, NaN and infinities are not."""
    return isinstance(value, int | float) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed digits, or a dash."""
    return f"{value:.{digits}f}" if defined(value) else DASH


def times(value: Any) -> str:
    """A ratio with three figures: 0.071, 1.02, 18.3."""
    return f"{value:#.3g}".rstrip(".") if defined(value) else DASH


def percent(value: Any) -> str:
    """A share as a percentage with one digit, or a dash."""
    return f"{100 * value:.1f} %" if defined(value) else DASH


def bounds(interval: Any, show: Format = number) -> str:
    """The last two of `[mean, low, high]` or `[low, high]` in brackets; nothing without bounds."""
    if not interval or not all(defined(bound) for bound in interval[-2:]):
        return ""
    return f"[{show(interval[-2])}, {show(interval[-1])}]"


def measured(interval: Any, show: Format = number) -> str:
    """`[mean, low, high]`, or a bare number, as a cell: the mean and, smaller, its bounds."""
    if not isinstance(interval, Sequence):
        return show(interval)
    return f'{show(interval[0])}<span class="ci">{bounds(interval, show)}</span>'


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    quiet: Iterable[str] = (),
) -> str:
    """A table; the first cell of a row names it. Cells are HTML already, all else is text.

    Rows whose name is in `quiet` (the controls) are set back.
    """
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = ""
    for name, *cells in rows:
        kind = ' class="control"' if name in quiet else ""
        data = "".join(f"<td>{cell}</td>" for cell in cells)
        body += f"<tr{kind}><th>{text(name)}</th>{data}</tr>\n"
    legend = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{legend}<thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>"
    )


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
    return (
        name.replace("_", " ")
        .replace("auc", "AUC")
        .replace("roc", "ROC")
        .replace("count", "images")
    )
