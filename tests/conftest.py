"""JAX made strict for every test: eight CPU devices, no silent promotion, full precision.

Tests compile far longer than they run, so LLVM optimises nothing: the programs are the same, but
for one thing. XLA may compute x twice for JAX's derivative of a maximum over axes, `x == max(x)`,
and without optimisation round it otherwise: plain JAX's gradient of a global maximum is then wrong
or NaN (24 of 60 networks). What is compared with plain JAX here has none.

Compiling is most of the suite's time. A program is compiled once, for all workers, for the
processes that tests start and for later runs. XLA of jax 0.10 takes its older emitter of kernels,
with which it compiles twice as fast; that of later ones has but the new one.
"""

import gc
import importlib.metadata
import os
from collections.abc import Iterator

FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
if importlib.metadata.version("jax").startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")

# Compilation dominates: no deadline an example, and the same examples in every run.
hypothesis.settings.register_profile("jaxsal", deadline=None, derandomize=True, max_examples=20)
hypothesis.settings.load_profile("jaxsal")

KEEP_ALL = {
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def pytest_configure(config: pytest.Config) -> None:
    """Compiled programs are kept in pytest's cache folder, which `--cache-clear` empties."""
    folder = str(config.cache.mkdir("jax"))
    for name, value in ({"jax_compilation_cache_dir": folder} | KEEP_ALL).items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """What other modules left is searched no more, where JAX or a test collects garbage."""
    gc.collect()
    gc.freeze()
    yield
