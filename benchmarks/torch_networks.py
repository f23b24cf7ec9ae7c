"""The problems' networks in PyTorch, with Flax's weights: modules as anyone would write them."""

import itertools
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.problems import Problem

Weights = dict[str, np.ndarray]


def build(problem: Problem, weights: Weights) -> nn.Module:
    """The problem's network in inference mode; images are [B, C, H, W]."""
    fields = dict(problem.network)
    network = KINDS[fields.pop("kind")](problem, **fields)
    network.load(weights)
    return network.eval()


def _conv(layer: nn.Conv2d, weights: Weights, name: str) -> None:
    _fill(layer.weight, weights[f"params/{name}/kernel"].transpose(3, 2, 0, 1))
    if layer.bias is not None:
        _fill(layer.bias, weights[f"params/{name}/bias"])


def _norm(layer: nn.BatchNorm2d, weights: Weights, name: str) -> None:
    _fill(layer.weight, weights[f"params/{name}/scale"])
    _fill(layer.bias, weights[f"params/{name}/bias"])
    _fill(layer.running_mean, weights[f"batch_stats/{name}/mean"])
    _fill(layer.running_var, weights[f"batch_stats/{name}/var"])


def _dense(layer: nn.Linear, weights: Weights) -> None:
    _fill(layer.weight, weights["params/Dense_0/kernel"].T)
    _fill(layer.bias, weights["params/Dense_0/bias"])


def _fill(parameter: Any, value: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


class CNN(nn.Module):
    """Convolution 3x3, batch norm if asked for, ReLU, max-pool 2x2; mean; dense."""

    def __init__(self, problem: Problem, widths: tuple[int, ...], norm: bool) -> None:
        super().__init__()
        channels = (problem.image[-1], *widths)
        pairs = list(itertools.pairwise(channels))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=not norm) for a, b in pairs)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(b, momentum=0.1) if norm else nn.Identity() for _, b in pairs
        )
        self.relus = nn.ModuleList(nn.ReLU() for _ in pairs)
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in pairs)  # captum's DeepLIFT: one a use
        self.mean, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(widths[-1], problem.classes)

    @property
    def last(self) -> nn.Module:
        """What Grad-CAM looks at: the last ReLU."""
        return self.relus[-1]

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The activations of `last`."""
        for index, (conv, norm, relu) in enumerate(
            zip(self.convs, self.norms, self.relus, strict=True)
        ):
            x = relu(norm(conv(self.pools[index - 1](x) if index else x)))
        return x

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits from the activations of `last`."""
        return self.head(self.mean(self.pools[-1](features)).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(x))

    def load(self, weights: Weights) -> None:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            _conv(conv, weights, f"Conv_{i}")  # type: ignore[arg-type]
            if isinstance(norm, nn.BatchNorm2d):
                _norm(norm, weights, f"BatchNorm_{i}")
        _dense(self.head, weights)


class Bottleneck(nn.Module):
    """A residual block; ReLUs are separate modules, as captum's hooks ask."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        shapes = [(channels, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
        if channels != out or stride > 1:
            shapes.append((channels, out, 1, stride))
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, k, s, padding=k // 2, bias=False) for a, b, k, s in shapes
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _, _ in shapes)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = [lambda v, c=c, n=n: n(c(v)) for c, n in zip(self.convs, self.norms, strict=True)]
        y = step[2](self.relus[1](step[1](self.relus[0](step[0](x)))))
        return self.relus[2](y + (step[3](x) if len(step) > 3 else x))

    def load(self, weights: Weights, name: str) -> None:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            _conv(conv, weights, f"{name}/Conv_{i}")  # type: ignore[arg-type]
            _norm(norm, weights, f"{name}/BatchNorm_{i}")  # type: ignore[arg-type]


class ResNet(nn.Module):
    """Bottleneck blocks after a 7x7 convolution and a 3x3 pool; ResNet-50 with (3, 4, 6, 3)."""

    def __init__(self, problem: Problem, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(problem.image[-1], width, 7, 2, padding=3, bias=False)
        self.norm, self.relu = nn.BatchNorm2d(width), nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        channels, made = width, []
        for stage, count in enumerate(blocks):
            for index in range(count):
                stride = 2 if stage and not index else 1
                made.append(Bottleneck(channels, width << stage, stride))
                channels = 4 * (width << stage)
        self.blocks = nn.ModuleList(made)
        self.head = nn.Linear(channels, problem.classes)

    @property
    def last(self) -> nn.Module:
        """What Grad-CAM looks at: the last ReLU."""
        return self.blocks[-1].relus[2]  # type: ignore[union-attr,index,return-value]

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The activations of `last`."""
        x = self.pool(self.relu(self.norm(self.conv(x))))
        for block in self.blocks:
            x = block(x)
        return x

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits from the activations of `last`."""
        return self.head(features.mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(x))

    def load(self, weights: Weights) -> None:
        _conv(self.conv, weights, "Conv_0")
        _norm(self.norm, weights, "BatchNorm_0")
        for i, block in enumerate(self.blocks):
            block.load(weights, f"Bottleneck_{i}")  # type: ignore[operator]
        _dense(self.head, weights)


KINDS: dict[str, Any] = {"cnn": CNN, "resnet": ResNet}
