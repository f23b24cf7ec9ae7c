"""What an evaluation comes to, in sentences and headline numbers that need no other reading."""

from collections.abc import Mapping
from typing import Any

from jaxsal.commands import evaluation
from jaxsal.viz.page import bounds, conclusion, defined, number, percent, text

Record = Mapping[str, Any]

Card = tuple[str, str, str]
"""A headline number: what it is, the number, and a note."""


def cards(metrics: Record) -> list[Card]:
    """How often a network is right, how well it tells classes apart, how well it knows."""
    interval = bounds(metrics.get("accuracy_interval"), percent)
    if clusters := metrics.get("clusters"):
        unit = f"{metrics['bootstrap']}{'s' if clusters != 1 else ''}"
        interval = f"{interval or 'too few for an interval:'} {clusters} {unit}"
    if metrics.get("bootstrap") == "image":
        interval += ", by image: too narrow, the files name no patients"
    return [
        ("of the test images named right", percent(metrics.get("accuracy")), interval),
        (
            "area under the ROC curve",
            number(metrics.get("macro_auc")),
            "each class against the rest, averaged; 0.5 is guessing, 1 is perfect",
        ),
        (
            "between a stated probability and how often it comes true",
            number(metrics.get("calibration", {}).get("ece")),
            "the expected calibration error, on average; 0 is perfect",
        ),
    ]


def answer(metrics: Record) -> str:
    """How often a network is right, beside always naming the most frequent class."""
    counts = {
        name: sum(row) for name, row in zip(metrics["classes"], metrics["confusion"], strict=True)
    }
    most, tested = max(counts, key=counts.__getitem__), sum(counts.values())
    share = f"{percent(metrics['accuracy'])} {bounds(metrics['accuracy_interval'], percent)}"
    return (
        f"It names {share.rstrip()} of {tested} images right; always answering {most} would be "
        f"right for {percent(counts[most] / tested)}."
    )


def kept(metrics: Record) -> str:
    """Which epoch's network it is, and when training ended; "" where nothing was validated."""
    if not metrics.get("validated_on"):
        return ""
    epochs = metrics["epochs"]
    said = (
        f"The network is that of epoch {epochs['kept']} of {epochs['asked']}, the most accurate on "
        f"{metrics['validated_on']} validation images"
    )
    if epochs["trained"] == epochs["asked"]:
        return f"{said}."
    return (
        f"{said}; training ended after epoch {epochs['trained']}, with none better in the last "
        f"{epochs['patience']} (--patience)."
    )


def missed(metrics: Record) -> str:
    """HTML of which class is missed most; nothing where no sensitivity is defined, or at chance."""
    found = {
        name: row["sensitivity"]
        for name, row in metrics.get("per_class", {}).items()
        if defined(row.get("sensitivity"))
    }
    if not found or _guesses(metrics):
        return ""
    worst = min(found, key=found.__getitem__)
    if found[worst] == 1:
        return conclusion("<p>It finds every image of every class.</p>")
    return conclusion(
        f"<p>It most often misses {text(worst)}, of which it finds {percent(found[worst])}.</p>"
    )


def on_masks(metrics: Record) -> str:
    """HTML of whose maps lie on the masks more than an even one would; nothing at chance."""
    found = metrics["localisation"]
    if _guesses(metrics):
        return ""
    lows = {name: low for name, (_, low, _) in found["above_even"].items()}
    shown = [name for name, low in lows.items() if defined(low) and low > 0]
    rest = [name for name in lows if name not in shown]
    above, others = (text(", ".join(names) or "none") for names in (shown, rest))
    return conclusion(
        "<p>More relevance on the masks than of a map even over the image, by the interval of the "
        f"difference: {above}. Not shown of: {others}.</p>"
    )


def _guesses(metrics: Record) -> bool:
    """Whether it is warned that guessing may reach the accuracy: then nothing is concluded."""
    return bool(evaluation.at_chance(metrics))
