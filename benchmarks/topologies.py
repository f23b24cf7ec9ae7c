"""Accelerators that are not here, for which XLA compiles, and how long a program would take there.

A prediction is no measurement. Of a TPU it is XLA's own estimate of cycles, over the clock; of a
GPU the bytes that the program's operations move over the measured rate of a copy, plus the FLOPs of
its convolutions and products over the measured rate of convolutions. The rates are the ceilings of
`benchmarks/results/throughput-gpu-headline-nvidia-h200-*.json`.
"""

import importlib.util
import os
import re
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


class Accelerator(NamedTuple):
    """An accelerator as XLA knows it.

    Attributes:
        topology: of `jax.experimental.topologies`, by name.
        clock: of a TPU, cycles a second.
        rates: of a GPU.
        config: of a GPU, its description for the compiler.
        batch: images on a chip at a time: of methods with one pass, of those with loops.
    """

    platform: str
    topology: str
    batch: tuple[int, int]
    clock: float = 0.0
    rates: Rates | None = None
    config: str = ""

    def mesh(self) -> Mesh:
        """The devices, without one of them.

        Raises:
            Absent: the plugin is not installed.
        """
        module, install = PLUGINS[self.platform]
        if importlib.util.find_spec(module) is None:
            raise Absent(f"{module} is not installed: {install}")
        if self.platform == "tpu":
            found = topologies.get_topology_desc(platform="tpu", topology_name=self.topology)
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

    def predicted_ms(self, cycles: int, moved: int, flops: float, dtype: str) -> float:
        """Milliseconds on each chip, predicted (see the module's docstring), to four digits.

        Args:
            cycles: that XLA estimates, of a TPU.
            moved: bytes that the operations read and write, of a GPU.
            flops: of the convolutions and products on one chip, of a GPU.
            dtype: in which most of them are.
        """
        if self.rates is None:
            seconds = cycles / self.clock
        else:
            seconds = moved / self.rates.bytes + flops / getattr(self.rates, dtype)
        return float(f"{seconds * 1e3:.4g}")

    def without_estimate(self, program: Program) -> list[str]:
        """What of a program the prediction leaves out, and loops that it counts once."""
        left = program.without_cycles() if self.rates is None else program.without_rates()
        return left + program.unknown_loops()

    def model(self) -> str:
        """How it is predicted, in words."""
        if self.rates is None:
            return f"XLA's estimated cycles over {self.clock / 1e9:g} GHz"
        parts = [f"bytes over {self.rates.bytes / 1e12:.2f} TB/s"]
        parts += [
            f"{name} FLOPs over {getattr(self.rates, name) / 1e12:.0f} TFLOP/s"
            for name in ("float32", "bfloat16")
        ]
        return ", plus ".join((parts[0], " or ".join(parts[1:])))


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
    # 197 TFLOP/s in bfloat16, of four units of 128x128 multiplications a cycle.
    "tpu-v5e": Accelerator("tpu", "v5e:2x2", (256, 8), clock=1.503e9),
    # 918 TFLOP/s in bfloat16, of two units of 256x256, were they to multiply twice a cycle. The
    # clock is not published: times may be wrong by a factor, the same for all programs.
    "tpu-v6e": Accelerator("tpu", "v6e:2x2", (256, 8), clock=1.751e9),
    "h200": Accelerator("cuda", "h200", (512, 64), rates=H200_RATES, config=H200),
}
"""By name; four chips of the TPUs, so that communication between them would show."""


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
