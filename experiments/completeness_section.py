"""The report on completeness: how many points integrated gradients needs."""

from experiments.answer import conclusion
from experiments.claims import Findings, resampled
from experiments.tables import measured, number, percent, table, text, times

ADAPTIVE = "as many as needed"


def completeness_section(record: Findings) -> str:
    """Table and reading of `completeness.json`."""
    rows = [
        (
            text(name),
            measured(each["complete"], percent),
            measured(each["points"], lambda value: number(value, 1)),
            number(each["median_points"], 0),
            number(each["most_points"], 0),
            times(each["milliseconds"]),
        )
        for name, each in record["rules"].items()
    ]
    head = ["points", "complete", "points a map", "median", "most", "ms a map"]
    return "".join(
        [
            "<h2>How many points do integrated gradients need?</h2>",
            f"<p>{text(_intro(record))}</p>",
            table(head, rows, caption="Complete maps by rule"),
            conclusion(f"<p>{text(_reading(record))}</p>"),
        ]
    )


def _intro(record: Findings) -> str:
    return (
        f"Maps of {record['cases']} test images for the predicted class, from a black image; a map "
        f"is complete where what is missing of the score's difference is at most "
        f"{percent(record['tolerance'])} of it. Gauss-Legendre's rule of a fixed number of points, "
        "and one that adds points to each image until its map is complete. Ms a map: one timed "
        "call, compilation apart; images of a batch wait "
        f"for the one that needs most points. {resampled(record)}"
    )


def _reading(record: Findings) -> str:
    """What the rule that adds points costs, and which fixed number does as well."""
    rules = record["rules"]
    adaptive = rules[ADAPTIVE]
    fixed = [name for name in rules if name != ADAPTIVE]
    enough = [n for n in fixed if rules[n]["complete"][0] >= adaptive["complete"][0]]
    alike = (
        f"of the fixed numbers the first to complete as many is {enough[0]}"
        if enough
        else "none of the fixed numbers completes as many"
    )
    return (
        f"With as many points as needed {percent(adaptive['complete'][0])} of the maps are "
        f"complete, by {number(adaptive['points'][0], 1)} points on average; {alike}."
    )
