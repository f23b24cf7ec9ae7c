"""Which method is the truest, and what does a map cost? Every method by every metric.

    python -m experiments.compare_methods --checkpoint runs/brain_tumor

Every method of jaxsal and the controls that know nothing of the network, over the correctly
classified tumours of a finished study's test fold: faithfulness, localisation, robustness,
complexity; a ranking with intervals, and milliseconds a map. About seven minutes for 32 images of
64x64 on two CPU cores. Writes compare_methods.json, .html and a figure, and a section of the
study's report.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import tqdm

from experiments import explaining, follow_up, methods, networks, ranking, scoring, study
from experiments.claims import Findings
from experiments.compare_section import compare_section
from experiments.controls import CONTROLS
from experiments.ranking import Ranking
from experiments.scoring import Values
from experiments.study import Chosen, Reopened, Study
from experiments.unfinished import Part, Unfinished, unfinished
from experiments.wording import Wording
from jaxsal import render
from jaxsal.metrics import LOWER_IS_BETTER, bootstrap
from jaxsal.viz import charts

RANKED = ("faithfulness", "localisation")
DEFINITIONS = scoring.DEFINITIONS
"""A record of other ones is not a record of this experiment."""


@dataclass(frozen=True)
class Settings(Reopened):
    """Settings of the experiment."""

    explain: int = 32
    """How many test images are explained, at most; 0 = all."""
    again: int = 16
    """On how many of them methods are run again and again, for robustness: most of the time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.again < 0:
            raise ValueError(f"again: expected at least 0, got {self.again}")


def main(settings: Settings) -> str:
    """Runs the experiment; returns what it found, in a few lines."""
    timings: dict[str, float] = {}
    with follow_up.timed(timings, "load"):
        found, chosen = study.tumours(settings)
    every = methods.with_controls(found.about["image_size"], found.background)
    parts = unfinished("compare_methods", settings, found, chosen)
    with follow_up.timed(timings, "explain"):
        explained = _explained(found, chosen, every, settings.seed, parts)
    maps = {name: part["map"] for name, part in explained.items()}
    with follow_up.timed(timings, "score"):
        values = scoring.score(
            found, chosen, maps, every, settings.seed, settings.again, parts.part
        )
    record: dict[str, Any] = {
        "study": found.about,
        "cases": len(chosen.targets),
        "definitions": DEFINITIONS,
        "few": min(settings.again, len(chosen.targets)),
        "bootstrap": chosen.unit,
        "clusters": chosen.drawn_from,
        **compared(values, chosen, settings.seed),
        "milliseconds": {
            name: 1e3 * float(part["seconds"]) / len(chosen.targets)
            for name, part in explained.items()
        },
        "timings": timings,
        "earlier_parts": parts.earlier,
    }
    drawn = [_figure(record, found.word)]
    out = follow_up.publish("compare_methods", settings, record, drawn, compare_section)
    parts.remove()
    lines = [
        f"  {found.word(name):<22} faithfulness rank {rank[0]:5.1f}   localisation rank "
        f"{record['ranks']['localisation'][name][0]:5.1f}   "
        f"{record['milliseconds'][name]:8.2f} ms a map"
        for name, rank in record["ranks"]["faithfulness"].items()
    ]
    return "\n".join([*lines, f"wrote {out}"])


def _explained(
    found: Study, chosen: Chosen, every: Mapping[str, Any], seed: int, parts: Unfinished
) -> dict[str, Part]:
    """By method its `map` of each image, and the `seconds` that they took."""

    def made(name: str) -> Part:
        explained = explaining.explain(
            found.apply,
            found.variables,
            chosen.examples.images,
            chosen.targets,
            key=jax.random.key(seed),
            methods={name: every[name]},
        )
        return {"map": explained.maps[name], "seconds": np.float64(explained.seconds[name])}

    return {
        name: parts.part(f"map, {name}", functools.partial(made, name))
        for name in tqdm.tqdm(every, unit="method")
    }


def compared(values: Values, chosen: Chosen, seed: int) -> dict[str, Any]:
    """Means with intervals, ranks by family (best first), and who is above the controls where."""
    families = scoring.families(chosen.examples.images.shape[1])
    ranked: dict[str, Ranking] = {
        family: ranking.rank(
            values, list(families[family]), tuple(LOWER_IS_BETTER), chosen.clusters, seed=seed
        )
        for family in RANKED
    }
    order = sorted(values, key=lambda name: ranked["faithfulness"].rank[name][0])
    return {
        "families": {name: list(family) for name, family in families.items()},
        "methods": bootstrap.summarise({name: values[name] for name in order}, chosen.clusters),
        "undefined": _undefined({name: values[name] for name in order}, families["faithfulness"]),
        "ranks": {family: {n: r.rank[n] for n in order} for family, r in ranked.items()},
        "behind": {family: {n: r.behind[n] for n in order} for family, r in ranked.items()},
        "best": {family: r.best for family, r in ranked.items()},
        "above_controls": {
            name: [m for m in families["faithfulness"] if _above(values, name, m, chosen.clusters)]
            for name in order
            if name not in CONTROLS
        },
    }


