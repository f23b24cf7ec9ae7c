"""The PyTorch side: captum, and the same methods written by hand. torch, captum and NumPy only."""

import functools
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import by_torch, peers, problems, torch_networks
from benchmarks.worker import Absent, Prepared, peak_resident, serve

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cuda":
    torch.cuda.set_per_process_memory_fraction(0.45)  # as JAX's, of which two frameworks have room


def compiled_once(function: Any) -> Any:
    """`torch.compile` for one shape, as many functions as there are cases.

    By default the ninth of one source runs uncompiled with a warning alone, and the second shape
    gets slower kernels of any shape.
    """
    torch._dynamo.config.recompile_limit = 1000
    return torch.compile(function, dynamic=False)


class Inputs(NamedTuple):
    """A problem on the device: the network's parameters are frozen, images are [B, C, H, W]."""

    network: Any
    images: torch.Tensor
    targets: torch.Tensor
    arrays: dict[str, torch.Tensor]


def inputs_of(loaded: problems.Loaded, layout: Any = torch.contiguous_format) -> Inputs:
    """The problem on the device, images in a memory layout."""
    network = torch_networks.build(loaded.problem, loaded.weights).requires_grad_(False)
    images = torch.from_numpy(loaded.images).permute(0, 3, 1, 2).to(DEVICE)
    arrays = {
        **{
            name: torch.from_numpy(loaded.arrays[name]).long().to(DEVICE)
            for name in ("segments", "segments_49")
        },
        "baselines": torch.from_numpy(loaded.arrays["baselines"]).permute(0, 3, 1, 2).to(DEVICE),
    }
    return Inputs(
        network.to(DEVICE).to(memory_format=layout),
        images.contiguous(memory_format=layout),
        torch.from_numpy(loaded.targets).long().to(DEVICE),
        arrays,
    )


def by_captum(
    loaded: problems.Loaded,
    name: str,
    options: dict[str, Any],
    chunk: int | None = None,
    layout: Any = torch.contiguous_format,
) -> Callable[[], Any]:
    """captum as its tutorials use it; or with its own chunk set, or a memory layout."""
    from benchmarks import by_captum

    if name not in by_captum.METHODS:
        raise Absent("captum has no such method")
    if chunk is not None and name not in by_captum.CHUNKED:
        raise Absent("captum's method has no chunk")
    return by_captum.METHODS[name](inputs_of(loaded, layout), options, chunk)


def by_hand(
    loaded: problems.Loaded,
    name: str,
    options: dict[str, Any],
    *,
    layout: Any = torch.contiguous_format,
    compiled: bool = False,
    dtype: Any = None,
    double: bool = False,
) -> Callable[[], Any]:
    """PyTorch by hand: frozen parameters, a memory layout, compiled, autocast, float64 or not."""
    if name not in by_torch.METHODS:
        raise Absent("not written by hand")
    inputs = inputs_of(loaded, layout)
    if double:
        inputs = inputs._replace(network=inputs.network.double(), images=inputs.images.double())

    def forward(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(DEVICE, dtype, enabled=dtype is not None):
            return inputs.network(images)

    network = compiled_once(forward) if compiled else forward
    method = by_torch.METHODS[name]
    return lambda: method(network, inputs.images, inputs.targets, **options)


def by_peer(
    loaded: problems.Loaded, name: str, options: dict[str, Any], peer: str
) -> Callable[[], Any]:
    """Another library as its documentation uses it."""
    from benchmarks import by_peers

    return by_peers.PEERS[peer](inputs_of(loaded), name, options)


def set_precision(precision: str) -> None:
    """Of products and convolutions on a GPU: "highest" or "tf32"."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


LAYOUTS = {"captum": torch.contiguous_format, "captum, channels_last": torch.channels_last}

CONTENDERS: dict[str, Callable[..., Callable[[], Any]]] = {
    **{name: functools.partial(by_captum, layout=each) for name, each in LAYOUTS.items()},
    **{
        f"{name}, chunk {count}": functools.partial(by_captum, layout=each, chunk=count)
        for name, each in LAYOUTS.items()
        for count in peers.CHUNKS
    },
    **{peer: functools.partial(by_peer, peer=peer) for peer in ("zennit", "grad-cam", "saliency")},
    "torch": by_hand,
    "torch float64": functools.partial(by_hand, double=True),
    "torch channels_last": functools.partial(by_hand, layout=torch.channels_last),
    "torch compiled": functools.partial(by_hand, compiled=True),
    "torch compiled channels_last": functools.partial(
        by_hand, compiled=True, layout=torch.channels_last
    ),
    "torch bfloat16": functools.partial(
        by_hand, dtype=torch.bfloat16, layout=torch.channels_last, compiled=True
    ),
}


def prepare(
    contender: str,
    problem: str,
    batch: int,
    method: str,
    options: dict[str, Any],
    precision: str,
) -> Prepared:
    """A contender of `CONTENDERS` at a problem's folder, ready to run."""
    set_precision(precision)
    torch.manual_seed(0)
    call = CONTENDERS[contender](problems.load(problem, batch), method, options)

    def run() -> Any:
        result = call()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return result

    return Prepared(run, _fetch)


def _fetch(result: torch.Tensor) -> dict[str, np.ndarray]:
    """Maps as [B, H, W, C]."""
    result = result.detach().cpu()
    wide = result if result.dtype == torch.float64 else result.float()
    return {"map": wide.permute(0, 2, 3, 1).numpy()}


def about() -> dict[str, Any]:
    """Versions, threads and device."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: _version(name) for name in ("captum", "zennit", "grad-cam", "saliency")},
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
    }


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"


def peak() -> float:
    """The most bytes held at a time on the device, or on a CPU by the process."""
    return float(torch.cuda.max_memory_allocated()) if DEVICE == "cuda" else peak_resident()


if __name__ == "__main__":
    serve(prepare, about=about, peak=peak)
