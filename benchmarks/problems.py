"""What is explained in the benchmarks: networks, weights and images, the same for every framework.

A problem lies in a folder: `problem.json`, `weights.npz` (named as in Flax) and `inputs.npz`.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Problem(NamedTuple):
    """A network and the shape of its images."""

    name: str
    network: dict[str, Any]
    """`{"kind": "cnn", "widths": ...}` or `{"kind": "resnet", "blocks": ..., "width": ...}`."""
    image: tuple[int, int, int]
    """Height, width, channels."""
    classes: int = 4


CNN = {"kind": "cnn", "widths": (32, 64, 128, 128), "norm": False}
# Like the study's, but for its smoothing, stride and fifth stage; and with a last pool.
STUDY = {"kind": "cnn", "widths": (32, 64, 128, 256), "norm": True}
VIT = {"kind": "vit", "patch": 16, "width": 192, "depth": 12, "heads": 3}
RESNET = {"kind": "resnet", "blocks": (3, 4, 6, 3), "width": 64}

ARRAYS = ("segments", "segments_49", "baselines")

PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("cnn-128", CNN, (128, 128, 1)),
        Problem("cnn-224", CNN, (224, 224, 3)),
        Problem("resnet50-224", RESNET, (224, 224, 3), classes=1000),
        Problem("vit-224", VIT, (224, 224, 3), classes=1000),
        Problem("study-64", STUDY, (64, 64, 1)),
        Problem("study-128", STUDY, (128, 128, 1)),
        Problem("study-224", STUDY, (224, 224, 3)),
        Problem("study-toy", {**STUDY, "widths": (4, 8)}, (16, 16, 1)),
        Problem("cnn-toy", {**CNN, "widths": (4, 8)}, (16, 16, 1)),
        Problem("vit-toy", {**VIT, "patch": 4, "width": 8, "depth": 1, "heads": 2}, (16, 16, 1)),
        Problem("resnet-toy", {**RESNET, "blocks": (1, 1), "width": 4}, (32, 32, 3), classes=5),
    )
}


class Loaded(NamedTuple):
    """A problem as it lies in its folder: arrays are NumPy.

    Attributes:
        weights: by Flax's names, joined by "/".
        images: [B, H, W, C] in [0, 1], black in places.
        targets: int [B].
        arrays: what some methods take: `segments` and `segments_49` [H, W], `baselines`
            [n, H, W, C].
    """

    problem: Problem
    weights: dict[str, np.ndarray]
    images: np.ndarray
    targets: np.ndarray
    arrays: dict[str, np.ndarray]


def save(problem: Problem, weights: dict[str, np.ndarray], batch: int, folder: Path) -> None:
    """Writes a problem with `batch` images, drawn from a fixed seed."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    height, width, _ = problem.image
    images = random.normal(size=(batch, *problem.image)).clip(0, 3) / 3  # half of it black
    (folder / "problem.json").write_text(json.dumps(problem._asdict()))
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
    np.savez(
        folder / "inputs.npz",
        images=images.astype(np.float32),
        targets=(np.arange(batch) % problem.classes).astype(np.int32),
        segments=_grid(height, width, 8),
        segments_49=_grid(height, width, 7),
        baselines=random.uniform(size=(4, *problem.image)).astype(np.float32),
    )


def _grid(height: int, width: int, count: int) -> np.ndarray:
    """Numbers of `count` x `count` rectangles, int32 [height, width]."""
    rows, columns = (np.arange(n) * count // n for n in (height, width))
    return (rows[:, None] * count + columns).astype(np.int32)


def load(folder: Path | str, batch: int) -> Loaded:
    """The problem of a folder, with its first `batch` images."""
    folder = Path(folder)
    fields = json.loads((folder / "problem.json").read_text())
    problem = Problem(**{**fields, "image": tuple(fields["image"])})
    with np.load(folder / "weights.npz") as weights, np.load(folder / "inputs.npz") as inputs:
        arrays = {name: inputs[name] for name in ARRAYS}
        images, targets = inputs["images"][:batch], inputs["targets"][:batch]
        return Loaded(problem, dict(weights), images, targets, arrays)


def maps(loaded: Loaded) -> np.ndarray:
    """A map of each image, [B, H, W, C], no two values alike: what metrics are measured on."""
    drawn = np.random.default_rng(2).normal(size=loaded.images.shape)
    return drawn.astype(np.float32)


def options(loaded: Loaded, given: dict[str, Any]) -> dict[str, Any]:
    """A method's options, with the arrays in place of names such as "@segments"."""
    return {
        name: loaded.arrays[value[1:]] if isinstance(value, str) and value[0] == "@" else value
        for name, value in given.items()
    }