def pooled(records: Sequence[Findings]) -> dict[str, Any]:
    """One record in place of several networks': who leads, and who is above the controls on all.

    `agreement` is how alike the networks rank the methods, by family, without the controls, which
    are first or last on every network, and the duplicates; not there of one network.
    `duplicates` names methods whose values are those of another one.

    Raises:
        ValueError: networks on which other methods were compared, or by other metrics.
    """
    asked = [(set(each["methods"]), each["families"], each.get("definitions")) for each in records]
    if any(each != asked[0] for each in asked):
        raise ValueError(
            "records: expected the same methods and metrics on every network, got others; "
            "take away the older compare_methods.json"
        )
    found = networks.pooled(records)
    ranks = {
        family: {name: _from_one(found["ranks"][family][name]) for name in _by_rank(ranked)}
        for family, ranked in found["ranks"].items()
    }
    names = list(ranks["faithfulness"])
    found |= {
        "methods": {name: found["methods"][name] for name in names},
        "ranks": ranks,
        "best": {family: next(iter(ranked)) for family, ranked in ranks.items()},
        "behind": {family: _behind(records, family, [*ranked]) for family, ranked in ranks.items()},
        "above_controls": {
            name: [m for m in above if all(m in each["above_controls"][name] for each in records)]
            for name, above in found["above_controls"].items()
        },
        "undefined": {name: found["undefined"][name] for name in names},
    }
    found["duplicates"] = duplicates = _duplicates(records)
    if len(records) > 1:
        ranked = [name for name in names if name not in (*CONTROLS, *duplicates)]
        found["agreement"] = {
            family: list(networks.agreement([_means(each, family, ranked) for each in records]))
            for family in ranks
        }
    return found


def _duplicates(records: Sequence[Findings]) -> dict[str, str]:
    """By method, another one that has the same value by every metric on every network."""
    first: dict[str, str] = {}
    others = {
        name: first.setdefault(_scores(records, name), name) for name in records[0]["methods"]
    }
    return {name: other for name, other in others.items() if other != name}


def _scores(records: Sequence[Findings], name: str) -> str:
    return json.dumps([record["methods"][name] for record in records], sort_keys=True)


def _by_rank(ranked: Findings) -> list[str]:
    """The methods, the first first."""
    return [name for _, name in sorted((rank[0], name) for name, rank in ranked.items())]


def _from_one(rank: list[float]) -> list[float]:
    """A mean rank and its bounds, of which none is before the first."""
    return [max(1.0, each) if each == each else each for each in rank]


def _means(record: Findings, family: str, names: Iterable[str]) -> dict[str, float]:
    """A network's mean rank of each of these methods."""
    return {name: record["ranks"][family][name][0] for name in names}


def _behind(records: Sequence[Findings], family: str, names: list[str]) -> dict[str, list[float]]:
    """How far each method's mean rank is behind that of the first, network by network."""
    of_networks = [_means(record, family, names) for record in records]
    gaps = {name: [each[name] - each[names[0]] for each in of_networks] for name in names}
    return {name: list(map(float, networks.mean_interval(gap))) for name, gap in gaps.items()}


def _undefined(values: Values, metrics: Iterable[str]) -> dict[str, int]:
    """By method, on how many images some metric is not defined that is for another method."""
    defined = np.isfinite([[each[metric] for metric in metrics] for each in values.values()])
    lost = (~defined & defined.any(0)).any(1).sum(1)
    return dict(zip(values, lost.tolist(), strict=True))


def _above(values: Values, name: str, metric: str, clusters: Any) -> bool:
    """Whether a method is better than every control, by paired differences over the images."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    gaps = [sign * (values[name][metric] - values[control][metric]) for control in CONTROLS]
    return all(bootstrap.mean_interval(gap, clusters).low > 0 for gap in gaps)


def _figure(record: dict[str, Any], word: Wording) -> tuple[str, str, bytes]:
    cost = {name: [ms, ms, ms] for name, ms in record["milliseconds"].items()}
    label = "milliseconds a map"
    ranks = {
        family: {word(name): rank for name, rank in ranked.items()}
        for family, ranked in record["ranks"].items()
    }
    panels = {
        "mean rank, 95 % interval (1 is best)": ranks,
        label: {"cost": {word(name): cost[name] for name in record["methods"]}},
    }
    return (
        "Ranking",
        "Mean rank over the metrics of faithfulness and of localisation, and what a map costs, "
        "compilation apart.",
        render.png(charts.dots_beside(panels, log=[label])),
    )


if __name__ == "__main__":
    follow_up.start(Settings, main, "compare_methods", __doc__)
