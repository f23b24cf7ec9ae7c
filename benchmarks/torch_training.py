"""The PyTorch side of the training benchmark: the same step, as anyone would write it."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import problems, torch_networks, torch_worker
from benchmarks.torch_worker import DEVICE
from benchmarks.worker import Prepared, serve

# As in benchmarks.jax_training: AdamW at a warm-up's first rate, clipping, a moving average.
RATE, DECAY, SMOOTHING, CLIP = 1e-3 / 25, 1e-2, 0.1, 1.0


class _Run:
    """A training run that goes on from call to call, on one batch that lies on the device."""

    def __init__(
        self,
        loaded: problems.Loaded,
        layout: Any = torch.contiguous_format,
        compiled: bool = False,
        dtype: Any = None,
    ) -> None:
        network = torch_networks.build(loaded.problem, loaded.weights).train().to(DEVICE)
        self._network = network.to(memory_format=layout)
        images = torch.from_numpy(loaded.images).permute(0, 3, 1, 2).to(DEVICE)
        self._images = images.contiguous(memory_format=layout)
        self._targets = torch.from_numpy(loaded.targets).long().to(DEVICE)
        self._parameters = list(self._network.parameters())
        flat = [p for p in self._parameters if p.ndim <= 1]
        deep = [p for p in self._parameters if p.ndim > 1]
        groups = [
            {"params": deep, "weight_decay": DECAY},
            {"params": flat, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=RATE)
        self._average = [p.detach().clone() for p in self._parameters]
        self._forward = torch_worker.compiled_once(self._loss) if compiled else self._loss
        self._dtype = dtype

    def _loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(DEVICE, self._dtype, enabled=self._dtype is not None):
            logits = self._network(images)
        return torch.nn.functional.cross_entropy(logits.float(), targets, label_smoothing=SMOOTHING)

    def __call__(self) -> torch.Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._forward(self._images, self._targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, CLIP)
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._average, self._parameters, 0.005)
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return loss.detach()

    def fetch(self, loss: torch.Tensor) -> dict[str, np.ndarray]:
        kernel = self._parameters[0].detach().float().cpu().permute(2, 3, 1, 0).numpy()
        return {"loss": loss.cpu().numpy().reshape(1, 1), "kernel": kernel.reshape(1, -1)}


CONTENDERS: dict[str, Callable[..., _Run]] = {
    "torch": _Run,
    "torch channels_last": functools.partial(_Run, layout=torch.channels_last),
    "torch compiled": functools.partial(_Run, layout=torch.channels_last, compiled=True),
    "torch bfloat16": functools.partial(
        _Run, layout=torch.channels_last, compiled=True, dtype=torch.bfloat16
    ),
}


def prepare(contender: str, problem: str, batch: int, precision: str, **_: Any) -> Prepared:
    """A contender of `CONTENDERS` at a problem's folder, ready to take steps."""
    torch_worker.set_precision(precision)
    run = CONTENDERS[contender](problems.load(problem, batch))
    return Prepared(run, run.fetch)


if __name__ == "__main__":
    serve(prepare, about=torch_worker.about, peak=torch_worker.peak)
