"""Does a brain-tumour classifier look at the tumour? Train, evaluate, explain, measure, report.

    python -m experiments.brain_tumor
    python -m experiments.brain_tumor --data figshare --data-dir DIR --image-size 128

The first generates its images (phantoms) and takes under five minutes on two CPU cores; expect a
test accuracy above 0.95. The second reads Cheng's 3064 real slices (figshare 1512427, CC BY 4.0),
split by patient. Writes metrics.json, report.html, figures/, checkpoints/ and maps/ under --out;
the same command after a kill goes on where it stopped. After Keles et al., IMVIP 2023.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tqdm
import tyro

from experiments import explaining, figures, machine, training
from experiments.report import write_report
from experiments.sources import SOURCES
from jaxsal import parallel, train
from jaxsal.data import pipeline
from jaxsal.data.examples import Dataset, Examples
from jaxsal.metrics import bootstrap, classification
from jaxsal.models import CNN


@dataclass(frozen=True)
class Settings:
    """Settings of the study. What is None depends on the data; see experiments/sources.py."""

    data: Literal["phantom", "figshare", "folder"] = "phantom"
    """Generated phantoms, Cheng's figshare set, or any folder of <class>/*.png|jpg."""
    data_dir: Path | None = None
    """Where the images lie (figshare: the folder layout or the original files; none = download)."""
    out: Path = Path("runs/brain_tumor")
    """Where everything is written."""
    image_size: int | None = None
    """Side of the images in pixels."""
    epochs: int | None = None
    """Passes over the training images."""
    batch_size: int = 64
    """Images a step, over all devices."""
    learning_rate: float = 4e-3
    """Peak of the one-cycle schedule."""
    test_fold: int = 5
    """The fold that is tested on, and on nothing else looked at."""
    validation_fold: int | None = None
    """The fold that is validated on after each epoch; 0 = none."""
    patience: int = 0
    """Stop after so many epochs without a lower validation loss; 0 = never."""
    widths: tuple[int, ...] | None = None
    """Channels of the network's stages."""
    dropout: float = 0.5
    """Rate before the dense layer."""
    bfloat16: bool = False
    """Compute in bfloat16; parameters stay float32."""
    count: int = 3600
    """How many phantoms are generated."""
    explain: int | None = None
    """How many test images are explained, at most; 0 = all."""
    parallel: Literal["jit", "pmap"] = "jit"
    """How a batch is spread over the devices; the numbers are the same."""
    devices: int | None = None
    """How many local devices to use; none = all."""
    seed: int = 0
    """Of phantoms, initial parameters, batches, augmentation and noise."""
    strict: bool = False
    """Stop at a broken file, instead of leaving it out and saying so."""


def main(settings: Settings) -> dict[str, Any]:
    """Runs the study; returns what metrics.json holds."""
    _check(settings)
    folder = _writable(settings.out)
    timings: dict[str, float] = {}
    dataset, splits = _load(settings, timings)
    trained, model = _train(settings, dataset, splits, folder, timings)
    variables, test = trained.fitted.variables, splits["test"]
    with _timed(timings, "evaluate"):
        logits = trained.predict(variables, test.images)
        black = trained.predict(variables, np.zeros_like(test.images[:1]))[0]
    metrics = _classify(logits, test, dataset.classes)

    chosen = _chosen(settings, len(test.labels))
    shown, logits = pipeline.take(test, chosen), logits[chosen]
    targets = logits.argmax(-1).astype(np.int32)
    key = jax.random.key(settings.seed)
    explained = _explain(settings, model, variables, shown, targets, key, timings)
    with _timed(timings, "measure"):
        fresh = trained.init(jax.random.key(settings.seed + 1))
        metrics |= {
            "relevance": explaining.relevance(explained, shown, targets == shown.labels),
            "completeness": explaining.completeness(
                explained.maps["integrated gradients"], targets, logits, black
            ),
            "sanity": explaining.randomisation(
                model.apply, variables, fresh, shown.images, targets, key
            ),
        }
    metrics |= {
        "history": trained.fitted.history,
        "settings": _plain(asdict(settings) | _resolved(settings)),
        "data": _data(dataset, splits),
        "timings": timings,
        "throughput": _throughput(explained, trained, splits, timings),
        **machine.describe(),
    }
    _write(folder, metrics, explained, shown, splits["train"], dataset.classes)
    return metrics


def _resolved(settings: Settings) -> dict[str, Any]:
    """The settings that depend on the source, with what is used."""
    source = SOURCES[settings.data]
    names = ("image_size", "epochs", "widths", "validation_fold", "explain")
    given = {name: getattr(settings, name) for name in names}
    return {name: getattr(source, name) if v is None else v or None for name, v in given.items()}


