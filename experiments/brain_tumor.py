"""Does a brain-tumour classifier look at the tumour? Train, evaluate, explain, measure, report.

    python -m experiments.brain_tumor
    python -m experiments.brain_tumor --data figshare --data-dir DIR --image-size 128

The first generates its images (phantoms) and takes some three minutes on two quiet cores; expect a
test accuracy above 0.95. The second reads Cheng's 3064 real slices (figshare 1512427, CC BY 4.0),
split by patient. Writes metrics.json, report.html, figures/, checkpoints/, maps/ and the network
(model.json, params.npz: what `jaxsal explain --checkpoint` reads) under --out; the same command
after a kill goes on where it stopped, and of a finished study explains and measures again. After
Keles et al., IMVIP 2023.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
import tyro

from experiments import explaining, outputs, study
from experiments.explaining import Explained
from experiments.follow_up import counted, full_precision
from experiments.settings import Settings, divided, plain, resolve
from jaxsal.commands import evaluation, seen
from jaxsal.commands.progress import Training
from jaxsal.common import files, provenance
from jaxsal.compiler import processes
from jaxsal.data import understood
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.splits import take
from jaxsal.models import CNN
from jaxsal.training import checkpoint, loop
from jaxsal.training.config import TrainConfig
from jaxsal.types import Params


def main(settings: Settings) -> dict[str, Any]:
    """Runs the study; returns what metrics.json holds."""
    processes.join_if(settings.processes)
    settings, config = resolve(settings)
    timings: dict[str, float] = {}
    with files.writable(settings.out) as folder, _timed(timings, "load"):
        dataset, division = divided(settings)
        splits = dict(zip(understood.PARTS, division[:3], strict=True))
        told = understood.record(dataset, division)
    if not jax.process_index():
        print("\n".join(understood.lines(told, dataset.cached)), flush=True)
    model = network(settings, len(dataset.classes))
    with _timed(timings, "train"):
        facts = {"data": settings.data, "bfloat16": settings.bfloat16}
        run = loop.prepare(config, model, splits["train"], splits["validation"], facts=facts)
        with Training(run.steps, config, silent=jax.process_index() > 0) as bar:
            trained = loop.train(
                config, run, checkpoints=folder / checkpoint.CHECKPOINTS, on_step=bar
            )
    variables, test = trained.variables, splits["test"]
    with _timed(timings, "evaluate"), full_precision():
        logits = run.predict(variables, test.images)
        black = run.predict(variables, np.zeros_like(test.images[:1]))[0]
    if jax.process_index():  # what follows is the first one's
        processes.wait("written")
        return {}
    checkpoint.save(folder, model, variables, classes=dataset.classes, image_size=config.image_size)
    seen.save(folder, splits["train"], splits["validation"])
    metrics = _classify(logits, test, dataset.classes)
    metrics["warnings"] += division.warnings

    rows = study.drawn(len(test.labels), settings.explain or 0, settings.seed)
    shown, logits = take(test, rows), logits[rows]
    fresh = run.init(jax.random.key(config.seed + 1))
    explained, measured = _measure(
        model, variables, fresh, shown, logits, black, config=config, timings=timings
    )
    metrics |= {
        **measured,
        "history": trained.history,
        "kept_epoch": loop.kept_epoch(trained.history),
        "settings": plain(settings),
        "network": checkpoint.model_fields(model),
        "data": _describe(dataset, splits, told),
        "timings": timings,
        "resumed": trained.resumed,  # epochs that an earlier process trained
        "throughput": _throughput(explained, trained, len(splits["train"].labels), timings),
        **provenance.describe(),
    }
    if not _epochs(trained):
        metrics = outputs.measured_again(folder, metrics)
    probabilities = np.asarray(jax.nn.softmax(logits)).max(-1)
    outputs.write(
        folder, metrics, explained, shown, splits["train"], dataset.classes, probabilities
    )
    processes.wait("written")
    return metrics


def network(settings: Settings, classes: int) -> CNN:
    """The network of resolved settings, without parameters."""
    dtype = jnp.bfloat16 if settings.bfloat16 else jnp.float32
    return loop.make_model(resolve(settings)[1], classes, dtype=dtype)


def _classify(logits: np.ndarray, test: Examples, classes: tuple[str, ...]) -> dict[str, Any]:
    """What is measured of the predictions; `metrics.json` begins with the accuracy."""
    found = evaluation.measure(logits, test, classes)
    return {name: value for name, value in found.items() if name not in ("roc", "reliability")}


def _measure(
    model: CNN,
    variables: Params,
    fresh: Params,
    shown: Examples,
    logits: np.ndarray,
    black: np.ndarray,
    *,
    config: TrainConfig,
    timings: dict[str, float],
) -> tuple[Explained, dict[str, Any]]:
    """Maps of the shown images' predicted classes, and what is measured on them.

    Args:
        fresh: variables that have learned nothing.
        logits: of the shown images. black: the logits of a black image.
    """
    targets, key = logits.argmax(-1).astype(np.int32), jax.random.key(config.seed)
    mesh = jax.sharding.Mesh(np.asarray(processes.local_devices(config.devices)), ("devices",))
    with _timed(timings, "explain"), full_precision(), counted():
        explained = _explain(model, variables, shown, targets, key=key, mesh=mesh)
    with _timed(timings, "measure"), full_precision(), counted():
        return explained, {
            "relevance": explaining.relevance(explained, shown, targets == shown.labels),
            "completeness": explaining.completeness(
                explained.maps["integrated gradients"],
                explained.points["integrated gradients"],
                targets,
                logits,
                black,
            ),
            "sanity": explaining.randomisation(
                model.apply, variables, fresh, shown, targets, key=key, mesh=mesh
            ),
        }


def _explain(
    model: CNN,
    variables: Params,
    shown: Examples,
    targets: np.ndarray,
    *,
    key: jax.Array,
    mesh: jax.sharding.Mesh,
) -> Explained:
    with tqdm.tqdm(total=len(explaining.METHODS), desc="explain", unit="method") as bar:
        return explaining.explain(
            model.apply,
            variables,
            shown.images,
            targets,
            key=key,
            mesh=mesh,
            on_method=lambda name: bar.update() and None,
        )


def _throughput(
    explained: Explained, trained: loop.Trained, count: int, timings: dict[str, float]
) -> dict[str, float]:
    """Images a second; that of training includes its compilation, those of the maps do not."""
    rates = {"training": _epochs(trained) * count / timings["train"]}
    shown = len(explained.targets)
    return rates | {name: shown / seconds for name, seconds in explained.seconds.items()}


def _epochs(trained: loop.Trained) -> int:
    """How many this process trained."""
    return len(trained.history["train_loss"]) - trained.resumed


def _describe(
    dataset: Dataset, splits: dict[str, Examples], told: understood.Record
) -> dict[str, Any]:
    tested = checkpoint.examples_fingerprint(splits["test"])
    return {**told, "tested": tested, "skipped": list(dataset.skipped)}


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[name] = round(time.perf_counter() - start, 3)


if __name__ == "__main__":
    given = tyro.cli(Settings, prog="python -m experiments.brain_tumor", description=__doc__)
    try:
        if found := main(given):
            print(outputs.summary(found, given.out))
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
