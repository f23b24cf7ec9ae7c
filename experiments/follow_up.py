"""What an experiment on a finished study leaves behind, and how it is started."""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import jax
import tyro

from experiments import outputs, sections
from experiments.report import Figure, write_page
from experiments.settings import plain
from experiments.study import Reopened
from experiments.wording import wording
from jaxsal.commands.run_section import run_section
from jaxsal.common import files, provenance
from jaxsal.training import checkpoint
from jaxsal.viz.page import figures as figures_html
from jaxsal.viz.page import page

Section = Callable[[dict[str, Any]], str]


def publish(
    name: str,
    settings: Reopened,
    record: dict[str, Any],
    drawn: list[Figure],
    section: Section,
) -> Path:
    """Writes NAME.json, figures and NAME.html, and puts the section into the study's report.

    Args:
        name: of the experiment, one of `sections.ORDER`.
        record: what was measured; settings, versions, device, commit and date are added.
        drawn: `(title, caption, PNG)` of each figure; what stands in it is worded already.
        section: from the record to HTML.

    Returns:
        Where the page is.
    """
    out = settings.folder(name)
    out.mkdir(parents=True, exist_ok=True)
    network = checkpoint.fingerprint(settings.checkpoint)
    about = {"network": network, "settings": plain(settings), **provenance.describe()}
    record = {**record, **about}
    # As a reader of the file will see it: what is not defined is null.
    record = json.loads(json.dumps(files.finite(record)))
    for title, _, png in drawn:
        (out / f"{name}-{title.lower().replace(' ', '_')}.png").write_bytes(png)
    word = wording(record["study"]["data"], record["study"]["classes"])
    html = word(section(record) + figures_html(drawn))
    title = word(name.replace("_", " ")).capitalize()
    whole = page(title, html + _earlier(record) + run_section(record))
    write_page(out / f"{name}.html", whole)
    sections.write(settings.checkpoint, name, html)
    finished = settings.checkpoint / "metrics.json"
    outputs.write_study_report(settings.checkpoint, json.loads(finished.read_text()))
    files.write_json(out / f"{name}.json", record)  # last: who finds it takes all for done
    return out


def _earlier(record: dict[str, Any]) -> str:
    """That parts are of an earlier run, whose time is not among the timings."""
    if not (count := record.get("earlier_parts")):
        return ""
    said = f"{count} of its parts are of an earlier run, whose time is not in the timings."
    return f"<p>{said}</p>"


@contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """Prints the name of a stage, and notes the seconds that it took."""
    print(f"{name} ...", flush=True)
    begin = time.perf_counter()
    yield
    timings[name] = round(time.perf_counter() - begin, 2)


def full_precision() -> AbstractContextManager[None]:
    """Products and convolutions in full float32, where an accelerator's default is a shorter one.

    The shorter one's rounding is of the order of what is measured on maps.
    """
    return jax.default_matmul_precision("highest")


@contextmanager
def counted() -> Iterator[None]:
    """Maps short of their tolerance are counted where completeness is measured: no warning each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "tolerance: maps of", RuntimeWarning)
        yield


def start(kind: type, main: Callable[[Any], str], prog: str, description: str | None) -> None:
    """Reads the settings from the command line, runs, prints what `main` returns and the time."""
    begin = time.perf_counter()
    try:
        given: Any = tyro.cli(kind, prog=f"python -m experiments.{prog}", description=description)
        with full_precision(), counted():
            summary = main(given)
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{summary}\n{time.perf_counter() - begin:.0f} seconds")
