"""The JAX side of the benchmark of metrics: `jaxsal.evaluator`, and what it asks of memory."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jaxsal
from benchmarks import jax_worker, problems
from benchmarks.problems import Loaded
from benchmarks.worker import Prepared, serve
from jaxsal import metrics
from jaxsal.common import provenance
from jaxsal.compiler import memory

BASELINES: dict[str, Any] = {"black": 0.0, "blur": metrics.blur}


def metric(name: str, options: dict[str, Any]) -> Any:
    """A metric of jaxsal by name, the baseline by its name too."""
    baseline = BASELINES[options["baseline"]]
    return functools.partial(jaxsal.METRICS[name], **{**options, "baseline": baseline})


def by_jaxsal(loaded: Loaded, name: str, options: dict[str, Any]) -> Callable[[], Any]:
    """`jaxsal.evaluator`, as a user calls it."""
    model = jax_worker.network(loaded.problem)
    evaluate = jaxsal.evaluator(model.apply, metric(name, options))
    variables = jax_worker.unflatten(loaded.weights)
    rows = jax.device_put((loaded.images, problems.maps(loaded), loaded.targets))
    return lambda: evaluate(variables, *rows)


def of_several(
    loaded: Loaded, name: str, options: dict[str, Any], *, together: bool
) -> Callable[[], Any]:
    """A metric of several maps of each image: in one call, or in a call a map."""
    model = jax_worker.network(loaded.problem)
    count = options["maps"]
    own = {option: value for option, value in options.items() if option != "maps"}
    evaluate = jaxsal.evaluator(model.apply, metric(name, own))
    variables = jax_worker.unflatten(loaded.weights)
    images, targets = jax.device_put((loaded.images, loaded.targets))
    first, key = problems.maps(loaded), jax.random.key(0)
    maps = jax.device_put({str(i): np.roll(first, i, axis=1) for i in range(count)})
    if together:
        return lambda: list(evaluate(variables, images, maps, targets, key=key).values())
    return lambda: [evaluate(variables, images, one, targets, key=key) for one in maps.values()]


CONTENDERS: dict[str, Callable[..., Callable[[], Any]]] = {
    "jaxsal": by_jaxsal,
    "jaxsal, maps together": functools.partial(of_several, together=True),
    "jaxsal, maps one by one": functools.partial(of_several, together=False),
}


def prepare(
    contender: str, problem: str, batch: int, method: str, options: dict[str, Any], precision: str
) -> Prepared:
    """A contender of `CONTENDERS` at a problem's folder, ready to run."""
    jax.config.update("jax_default_matmul_precision", jax_worker.PRECISIONS[precision])
    call = CONTENDERS[contender](problems.load(problem, batch), method, options)
    return Prepared(
        lambda: jax.block_until_ready(call()),
        lambda values: {"value": np.asarray(values, np.float32).reshape(-1, 1)},
    )


def program(
    problem: str, batch: int, method: str, options: dict[str, Any], batch_size: int = 32
) -> dict[str, Any]:
    """Bytes of the program of a batch, so many images at a time, as the compiler tells them."""
    loaded = problems.load(problem, batch)
    model = jax_worker.network(loaded.problem)
    evaluate = jaxsal.evaluator(model.apply, metric(method, options), batch_size=batch_size)
    variables, maps = jax_worker.unflatten(loaded.weights), problems.maps(loaded)
    whole = jax.jit(evaluate).lower(variables, loaded.images, maps, loaded.targets)
    return {"bytes": memory.program_bytes(whole.compile())}


if __name__ == "__main__":
    extra: dict[str, Callable[..., dict[str, Any]]] = {
        "create": jax_worker.create,
        "program": program,
    }
    serve(prepare, about=provenance.describe, peak=jax_worker.peak, extra=extra)
