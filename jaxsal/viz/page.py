"""One self-contained HTML page: text, numbers, tables and figures; it opens without network."""

import base64
import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DASH = "–"
CSS = Path(__file__).with_suffix(".css")
Format = Callable[[Any], str]


def text(value: Any) -> str:
    """Any value as HTML text: nothing in it is markup."""
    return html.escape(str(value))


def defined(value: Any) -> bool:
    """Whether a value is a finite number; None, NaN and infinities are not."""
    return isinstance(value, int | float) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed digits, or a dash; what rounds to zero has no sign."""
    return f"{value:z.{digits}f}" if defined(value) else DASH


def percent(value: Any) -> str:
    """A share as a percentage with one digit, or a dash."""
    return f"{100 * value:z.1f} %" if defined(value) else DASH


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


def bullets(items: Iterable[str]) -> str:
    """Plain sentences as a list; nothing for none."""
    listed = "".join(f"<li>{text(item)}</li>" for item in items)
    return f"<ul>{listed}</ul>" if listed else ""


def banner(warnings: Sequence[str]) -> str:
    """What speaks against every number below, before them; nothing without warnings."""
    body = "".join(f"<p>{text(warning)}</p>" for warning in warnings)
    return f'<div class="banner">{body}</div>' if body else ""


def cards(facts: Iterable[tuple[str, str, str]]) -> str:
    """`(name, value, note)`, each in a box, the value first."""
    boxes = "".join(
        f'<div class="card"><b>{text(value)}</b><span>{text(name)}</span>'
        f"<span>{text(note)}</span></div>"
        for name, value, note in facts
    )
    return f'<div class="cards">{boxes}</div>'


def conclusion(body: str) -> str:
    """HTML of what follows from a table; it holds no other `div`."""
    return f'<div class="verdict">{body}</div>'


def figure(title: str, caption: str, png: bytes) -> str:
    """A figure inside the page itself, with its caption.

    Its width is that of the file, so that a narrow screen can say how far it shrinks.
    """
    width = int.from_bytes(png[16:20], "big")  # of the PNG's header
    return (
        f'<figure><div class="wide"><img style="--width: {width}px" alt="{text(title)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></div>'
        f"<figcaption><b>{text(title)}.</b> {text(caption)}</figcaption></figure>\n"
    )


def figures(shown: Iterable[tuple[str, str, bytes]]) -> str:
    """Figures `(title, caption, PNG)` one below the other; nothing for none."""
    return "".join(figure(*each) for each in shown)


def page(title: str, body: str, *, css: Path = CSS, script: Path | None = None) -> str:
    """A whole HTML document that needs no network, with a style and perhaps a script inside."""
    run = f"<script>\n{script.read_text()}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title>\n<style>\n{css.read_text()}</style></head>\n"
        f"<body><main>\n{body}\n</main>{run}</body></html>\n"
    )
