"""Which methods show what was learned? The network is randomised layer by layer.

    python -m experiments.sanity --checkpoint runs/brain_tumor

Cascading from the logits down, and each layer by itself (Adebayo et al., "Sanity Checks for
Saliency Maps", NeurIPS 2018): how like are a method's maps before and after? Over every method of
jaxsal, with controls, on test images of a finished study. About five minutes for 12 images of 64x64
on two CPU cores. Writes sanity.json, .html and a figure, and a section of the study's report.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

import jaxsal
from experiments import again, methods, study
from experiments.likeness import LIKENESS, headed
from experiments.sanity_section import sanity_section
from experiments.study import Chosen, Reopened, Study
from jaxsal import charts, render
from jaxsal.metrics import bootstrap, sanity
from jaxsal.metrics.parameters import flax_module

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


def main(settings: Settings) -> str:
    """Runs the experiment; returns what it found, in a few lines."""
    timings: dict[str, float] = {}
    with again.timed(timings, "load"):
        found, chosen = study.tumours(settings)
    with again.timed(timings, "randomise"):
        every = methods.with_controls(found.about["image_size"], found.background)
        likeness = {
            name: randomised(found, chosen, every[name], settings.seed)
            for name in tqdm.tqdm(every, unit="method")
        }
    record: dict[str, Any] = {
        "study": found.about,
        "cases": len(chosen.targets),
        "bootstrap": chosen.unit,
        "rule": {"unlike": settings.unlike, "alike": settings.alike},
        "methods": {name: judged(values, chosen, settings) for name, values in likeness.items()},
        "timings": timings,
    }
    out = again.publish("sanity", settings, record, [_figure(record)], sanity_section)
    lines = [
        f"  {name:<22} {'passes' if each['passes'] else 'fails':<7} "
        f"all layers {each['final']['in_head'][0]:6.2f}   ignores: "
        f"{', '.join(each['ignored']) or 'none'}"
        for name, each in record["methods"].items()
    ]
    return "\n".join([*lines, f"wrote {out}"])


def layer(path: Any) -> str:
    """A leaf's layer: a normalisation goes with the convolution before it."""
    return flax_module(path).replace("BatchNorm_", "Conv_")


def randomised(
    found: Study, chosen: Chosen, method: Any, seed: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """How like a method's maps stay: `{schedule: {layer: {similarity: [N]}}}`."""
    images = jnp.asarray(chosen.examples.images)
    fresh = jax.jit(found.init)(jax.random.key(seed + 1), images[:1])
    explain = headed(jaxsal.explainer(found.apply, method), images)
    return {
        name: sanity.layer_randomisation(
            explain,
            found.apply,
            found.variables,
            fresh,
            images,
            chosen.targets,
            schedule=schedule,
            group=layer,
            key=jax.random.key(seed),
            similarity=LIKENESS,
        )
        for name, schedule in SCHEDULES.items()
    }


def judged(likeness: dict[str, Any], chosen: Chosen, settings: Settings) -> dict[str, Any]:
    """Means, intervals, and whether a method passes by the rule.

    It does where, with all layers drawn anew, the interval of Spearman's correlation in the head
    lies below `unlike`, and with any one layer drawn anew below `alike`. What is not defined (a map
    without relevance has no order) is left out, and counted; where nothing is, nothing passes.
    """
    means = bootstrap.summarise(likeness, chosen.clusters)
    final = list(means["cascading"].values())[-1]
    whole = list(likeness["cascading"].values())[-1]["in_head"]
    ignored = [
        name
        for name, values in means["independent"].items()
        if not values["in_head"][2] < settings.alike
    ]
    changed = bool(final["in_head"][2] < settings.unlike)
    return {
        **means,
        "final": final,
        "defined": int(np.isfinite(whole).sum()),
        "changed": changed,
        "ignored": ignored,
        "passes": changed and not ignored,
    }


def _figure(record: dict[str, Any]) -> tuple[str, str, bytes]:
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
        "the logits down. 1: the map does not show what the layer had learned.",
        render.png(charts.heat(panels, list(found), layers)),
    )


if __name__ == "__main__":
    again.start(Settings, main, "sanity", __doc__)
