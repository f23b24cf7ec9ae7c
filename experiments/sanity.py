"""Which maps depend on what was learned? The network is randomised layer by layer.

    python -m experiments.sanity --checkpoint runs/brain_tumor

Cascading from the logits down, and each layer by itself (Adebayo et al., "Sanity Checks for
Saliency Maps", NeurIPS 2018): how like are a method's maps before and after? Over every method of
jaxsal, with controls, on test images of a finished study. About five minutes for 12 images of 64x64
on two CPU cores. Writes sanity.json, .html and a figure, and a section of the study's report.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

import jaxsal
from experiments import follow_up, methods, networks, study
from experiments.claims import Findings
from experiments.head_similarity import HEAD_SIMILARITIES, headed
from experiments.sanity_section import FAILS, PASSES, UNDECIDED, sanity_section
from experiments.study import Chosen, Reopened, Study
from experiments.unfinished import unfinished
from experiments.wording import Wording
from jaxsal import render
from jaxsal.metrics import bootstrap, sanity
from jaxsal.metrics.parameters import flax_module
from jaxsal.viz import charts

Similarities = dict[str, dict[str, dict[str, np.ndarray]]]
"""`{schedule: {layer: {similarity: [N]}}}`."""

SCHEDULES: dict[str, sanity.Schedule] = {
    "cascading": sanity.cascading,
    "independent": sanity.independent,
}


@dataclass(frozen=True)
class Settings(Reopened):
    """Settings of the experiment."""

    explain: int = 12
    """How many test images are explained, at most; 0 = all."""
    unlike: float = 0.5
    """A method passes the cascade where, all layers drawn anew, the correlation is below."""
    alike: float = 0.95
    """A method ignores a layer where, that layer alone drawn anew, the correlation is not below."""
    draws: int = 1
    """Networks drawn anew, whose similarities are averaged image by image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1:
            raise ValueError(f"draws: expected at least 1, got {self.draws}")


def main(settings: Settings) -> str:
    """Runs the experiment; returns what it found, in a few lines."""
    timings: dict[str, float] = {}
    with follow_up.timed(timings, "load"):
        found, chosen = study.tumours(settings)
    with follow_up.timed(timings, "randomise"):
        every = methods.with_controls(found.about["image_size"], found.background)
        parts = unfinished("sanity", settings, found, chosen)
        similarity = {
            name: parts.part(name, functools.partial(_likeness, found, chosen, method, settings))
            for name, method in tqdm.tqdm(every.items(), unit="method")
        }
    record: dict[str, Any] = {
        "study": found.about,
        "cases": len(chosen.targets),
        "bootstrap": chosen.unit,
        "clusters": chosen.drawn_from,
        "draws": settings.draws,
        "rule": {"unlike": settings.unlike, "alike": settings.alike},
        "methods": {name: judged(values, chosen, settings) for name, values in similarity.items()},
        "timings": timings,
        "earlier_parts": parts.earlier,
    }
    drawn = [_figure(record, found.word)]
    out = follow_up.publish("sanity", settings, record, drawn, sanity_section)
    parts.remove()
    lines = [
        f"  {found.word(name):<22} {each['verdict']:<9} all layers "
        f"{each['final']['in_head'][0]:6.2f}   ignores: {', '.join(each['ignored']) or 'none'}"
        for name, each in record["methods"].items()
    ]
    return "\n".join([*lines, f"wrote {out}"])


def _likeness(found: Study, chosen: Chosen, method: Any, settings: Settings) -> Similarities:
    """How like a method's maps stay, on average over the networks drawn anew."""
    seeds = range(settings.seed + 1, settings.seed + settings.draws + 1)
    return averaged(
        [randomised(found, chosen, method, settings.seed, fresh=fresh) for fresh in seeds]
    )


def layer(path: Any) -> str:
    """A leaf's layer: a normalisation goes with the convolution before it."""
    return flax_module(path).replace("BatchNorm_", "Conv_")


