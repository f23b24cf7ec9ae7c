"""Progress bars with images a second and the time left, on the standard error."""

import sys
import time

import tqdm

from jaxsal.training.config import TrainConfig
from jaxsal.training.step import Metrics


class Explaining:
    """A bar of examples on the disk, that goes on where a resumed run does."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.bar: tqdm.tqdm | None = None

    def __enter__(self) -> "Explaining":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, finished: int, total: int | None) -> None:
        if self.silent:
            return
        if self.bar is None:
            self.bar = tqdm.tqdm(initial=finished, total=total, unit="image", desc="explain")
        self.bar.update(finished - self.bar.n)


class Training:
    """A bar with loss, accuracy and images a second; reads the device twice a second at most.

    Args:
        steps: of an epoch.
    """

    def __init__(self, steps: int, config: TrainConfig, *, silent: bool = False) -> None:
        self.epoch_images, self.config = steps * config.batch_size, config
        total = config.epochs * self.epoch_images
        self.bar = tqdm.tqdm(total=total, unit="image", desc="train", disable=silent)
        self.read, self.started = 0.0, False

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def __call__(self, epoch: int, metrics: Metrics) -> None:
        if self.bar.disable:
            return
        if not self.started:  # a resumed run: the epochs before are done
            self.bar.initial = self.bar.n = epoch * self.epoch_images
            self.started = True
            if epoch:
                self.bar.write(f"goes on after epoch {epoch} of {self.config.epochs}", sys.stderr)
        self.bar.update(self.config.batch_size)
        if time.monotonic() - self.read > 0.5:
            shown = {name: f"{float(metrics[name]):.3f}" for name in ("loss", "accuracy")}
            self.bar.set_postfix(epoch=f"{epoch + 1}/{self.config.epochs}", **shown)
            self.read = time.monotonic()
