"""The JAX side of the training benchmark: `jaxsal.training.step.train_step` over devices."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import jax_worker, problems
from benchmarks.worker import Prepared, serve
from jaxsal.common import provenance
from jaxsal.compiler import processes
from jaxsal.rewrite.optimize import optimize
from jaxsal.training import devices, step
from jaxsal.training.config import TrainConfig

CONFIG = TrainConfig(learning_rate=1e-3)
STEPS = 100_000


class _Run:
    """A training run that goes on from call to call, on one batch that lies on the device."""

    def __init__(self, loaded: problems.Loaded, dtype: Any, mode: str, rewrite: bool) -> None:
        model = jax_worker.network(loaded.problem, dtype)
        optimizer = step.make_optimizer(CONFIG, STEPS)
        classes, size = loaded.problem.classes, len(loaded.images)

        def make_step(axis_name: str | None) -> step.Step:
            on_batch = functools.partial(
                step.train_step,
                apply=step.linen(model.clone(axis_name=axis_name)),
                optimizer=optimizer,
                config=CONFIG,
                class_weight=jnp.ones(classes),
                axis_name=axis_name,
                transform=optimize if rewrite else lambda fun: fun,
            )

            def drawn(state: Any, data: Any, rows: Any) -> Any:
                images, labels = (column[rows] for column in data)
                keys = jax.random.split(jax.random.key(0), len(rows))
                return on_batch(state, step.Batch(images, labels, jnp.ones(len(rows)), keys))

            return drawn

        self._parallel = devices.MODES[mode](make_step, processes.local_devices())
        variables = jax_worker.unflatten(loaded.weights)
        self._state = self._parallel.replicate(step.init_state(variables, optimizer))
        self._data = self._parallel.replicate((loaded.images, loaded.targets))
        self._rows = np.arange(size, dtype=np.int32)

    def __call__(self) -> Any:
        self._state, metrics = self._parallel.step(self._state, self._data, self._rows)
        return jax.block_until_ready((self._state.variables["params"], metrics))

    def fetch(self, result: Any) -> dict[str, np.ndarray]:
        params, metrics = result
        kernel = self._parallel.fetch(params)["Conv_0"]["kernel"]
        return {
            "loss": np.asarray(metrics["loss"], np.float32).reshape(-1, 1)[:1],
            "kernel": kernel.reshape(1, -1),
        }


CONTENDERS: dict[str, Callable[..., _Run]] = {
    "jit": functools.partial(_Run, dtype=jnp.float32, mode="jit", rewrite=True),
    "pmap": functools.partial(_Run, dtype=jnp.float32, mode="pmap", rewrite=True),
    "jit without rewrites": functools.partial(_Run, dtype=jnp.float32, mode="jit", rewrite=False),
    "jit bfloat16": functools.partial(_Run, dtype=jnp.bfloat16, mode="jit", rewrite=True),
}


def prepare(contender: str, problem: str, batch: int, precision: str, **_: Any) -> Prepared:
    """A contender of `CONTENDERS` at a problem's folder, ready to take steps."""
    jax.config.update("jax_default_matmul_precision", jax_worker.PRECISIONS[precision])
    run = CONTENDERS[contender](problems.load(problem, batch))
    return Prepared(run, run.fetch)


if __name__ == "__main__":
    extra = {"create": jax_worker.create}
    serve(prepare, about=provenance.describe, peak=jax_worker.peak, extra=extra)
