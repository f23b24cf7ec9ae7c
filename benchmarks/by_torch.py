"""Methods in PyTorch by hand, over a whole batch: as fast as one would reasonably write them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Network = Callable[[torch.Tensor], torch.Tensor]


def _slope(network: Network, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    images = images.detach().requires_grad_()
    total = network(images).gather(1, targets[:, None]).float().sum()
    return torch.autograd.grad(total, images)[0]


def gradient(network: Network, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return _slope(network, images, targets)


def input_x_gradient(network: Network, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return images * _slope(network, images, targets)


def integrated_gradients(
    network: Network, images: torch.Tensor, targets: torch.Tensor, *, steps: int
) -> torch.Tensor:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(images)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += float(weight) * _slope(network, float(node) * images, targets)
    return images * total


def smoothgrad(
    network: Network,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    samples: int,
    noise: float,
    relative: bool,
) -> torch.Tensor:
    total = torch.zeros_like(images)
    for _ in range(samples):
        total += _slope(network, images + noise * torch.randn_like(images), targets)
    return total / samples


def occlusion(
    network: Network, images: torch.Tensor, targets: torch.Tensor, *, window: int, stride: int
) -> torch.Tensor:
    with torch.no_grad():
        score = network(images).gather(1, targets[:, None])[:, 0]
        total, count = torch.zeros_like(images), torch.zeros_like(images)
        height, width = images.shape[2:]
        for top in range(0, height - window + stride, stride):
            for left in range(0, width - window + stride, stride):
                where = (..., slice(top, top + window), slice(left, left + window))
                hidden = images.clone()
                hidden[where] = 0
                loss = score - network(hidden).gather(1, targets[:, None])[:, 0]
                total[where] += loss[:, None, None, None]
                count[where] += 1
        return total / count


METHODS: dict[str, Any] = {
    each.__name__: each
    for each in (gradient, input_x_gradient, integrated_gradients, smoothgrad, occlusion)
}