def _check(settings: Settings) -> None:
    for name in ("batch_size", "test_fold", "count"):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(settings, name)}")
    resolved = _resolved(settings)
    for name, least in (("image_size", 16), ("epochs", 1)):
        if resolved[name] is None or resolved[name] < least:
            raise ValueError(f"{name}: expected at least {least}, got {getattr(settings, name)}")
    if resolved["image_size"] < 2 ** len(resolved["widths"] or ()):
        raise ValueError(
            f"widths: {resolved['widths']} pool an image of {resolved['image_size']} away"
        )
    parallel.local_devices(settings.devices)


def _writable(out: Path) -> Path:
    """Makes the folder, and tries it before hours are spent on what would fill it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as error:
        raise ValueError(f"out: {out} cannot be written to ({error.strerror})") from error


def _load(settings: Settings, timings: dict[str, float]) -> tuple[Dataset, dict[str, Examples]]:
    resolved = _resolved(settings)
    with _timed(timings, "load"):
        dataset = SOURCES[settings.data].load(
            settings.data_dir,
            count=settings.count,
            image_size=resolved["image_size"],
            seed=settings.seed,
            strict=settings.strict,
        )
        parts = pipeline.split(
            dataset,
            test_fold=settings.test_fold,
            validation_fold=resolved["validation_fold"],
            seed=settings.seed,
        )
    splits = dict(zip(("train", "validation", "test"), parts, strict=True))
    sizes = ", ".join(f"{len(part.labels)} {name}" for name, part in splits.items())
    print(f"{dataset.source}\n{sizes}; classes {', '.join(dataset.classes)}")
    for line in (*dataset.notes, *(f"skipped: {line}" for line in dataset.skipped[:5])):
        print(f"  {line}")
    if len(dataset.skipped) > 5:
        print(f"  {len(dataset.skipped)} files skipped in all")
    return dataset, splits


def _train(
    settings: Settings,
    dataset: Dataset,
    splits: dict[str, Examples],
    folder: Path,
    timings: dict[str, float],
) -> tuple[training.Trained, CNN]:
    resolved = _resolved(settings)
    model = CNN(
        classes=len(dataset.classes),
        widths=resolved["widths"],
        # A first convolution of stride two makes 128 pixels cost about what 64 do.
        stride=2 if resolved["image_size"] >= 128 else 1,
        dropout=settings.dropout,
        dtype=jax.numpy.bfloat16 if settings.bfloat16 else jax.numpy.float32,
    )
    recipe = train.Recipe(
        epochs=resolved["epochs"],
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
    )
    steps = recipe.epochs * -(-len(splits["train"].labels) // recipe.batch_size)
    with _timed(timings, "train"), _Progress(steps, recipe) as progress:
        trained = training.run(
            model,
            splits["train"],
            splits["validation"],
            recipe=recipe,
            augmentation=training.Augmentation(),
            seed=settings.seed,
            mode=settings.parallel,
            devices=settings.devices,
            checkpoints=folder / "checkpoints",
            identity=_identity(settings, splits),
            on_step=progress,
        )
    return trained, model


def _identity(settings: Settings, splits: dict[str, Examples]) -> dict[str, Any]:
    """What decides the trained parameters: a checkpoint of anything else is refused."""
    apart = ("data_dir", "out", "explain", "parallel", "devices", "strict", "count")
    kept = asdict(settings) | _resolved(settings)
    content = hashlib.sha256()
    for part in (splits["train"], splits["validation"]):
        for column in (part.images, part.labels):
            content.update(np.ascontiguousarray(column))
    settled = _plain({name: value for name, value in kept.items() if name not in apart})
    return settled | {"training images": content.hexdigest()[:16]}


class _Progress:
    """A bar with loss, accuracy and images a second; reads the device twice a second at most."""

    def __init__(self, steps: int, recipe: train.Recipe):
        self.bar = tqdm.tqdm(total=steps * recipe.batch_size, unit="image", desc="train")
        self.steps, self.recipe = steps, recipe
        self.read = 0.0
        self.epoch = None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def __call__(self, epoch: int, metrics: Any) -> None:
        if self.epoch is None and epoch:  # resumed: the epochs before are done
            self.bar.initial = self.bar.n = epoch * self.bar.total // self.recipe.epochs
        self.epoch = epoch
        self.bar.update(self.recipe.batch_size)
        if time.monotonic() - self.read > 0.5:
            shown = {name: f"{float(metrics[name]):.3f}" for name in ("loss", "accuracy")}
            self.bar.set_postfix(epoch=f"{epoch + 1}/{self.recipe.epochs}", **shown)
            self.read = time.monotonic()


def _classify(logits: np.ndarray, test: Examples, classes: tuple[str, ...]) -> dict[str, Any]:
    report = classification.classification_report(logits, test.labels, classes)
    hits = (logits.argmax(-1) == test.labels).astype(float)
    known = test.patients if all(test.patients) else None
    _, low, high = bootstrap.mean_interval(hits, known)
    # metrics.json begins with the accuracy.
    return {"accuracy": report.pop("accuracy"), "accuracy_interval": [low, high], **report}


def _chosen(settings: Settings, count: int) -> np.ndarray:
    most = _resolved(settings)["explain"] or count
    return np.sort(np.random.default_rng(settings.seed).permutation(count)[:most]).astype(np.int32)


def _explain(
    settings: Settings,
    model: CNN,
    variables: Any,
    shown: Examples,
    targets: np.ndarray,
    key: jax.Array,
    timings: dict[str, float],
) -> explaining.Explained:
    devices = parallel.local_devices(settings.devices)
    mesh = jax.sharding.Mesh(np.asarray(devices), ("devices",)) if settings.devices else None
    bar = tqdm.tqdm(explaining.METHODS, desc="explain", unit="method")
    steps = iter(bar)
    with _timed(timings, "explain"):
        explained = explaining.explain(
            model.apply,
            variables,
            shown.images,
            targets,
            key=key,
            mesh=mesh,
            on_method=lambda name: bar.set_postfix_str(next(steps)),
        )
    next(steps, None)
    return explained


def _throughput(
    explained: explaining.Explained,
    trained: training.Trained,
    splits: dict[str, Examples],
    timings: dict[str, float],
) -> dict[str, float]:
    """Images a second; training's includes its compilation, that of the maps does not."""
    epochs = len(trained.fitted.history["train_loss"]) - trained.fitted.resumed
    rates = {"training": epochs * len(splits["train"].labels) / timings["train"]}
    count = len(explained.targets)
    return rates | {name: count / seconds for name, seconds in explained.seconds.items()}


