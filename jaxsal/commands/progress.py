"""Progress bars with images a second and the time left, on the standard error."""

import time
from typing import Any

import tqdm

from jaxsal.training.step import Recipe


class Explaining:
    """A bar of examples on the disk, that goes on where a resumed run does."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.bar: Any = None

    def __enter__(self) -> "Explaining":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, progress: Any) -> None:
        if self.silent:
            return
        if self.bar is None:
            initial, total = progress.finished, progress.total
            self.bar = tqdm.tqdm(initial=initial, total=total, unit="image", desc="explain")
        self.bar.update(progress.finished - self.bar.n)


class Training:
    """A bar with loss, accuracy and images a second; reads the device twice a second at most."""

    def __init__(self, steps: int, recipe: Recipe, *, silent: bool = False) -> None:
        self.epoch_images, self.recipe = steps * recipe.batch_size, recipe
        total = recipe.epochs * self.epoch_images
        self.bar = tqdm.tqdm(total=total, unit="image", desc="train", disable=silent)
        self.read, self.started = 0.0, False

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def __call__(self, epoch: int, metrics: Any) -> None:
        if self.bar.disable:
            return
        if not self.started:  # a resumed run: the epochs before are done
            self.bar.initial = self.bar.n = epoch * self.epoch_images
            self.started = True
        self.bar.update(self.recipe.batch_size)
        if time.monotonic() - self.read > 0.5:
            shown = {name: f"{float(metrics[name]):.3f}" for name in ("loss", "accuracy")}
            self.bar.set_postfix(epoch=f"{epoch + 1}/{self.recipe.epochs}", **shown)
            self.read = time.monotonic()
