"""Accelerators that are not here, for which XLA compiles, and how long a program would take there.

A prediction is no measurement. Of a TPU it is XLA's own estimate of cycles, over the clock; what
has no estimate takes at least as long as its bytes over the memory's rate, and counts so. Of a GPU
it is the bytes that the program's operations move over the measured rate of a copy, plus the FLOPs
of its convolutions and products over the measured rate of convolutions. The rates are the ceilings
of `benchmarks/results/throughput-gpu-headline-nvidia-h200-*.json`.

Communication between chips is apart: the bytes that a chip sends in a ring over the rate of its
links. Hops, and links that a ring leaves idle, cost nothing in that model: it is a lower bound.
"""

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, Mesh, use_abstract_mesh

from benchmarks.compiled import Program
from benchmarks.worker import Absent

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
}
"""What the plugins read where there is no device: nothing is asked of a cloud or a driver."""

FLAGS = "--xla_gpu_autotune_level=0"
"""Algorithms cannot be tried where there is no device."""


class Rates(NamedTuple):
    """What a GPU does in a second: bytes moved, and FLOPs in float32 (TF32) and bfloat16."""

    bytes: float
    float32: float
    bfloat16: float


GRIDS = {
    1: "1x1",
    4: "2x2",
    8: "2x4",
    16: "4x4",
    32: "4x8",
    64: "8x8",
    128: "8x16",
    256: "16x16",
}
"""By the number of chips the slice of a pod: those that a TPU v5e or v6e can be had in."""

SENT: dict[str, Callable[[int], float]] = {
    "all-reduce": lambda chips: 2 * (chips - 1) / chips,
    "reduce-scatter": lambda chips: (chips - 1) / chips,
    "all-gather": lambda chips: chips - 1,
    "all-to-all": lambda chips: (chips - 1) / chips,
    "ragged-all-to-all": lambda chips: (chips - 1) / chips,
    "collective-permute": lambda chips: 1,
    "collective-broadcast": lambda chips: 1,
}
"""By kind the bytes that each chip sends in a ring of all, for a byte that it gives.

R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of Collective Communication Operations in
MPICH", IJHPCA 19(1), 2005.
"""


class Accelerator(NamedTuple):
    """An accelerator as XLA knows it.

    Attributes:
        topology: of `jax.experimental.topologies`, by name; of a TPU without its slice.
        chips: how many, if not asked for otherwise.
        clock: of a TPU, cycles a second.
        memory: of a TPU's chip, bytes.
        bandwidth: of that memory, bytes a second.
        links: of a TPU's chip, bytes a second that all of them send together.
        rates: of a GPU.
        config: of a GPU, its description for the compiler.
        batch: images on a chip at a time: of methods with one pass, of those with loops.
    """

    platform: str
    topology: str
    batch: tuple[int, int]
    chips: int = 1
    clock: float = 0.0
    memory: int = 0
    bandwidth: float = 0.0
    links: float = 0.0
    rates: Rates | None = None
    config: str = ""

    def grid(self, chips: int | None = None) -> str:
        """The slice of so many chips, `chips` if None.

        Raises:
            ValueError: there is none.
        """
        chips = chips or self.chips
        known = list(GRIDS) if self.platform == "tpu" else [1]
        if chips not in known:
            raise ValueError(f"{self.topology}: expected one of {known} chips, got {chips}")
        return GRIDS[chips]

    def mesh(self, chips: int | None = None) -> Mesh:
        """The devices, without one of them; `chips` of them if None.

        Raises:
            Absent: the plugin is not installed.
            ValueError: there is no slice of so many.
        """
        grid = self.grid(chips)
        module, install = PLUGINS[self.platform]
        if importlib.util.find_spec(module) is None:
            raise Absent(f"{module} is not installed: {install}")
        if self.platform == "tpu":
            name = f"{self.topology}:{grid}"
            found = topologies.get_topology_desc(platform="tpu", topology_name=name)
        else:
            options = {"target_config": self.config, "topology": "1x1x1"}
            found = topologies.get_topology_desc(self.topology, self.platform, **options)
        return Mesh(np.array(found.devices), ("batch",))

    def lowering(self, mesh: Mesh) -> AbstractContextManager[object]:
        """A context in which kernels written in Pallas know which device they are for."""
        if self.platform != "cuda":
            return nullcontext()
        kind = str(mesh.devices.flat[0].device_kind)
        device = AbstractDevice(device_kind=kind, num_cores=None, platform="gpu")
        auto = (AxisType.Auto,) * mesh.devices.ndim
        told = AbstractMesh(
            mesh.devices.shape, mesh.axis_names, axis_types=auto, abstract_device=device
        )
        return use_abstract_mesh(told)

    def predicted_ms(
        self, cycles: int, moved: int, flops: float, dtype: str, rest: int = 0
    ) -> float:
        """Milliseconds on each chip, predicted (see the module's docstring), to four digits.

        Args:
            cycles: that XLA estimates, of a TPU.
            moved: bytes that the operations read and write, of a GPU.
            flops: of the convolutions and products on one chip, of a GPU.
            dtype: in which most of them are.
            rest: bytes moved by what has no estimate, of a TPU.
        """
        if self.rates is None:
            seconds = cycles / self.clock + rest / self.bandwidth
        else:
            seconds = moved / self.rates.bytes + flops / getattr(self.rates, dtype)
        return float(f"{seconds * 1e3:.4g}")

    def communication_ms(self, given: Mapping[str, int], chips: int) -> float:
        """Milliseconds of communication, predicted (see the module's docstring), to four digits.

        Args:
            given: bytes that a chip gives to each kind (`Program.collective_bytes`).
            chips: among which.
        """
        sent = sum(SENT[kind](chips) * count for kind, count in given.items())
        return float(f"{sent / self.links * 1e3:.4g}") if sent else 0.0

    def without_estimate(self, program: Program) -> list[str]:
        """What of a program the prediction leaves out, or of which it counts only the bytes."""
        return program.without_cycles() if self.rates is None else program.without_rates()

    def bytes_without_estimate(self, program: Program) -> int:
        """The bytes that count for what has no estimate, of a TPU."""
        return program.bytes_without_cycles() if self.rates is None else 0

    def model(self) -> str:
        """How it is predicted, in words."""
        if self.rates is None:
            cycles = f"XLA's estimated cycles over {self.clock / 1e9:g} GHz"
            return f"{cycles}, plus bytes without an estimate over {self.bandwidth / 1e9:g} GB/s"
        parts = [f"bytes over {self.rates.bytes / 1e12:.2f} TB/s"]
        parts += [
            f"{name} FLOPs over {getattr(self.rates, name) / 1e12:.0f} TFLOP/s"
            for name in ("float32", "bfloat16")
        ]
        return ", plus ".join((parts[0], " or ".join(parts[1:])))

    def communication_model(self) -> str:
        """How communication is predicted, in words."""
        ring = "all-reduce of n chips in a ring, 2 (n - 1) / n of its bytes"
        return f"{ring} over {self.links / 1e9:g} GB/s (all links of a chip)"


