"""What torchvision's own residual network says of an image, of small stages and drawn weights.

`python -m tests.training.torchvision_logits` prints it, and needs torch and torchvision; NumPy
draws the weights, so that there are the same ones without.
"""

import numpy as np

BLOCKS, WIDTH, CLASSES = (1, 2), 4, 3

LOGITS = (85.08491516113281, 18.99927520751953, -83.46224975585938)
"""By torch 2.14.1 and torchvision 0.29.1."""


def shapes() -> dict[str, tuple[int, ...]]:
    """The arrays of the network by their names in PyTorch."""
    found: dict[str, tuple[int, ...]] = {}

    def conv(name: str, norm: str, out: int, channels: int, side: int) -> None:
        found[f"{name}.weight"] = (out, channels, side, side)
        found.update({f"{norm}.{kind}": (out,) for kind in NORM})

    conv("conv1", "bn1", WIDTH, 3, 7)
    channels = WIDTH
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            own, width = f"layer{stage + 1}.{block}.", WIDTH << stage
            conv(f"{own}conv1", f"{own}bn1", width, channels, 1)
            conv(f"{own}conv2", f"{own}bn2", width, width, 3)
            conv(f"{own}conv3", f"{own}bn3", 4 * width, width, 1)
            if not block:
                conv(f"{own}downsample.0", f"{own}downsample.1", 4 * width, channels, 1)
            channels = 4 * width
    return found | {"fc.weight": (CLASSES, channels), "fc.bias": (CLASSES,)}


NORM = ("weight", "bias", "running_mean", "running_var")


def weights() -> dict[str, np.ndarray]:
    """Arrays of a network that is far from a fresh one: its statistics are none of 0 and 1."""
    random, found = np.random.default_rng(0), {}
    for name, shape in shapes().items():
        low = 0.3 if name.endswith("running_var") else -1
        found[name] = random.uniform(low, 1, shape).astype(np.float32)
    return found


def image() -> np.ndarray:
    """[1, 33, 38, 3] in [0, 1]: of sides that no stride divides."""
    return np.random.default_rng(1).random((1, 33, 38, 3), np.float32)


def main() -> None:
    """Prints the logits of `weights` and `image`."""
    import torch
    from torchvision.models.resnet import Bottleneck, ResNet

    net = ResNet(Bottleneck, [1, 1, 1, 1])
    net.inplanes = WIDTH
    net.conv1 = torch.nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False)
    net.bn1 = torch.nn.BatchNorm2d(WIDTH)
    net.layer1 = net._make_layer(Bottleneck, WIDTH, BLOCKS[0])
    net.layer2 = net._make_layer(Bottleneck, 2 * WIDTH, BLOCKS[1], stride=2)
    net.layer3 = net.layer4 = torch.nn.Identity()
    net.fc = torch.nn.Linear(8 * WIDTH, CLASSES)
    lacking = net.load_state_dict({n: torch.tensor(a) for n, a in weights().items()}, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in lacking.missing_keys)
    with torch.no_grad():
        print(net.eval()(torch.tensor(image().transpose(0, 3, 1, 2))).tolist())


if __name__ == "__main__":
    main()
