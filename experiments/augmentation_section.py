"""The report on test-time augmentation: what the mean over varied copies is worth."""

from typing import Any

from experiments.answer import conclusion
from experiments.claims import HOLDS, Findings, resampled, verdict
from experiments.tables import bounds, measured, number, percent, table, text

ALONE, COPIES = "the image alone", "with its copies"


def augmentation_section(record: Findings) -> str:
    """Table and reading of `augmentation.json`."""
    answers = record["answers"]
    rows = [
        (text(name), *(measured(each, percent) for each in (alone, copies)))
        for name, alone, copies in (
            ("all", answers[ALONE]["named"], answers[COPIES]["named"]),
            *(
                (name, each["named"], answers[COPIES]["by_class"][name]["named"])
                for name, each in answers[ALONE]["by_class"].items()
            ),
        )
    ]
    return "".join(
        [
            "<h2>Do varied copies of an image help to name it?</h2>",
            f"<p>{text(_intro(record))}</p>",
            table(["images of", ALONE, COPIES], rows, caption="Named right"),
            conclusion(f"<p>{text(_reading(record))}</p>"),
        ]
    )


def _intro(record: Findings) -> str:
    by = ", each named by the network that it is new to" if record["bootstrap"] == "network" else ""
    return (
        f"{record['cases']} test images{by}; the mean of the softmax over an image and "
        f"{record['copies']} copies, varied in pose and intensity as in training. All other "
        f"results of the study are of the image alone. {resampled(record)}"
    )


def _reading(record: Findings) -> str:
    """Whether the mean names more, fewer, or is not told apart."""
    gain = record["gain"]
    if verdict(gain) == HOLDS:
        said = "With varied copies more images are named right"
    elif verdict([-gain[0], -gain[2], -gain[1]] if None not in gain else gain) == HOLDS:
        said = "With varied copies fewer images are named right"
    else:
        said = "Whether copies help is not decided"
    points = f"{_points(gain[0])} {bounds(gain, _points)}".rstrip()
    return f"{said}: {points} points more of a hundred."


def _points(share: Any) -> str:
    return number(None if share is None else 100 * share, 1)
