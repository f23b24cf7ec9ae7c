"""The end of every report: what was run, and on what."""

from collections.abc import Mapping
from typing import Any

from jaxsal.viz.page import facts, text

BLOCKS = ("device", "versions", "timings", "throughput", "settings")
TITLES = {"timings": "Timings, seconds", "throughput": "Throughput, images a second"}


def run_section(metrics: Mapping[str, Any]) -> str:
    """Command, commit, device, versions, timings and settings, as far as they are there."""
    command = metrics.get("command")
    shown = f"<pre>{text(command)}</pre>" if command else ""
    commit = {key: metrics[key] for key in ("commit", "date") if metrics.get(key)}
    blocks = "".join(facts(TITLES.get(n, n.capitalize()), metrics.get(n)) for n in BLOCKS)
    if not (shown or commit or blocks):
        return ""
    return (
        f'<h2>What was run, and on what</h2>{shown}{_resumed(metrics)}<div class="columns">'
        f"{facts('Code', commit)}{blocks}</div>"
    )


def _resumed(metrics: Mapping[str, Any]) -> str:
    """That an earlier run had trained some or all epochs; nothing where none had."""
    if not (before := metrics.get("resumed")):
        return ""
    trained = len(metrics.get("history", {}).get("train_loss", ()))
    if before == trained:
        return f"<p>An earlier run had trained all {trained} epochs.</p>"
    return f"<p>The training was interrupted, and went on after epoch {before} of {trained}.</p>"
