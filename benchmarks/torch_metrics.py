"""The PyTorch side of the benchmark of metrics: deletion and insertion as anyone would write them.

The pixels are sorted once; then a loop over steps replaces the next ones of the whole batch and
runs the network without gradients.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import problems, torch_worker
from benchmarks.torch_worker import DEVICE
from benchmarks.worker import Prepared, serve

SIGMA = 5  # of the blurred baseline, in pixels: jaxsal's default


def _black(images: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(images)


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """A Gaussian along either side, its weights normalised over what lies inside the image."""
    for axis in (2, 3):
        position = torch.arange(images.shape[axis], dtype=torch.float32)
        weights = torch.exp(-(((position[:, None] - position) / SIGMA) ** 2) / 2)
        weights = (weights / weights.sum(1, keepdim=True)).to(images.device)
        images = torch.tensordot(images, weights, dims=([axis], [1])).movedim(-1, axis)
    return images


BASELINES = {"black": _black, "blur": _blurred}


@torch.inference_mode()
def curve_area(
    network: Any,
    first: torch.Tensor,
    rest: torch.Tensor,
    maps: torch.Tensor,
    targets: torch.Tensor,
    *,
    steps: int,
) -> torch.Tensor:
    """The area under the score [B] as `first`'s pixels replace `rest`'s, in order of relevance."""
    order = maps.abs().sum(1).flatten(1).argsort(1, descending=True)
    taken = first.flatten(2).gather(2, order[:, None])
    total = order.shape[1]
    current, scores = rest.flatten(2).clone(), []
    for step in range(steps + 1):
        if step:
            span = slice((step - 1) * total // steps, step * total // steps)
            current.scatter_(2, order[:, None, span], taken[:, :, span])
        scores.append(network(current.view_as(rest)).gather(1, targets[:, None])[:, 0])
    curve = torch.stack(scores)
    return (curve.sum(0) - (curve[0] + curve[-1]) / 2) / steps


def by_hand(
    loaded: problems.Loaded,
    name: str,
    options: dict[str, Any],
    *,
    layout: Any = torch.contiguous_format,
    compiled: bool = False,
    chunk: int | None = None,
) -> Callable[[], torch.Tensor]:
    """The loop for the whole batch, or for `chunk` images at a time; a memory layout."""
    inputs = torch_worker.inputs_of(loaded, layout)
    maps = torch.from_numpy(problems.maps(loaded)).permute(0, 3, 1, 2).to(DEVICE)
    network = torch_worker.compiled_once(inputs.network) if compiled else inputs.network
    baseline = BASELINES[options["baseline"]]

    def call() -> torch.Tensor:
        areas = []
        for images, map, targets in zip(
            *(column.split(chunk or len(maps)) for column in (inputs.images, maps, inputs.targets)),
            strict=True,
        ):
            empty = baseline(images)
            parts = (empty, images) if name == "deletion" else (images, empty)
            areas.append(curve_area(network, *parts, map, targets, steps=options["steps"]))
        return torch.cat(areas)

    return call


CONTENDERS: dict[str, Callable[..., Callable[[], torch.Tensor]]] = {
    "torch": by_hand,
    "torch channels_last": functools.partial(by_hand, layout=torch.channels_last),
    "torch, 32 at a time": functools.partial(by_hand, chunk=32),
    "torch channels_last, 32 at a time": functools.partial(
        by_hand, layout=torch.channels_last, chunk=32
    ),
    "torch compiled channels_last, 32 at a time": functools.partial(
        by_hand, layout=torch.channels_last, compiled=True, chunk=32
    ),
}


def prepare(
    contender: str, problem: str, batch: int, method: str, options: dict[str, Any], precision: str
) -> Prepared:
    """A contender of `CONTENDERS` at a problem's folder, ready to run."""
    torch_worker.set_precision(precision)
    call = CONTENDERS[contender](problems.load(problem, batch), method, options)

    def run() -> torch.Tensor:
        result = call()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return result

    return Prepared(run, lambda area: {"value": area.float().cpu().numpy().reshape(-1, 1)})


if __name__ == "__main__":
    serve(prepare, about=torch_worker.about, peak=torch_worker.peak)
