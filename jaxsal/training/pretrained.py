"""The weights of a public ResNet, in PyTorch's, Flax's or jaxsal's layout, to go on from."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxsal.models import ResNet
from jaxsal.training.parameter_files import flatten, nest, read_params
from jaxsal.types import Params

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue: what the networks that were trained on it take off."""
HEAD = "Dense_0"

Arrays = Mapping[str, np.ndarray]


class Pretrained(NamedTuple):
    """A residual network without its last layer.

    Attributes:
        blocks, width: as of `ResNet`. channels: of its images.
        arrays: by their names in `ResNet`'s variables, joined with slashes.
        digest: of the file, or of an Orbax folder's weights.
    """

    blocks: tuple[int, ...]
    width: int
    channels: int
    arrays: dict[str, np.ndarray]
    digest: str

    def model(self, classes: int, mean: tuple[float, ...], std: tuple[float, ...]) -> ResNet:
        """The network, for other classes; without means those of ImageNet where it sees colour."""
        if not mean and self.channels == 3:
            mean, std = MEAN, STD
        return ResNet(classes, self.blocks, self.width, mean=mean, std=std)

    def fill(self, variables: Params) -> Params:
        """Fresh variables with these weights in the place of all but the last layer's.

        Raises:
            ValueError: one is missing, or of another shape.
        """
        fresh = flatten(jax.device_get(variables))
        for name, array in fresh.items():
            if HEAD in name.split("/"):
                continue
            found = self.arrays.get(name)
            if found is None or found.shape != array.shape:
                got = "none" if found is None else str(found.shape)
                raise ValueError(f"init: expected {name} of shape {array.shape}, got {got}")
            fresh[name] = np.asarray(found, array.dtype)
        return nest(fresh)


def load(path: Path) -> Pretrained:
    """Reads .npz, .msgpack, .safetensors or an Orbax folder.

    Raises:
        ValueError: it cannot be read, or is of no residual network of bottleneck blocks.
    """
    tree = read_params(path, name="init")
    named = flatten(tree if isinstance(tree, dict) else {"one array": tree})
    arrays = {name.replace("/", "."): np.asarray(array) for name, array in named.items()}
    if "conv1.weight" in arrays:
        found = _torch(arrays)
    elif any("conv_init" in name for name in arrays):
        found = _flax(arrays)
    elif "params.Conv_0.kernel" in arrays:
        found = {name.replace(".", "/"): array for name, array in arrays.items()}
    else:
        raise ValueError(
            f"init: {path.name} holds {sorted(arrays)[:3]}, expected a ResNet of bottleneck blocks "
            "in PyTorch's layout (conv1.weight, layer1.0.conv1.weight, ...) or Flax's (conv_init)"
        )
    stem = found["params/Conv_0/kernel"]
    blocks = _blocks(found)
    return Pretrained(blocks, stem.shape[-1], stem.shape[-2], found, _digest(path, found))


def _digest(path: Path, found: Arrays) -> str:
    """Of a file's bytes; of a folder, whose files say when they were written, of what is used."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    known = hashlib.sha256()
    for name, array in sorted(found.items()):
        if name.split("/")[1].startswith(LAYERS):  # beside them: an optimizer's state, a last layer
            known.update(f"{name} {array.shape} {array.dtype}".encode())
            known.update(np.ascontiguousarray(array).tobytes())
    return known.hexdigest()[:16]


LAYERS = ("Conv_", "BatchNorm_", "Bottleneck_")
"""How the names of `ResNet`'s layers begin, its last one's apart."""


def _torch(arrays: Arrays) -> dict[str, np.ndarray]:
    """From `layer2.0.bn1.running_mean` to `batch_stats/Bottleneck_3/BatchNorm_0/mean`."""
    firsts = [name.removesuffix(".conv1.weight") for name in arrays if name.startswith("layer")]
    blocks = {n: None for n in firsts if f"{n}.conv1.weight" in arrays}
    order = sorted(blocks, key=lambda name: [int(n) for n in name[len("layer") :].split(".")])
    places = {"conv1": "Conv_0", "bn1": "BatchNorm_0"}
    for number, block in enumerate(order):
        for k in range(3):
            places[f"{block}.conv{k + 1}"] = f"Bottleneck_{number}/Conv_{k}"
            places[f"{block}.bn{k + 1}"] = f"Bottleneck_{number}/BatchNorm_{k}"
        places[f"{block}.downsample.0"] = f"Bottleneck_{number}/Conv_3"
        places[f"{block}.downsample.1"] = f"Bottleneck_{number}/BatchNorm_3"
    found = {}
    for name, array in arrays.items():
        layer, _, kind = name.rpartition(".")
        if layer not in places:
            continue
        if array.ndim == 4:
            found[f"params/{places[layer]}/kernel"] = array.transpose(2, 3, 1, 0)
        elif kind in NORMS:
            collection, own = NORMS[kind]
            found[f"{collection}/{places[layer]}/{own}"] = array
    return found


NORMS = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
"""A batch norm's arrays in PyTorch, and where `ResNet` has them."""

FLAX = {"conv_init": "Conv_0", "bn_init": "BatchNorm_0", "conv_proj": "Conv_3"}
FLAX |= {"norm_proj": "BatchNorm_3"}


def _flax(arrays: Arrays) -> dict[str, np.ndarray]:
    """From `params.BottleneckResNetBlock_3.conv_proj.kernel` to `Bottleneck_3/Conv_3/kernel`."""
    found = {}
    for name, array in arrays.items():
        parts = [FLAX.get(part, part) for part in name.split(".")]
        if parts[0] not in ("params", "batch_stats"):
            parts.insert(0, "batch_stats" if parts[-1] in ("mean", "var") else "params")
        own = "/".join(parts).replace("BottleneckResNetBlock_", "Bottleneck_")
        found[own] = array
    return found


def _blocks(arrays: Arrays) -> tuple[int, ...]:
    """How many blocks each stage has: its first one alone has a fourth convolution.

    Raises:
        ValueError: there is no block.
    """
    starts, count = [], 0
    while f"params/Bottleneck_{count}/Conv_0/kernel" in arrays:
        if f"params/Bottleneck_{count}/Conv_3/kernel" in arrays:
            starts.append(count)
        count += 1
    if not starts:
        raise ValueError("init: expected bottleneck blocks (as ResNet-50 has), found none")
    return tuple(b - a for a, b in zip(starts, [*starts[1:], count], strict=True))
