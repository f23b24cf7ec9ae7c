"""A progress bar of training, that goes on where a resumed run does."""

import time
from typing import Any

import tqdm

from jaxsal.train import Recipe


class Progress:
    """A bar with loss, accuracy and images a second; reads the device twice a second at most."""

    def __init__(self, steps: int, recipe: Recipe):
        self.epoch_images, self.recipe = steps * recipe.batch_size, recipe
        total = recipe.epochs * self.epoch_images
        self.bar = tqdm.tqdm(total=total, unit="image", desc="train")
        self.read, self.started = 0.0, False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def __call__(self, epoch: int, metrics: Any) -> None:
        if not self.started:  # a resumed run: the epochs before are done
            self.bar.initial = self.bar.n = epoch * self.epoch_images
            self.started = True
        self.bar.update(self.recipe.batch_size)
        if time.monotonic() - self.read > 0.5:
            shown = {name: f"{float(metrics[name]):.3f}" for name in ("loss", "accuracy")}
            self.bar.set_postfix(epoch=f"{epoch + 1}/{self.recipe.epochs}", **shown)
            self.read = time.monotonic()
