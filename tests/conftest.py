"""JAX made strict for every test: eight CPU devices, no silent rank promotion, full precision."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

# Compilation dominates: no deadline an example, and the same examples in every run.
hypothesis.settings.register_profile("jaxsal", deadline=None, derandomize=True, max_examples=20)
hypothesis.settings.load_profile("jaxsal")