def averaged(draws: list[Similarities]) -> Similarities:
    """The mean over draws, image by image; what is not defined in one of them is left out."""

    def mean(values: list[np.ndarray]) -> np.ndarray:
        stacked = np.stack(values)
        count = np.isfinite(stacked).sum(0)
        return np.where(count, np.nansum(stacked, 0) / np.maximum(count, 1), np.nan)

    # Not by jax.tree.map, which would sort the layers by name.
    return {
        schedule: {
            name: {kind: mean([each[schedule][name][kind] for each in draws]) for kind in kinds}
            for name, kinds in by_layer.items()
        }
        for schedule, by_layer in draws[0].items()
    }


def randomised(found: Study, chosen: Chosen, method: Any, seed: int, *, fresh: int) -> Similarities:
    """How like a method's maps stay when layers are drawn anew by the seed `fresh`."""
    images = jnp.asarray(chosen.examples.images)
    drawn = jax.jit(found.init)(jax.random.key(fresh), images[:1])
    explain = headed(jaxsal.explainer(found.apply, method), images)
    return {
        name: sanity.layer_randomisation(
            explain,
            found.apply,
            found.variables,
            drawn,
            images,
            chosen.targets,
            schedule=schedule,
            group=layer,
            key=jax.random.key(seed),
            similarity=HEAD_SIMILARITIES,
        )
        for name, schedule in SCHEDULES.items()
    }


def judged(similarity: Similarities, chosen: Chosen, settings: Settings) -> dict[str, Any]:
    """Means, intervals, and a method's verdict by them.

    What is not defined (a map without relevance has no order) is left out, and counted.
    """
    means = bootstrap.summarise(similarity, chosen.clusters)
    counts = [
        int(np.isfinite(values["in_head"]).sum())
        for schedule in similarity.values()
        for values in schedule.values()
    ]
    found = by_rule(means, unlike=settings.unlike, alike=settings.alike)
    return {**means, **found, "defined": min(counts)}


def by_rule(means: Findings, *, unlike: float, alike: float) -> dict[str, Any]:
    """Whether a method passes by the rule, fails, or is undecided, and why.

    By the interval of Spearman's correlation in the head. A method passes where that lies below
    `unlike` with all layers drawn anew, and below `alike` with any one layer. It fails where one of
    them does not reach below. Where nothing is defined, nothing is decided.
    """
    final = list(means["cascading"].values())[-1]
    alone = {name: values["in_head"] for name, values in means["independent"].items()}
    ignored = [name for name, interval in alone.items() if interval[1] >= alike]
    unchanged = final["in_head"][1] >= unlike
    clear = final["in_head"][2] < unlike
    clear &= all(interval[2] < alike for interval in alone.values())
    return {
        "final": final,
        "unchanged": bool(unchanged),
        "ignored": ignored,
        "verdict": FAILS if unchanged or ignored else PASSES if clear else UNDECIDED,
    }


def pooled(records: Sequence[Findings]) -> dict[str, Any]:
    """One record in place of several networks': methods are judged by intervals over networks."""
    found, rule = networks.pooled(records), records[0]["rule"]
    by_method = {name: each | by_rule(each, **rule) for name, each in found["methods"].items()}
    return found | {"rule": rule, "methods": by_method}


def _figure(record: dict[str, Any], word: Wording) -> tuple[str, str, bytes]:
    found = record["methods"]
    layers = list(next(iter(found.values()))["cascading"])
    panels = {
        "cascading, down to": [
            [each["cascading"][name]["in_head"][0] for name in layers] for each in found.values()
        ],
        "this layer alone": [
            [each["independent"][name]["in_head"][0] for name in layers] for each in found.values()
        ],
    }
    return (
        "Randomisation",
        "Spearman's correlation of |map| in the head before and after layers are drawn anew, from "
        "the logits down. 1: the map does not depend on what the layer had learned.",
        render.png(charts.heat(panels, [*map(word, found)], layers)),
    )


if __name__ == "__main__":
    follow_up.start(Settings, main, "sanity", __doc__)