PLUGINS = {
    "tpu": ("libtpu", "pip install 'jax[tpu]' flax"),
    "cuda": ("jax_cuda13_plugin", "pip install 'jax[cuda13]' flax"),
}
"""By platform the plugin that compiles for it, and the command that installs it."""

H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 62914560 clock_rate_ghz: 1.98
  device_memory_size: 150754820096 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H200"
"""

H200_RATES = Rates(bytes=3.785e12, float32=246.8e12, bfloat16=379.8e12)

ACCELERATORS = {
    # https://cloud.google.com/tpu/docs/v5e: 197 TFLOP/s in bfloat16, of four units of 128x128
    # multiplications a cycle; 16 GB at 819 GB/s; four links, 400 GB/s in both directions, 1600
    # Gbit/s in one.
    "tpu-v5e": Accelerator(
        "tpu",
        "v5e",
        (256, 8),
        chips=4,
        clock=1.503e9,
        memory=16 << 30,
        bandwidth=819e9,
        links=200e9,
    ),
    # https://cloud.google.com/tpu/docs/v6e: 918 TFLOP/s, of two units of 256x256, were they to
    # multiply twice a cycle. The clock is not published: times may be wrong by a factor, the same
    # for all programs. 32 GB at 1640 GB/s; four links, 800 GB/s in both directions.
    "tpu-v6e": Accelerator(
        "tpu",
        "v6e",
        (256, 8),
        chips=4,
        clock=1.751e9,
        memory=32 << 30,
        bandwidth=1640e9,
        links=400e9,
    ),
    "h200": Accelerator("cuda", "h200", (512, 64), rates=H200_RATES, config=H200),
}
"""By name; four chips of the TPUs, so that communication between them would show."""


def with_pods() -> list[str]:
    """The accelerators that can be had by the pod."""
    return [name for name, each in ACCELERATORS.items() if each.links]


def accelerator(name: str) -> Accelerator:
    """An accelerator by its name, or a GPU by a file with its description for the compiler.

    The rates of a GPU of a file are the H200's, by its bandwidth, cores and clock.

    Raises:
        ValueError: neither a name nor a file.
    """
    if name in ACCELERATORS:
        return ACCELERATORS[name]
    if not Path(name).is_file():
        raise ValueError(f"expected one of {list(ACCELERATORS)} or a file, got {name}")
    known, config = ACCELERATORS["h200"], Path(name).read_text()
    memory = _number(config, "memory_bandwidth") / _number(H200, "memory_bandwidth")
    speed = 1.0
    for field in ("core_count", "clock_rate_ghz"):
        speed *= _number(config, field) / _number(H200, field)
    rates = Rates(
        H200_RATES.bytes * memory, H200_RATES.float32 * speed, H200_RATES.bfloat16 * speed
    )
    return known._replace(topology=Path(name).stem, config=config, rates=rates)


def _number(config: str, field: str) -> float:
    found = re.search(rf"\b{field}: ([\d.]+)", config)
    if found is None:
        raise ValueError(f"a GPU's description without {field}")
    return float(found[1])


def without_devices() -> None:
    """Sets JAX and its plugins up to compile for devices that are not here; before they start."""
    os.environ.update(ENVIRONMENT)
    if FLAGS not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} {FLAGS}".strip()
    jax.config.update("jax_platforms", "cpu")