def _data(dataset: Dataset, splits: dict[str, Examples]) -> dict[str, Any]:
    counts = {
        name: dict(
            zip(
                dataset.classes,
                np.bincount(part.labels, minlength=len(dataset.classes)).tolist(),
                strict=True,
            )
        )
        for name, part in splits.items()
    }
    return {
        "source": dataset.source,
        "counts": counts,
        "skipped": list(dataset.skipped),
        "notes": list(dataset.notes),
    }


def _write(
    folder: Path,
    metrics: dict[str, Any],
    explained: explaining.Explained,
    shown: Examples,
    training_set: Examples,
    classes: tuple[str, ...],
) -> None:
    """Maps and figures first, the report next, metrics.json last: where it is, all is."""
    for name in ("maps", "figures"):
        (folder / name).mkdir(exist_ok=True)
    for name, values in explained.maps.items():
        np.save(folder / "maps" / f"{name.replace(' ', '_')}.npy", values)
    facts = {"names": shown.names, "labels": shown.labels, "targets": explained.targets}
    np.savez(folder / "maps" / "index.npz", **facts)
    drawn = figures.draw(metrics, explained, shown, training_set, classes)
    for title, _, png in drawn:
        (folder / "figures" / f"{title.lower().replace(' ', '_')}.png").write_bytes(png)
    write_report(folder / "report.html", metrics, drawn)
    partial = folder / ".metrics.json"
    partial.write_text(json.dumps(_finite(metrics), indent=1, allow_nan=False) + "\n")
    os.replace(partial, folder / "metrics.json")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def _finite(tree: Any) -> Any:
    """JSON has no NaN: what is not defined becomes null."""
    if isinstance(tree, dict):
        return {str(name): _finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    value = tree.item() if isinstance(tree, np.generic) else tree
    return None if isinstance(value, float) and not np.isfinite(value) else value


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[name] = round(time.perf_counter() - start, 3)


def _summary(metrics: dict[str, Any], out: Path) -> str:
    low, high = metrics["accuracy_interval"]
    lines = [f"test accuracy {metrics['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f})"]
    for name, method in metrics["relevance"]["methods"].items():
        densities = "  ".join(
            f"{region} {method[region]['density'][0]:.2f}"
            for region in ("tumour", "surround", "rest of head")
        )
        lines.append(f"  relevance density, {name:<21} {densities}")
    within = metrics["completeness"]["within_1_percent"]
    lines.append(f"integrated gradients complete to 1 % on {within:.1%} of the images")
    lines.append(f"report: {out / 'report.html'}")
    return "\n".join(lines)


if __name__ == "__main__":
    chosen_settings = tyro.cli(Settings, description=__doc__)
    try:
        print(_summary(main(chosen_settings), chosen_settings.out))
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
