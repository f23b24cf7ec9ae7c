"""The programs that are compiled for accelerators that are not here, traced from shapes alone.

A case's batch is of one chip: a mesh of n has n times as many images, spread over it.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxsal
from benchmarks import jax_training, jax_worker, plain, problems
from benchmarks.contest import Case
from benchmarks.throughput import RANDOM
from jaxsal.rewrite.optimize import REWRITES, count_rewrites, optimize
from jaxsal.training import devices, step

TRAINING = "training step"
"""The method of a case that is no explanation and no metric."""

EXAMPLES = 3064
"""Images to train on, which every chip has: as many as figshare's set of brain tumours."""


class _Given(NamedTuple):
    """A case's model and its arguments, by their shapes, on the devices."""

    apply: Callable[..., Any]
    params: Any
    images: jax.ShapeDtypeStruct
    targets: jax.ShapeDtypeStruct
    dtype: Any
    options: dict[str, Any]


def _given(case: Case, mesh: Mesh) -> _Given:
    name, _, narrow = case.problem.partition(" ")
    problem = problems.PROBLEMS[name]
    dtype = jnp.bfloat16 if narrow else jnp.float32
    model = jax_worker.network(problem, dtype)
    count = case.batch * mesh.size
    with tempfile.TemporaryDirectory() as folder:
        problems.save(problem, {}, 1, Path(folder))
        options = problems.options(problems.load(folder, 1), case.options)
    whole, spread = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("batch",)))
    params = _variables(model, problem)
    return _Given(
        model.apply,
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), params),
        jax.ShapeDtypeStruct((count, *problem.image), jnp.float32, sharding=spread),
        jax.ShapeDtypeStruct((count,), jnp.int32, sharding=spread),
        dtype,
        options,
    )


def _variables(model: Any, problem: problems.Problem) -> Any:
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *problem.image)))


def by_jaxsal(case: Case, mesh: Mesh, rewrite: bool = True) -> jax.stages.Traced:
    """jaxsal's program: of `explainer`, of `evaluator`, or a step as `jaxsal.training` jits it."""
    return _BUILDERS.get(case.method, _explanation)(case, mesh, rewrite)


def _explanation(case: Case, mesh: Mesh, rewrite: bool) -> jax.stages.Traced:
    given = _given(case, mesh)
    narrow = {"dtype": given.dtype} if given.dtype != jnp.float32 else {}
    method = jax_worker.method(case.method, given.options)
    explain = jaxsal.explainer(given.apply, method, mesh=mesh, rewrite=rewrite, **narrow)
    key = {"key": jax.random.key(0)} if case.method in RANDOM else {}
    return explain.trace(given.params, given.images, given.targets, **key)


def _metric(case: Case, mesh: Mesh, rewrite: bool) -> jax.stages.Traced:
    """A metric of maps that are spread over the chips as their images are."""
    given = _given(case, mesh)
    metric = functools.partial(jaxsal.METRICS[case.method], **given.options)
    evaluate = jaxsal.evaluator(given.apply, metric, mesh=mesh, rewrite=rewrite)
    return jax.jit(evaluate).trace(given.params, given.images, given.images, given.targets)


def _training_step(case: Case, mesh: Mesh, rewrite: bool) -> jax.stages.Traced:
    """Drawn, varied and descended on; every chip has the training set and the state."""
    del rewrite  # a step has its rewrites always
    problem = problems.PROBLEMS[case.problem]
    model, config = jax_worker.network(problem), jax_training.CONFIG
    weight, steps = np.ones(problem.classes, np.float32), jax_training.STEPS
    make_step = step.make_step(model, config, steps=steps, class_weight=weight)
    start = functools.partial(step.init_state, optimizer=step.make_optimizer(config, steps))
    state = jax.eval_shape(start, _variables(model, problem))
    images = jax.ShapeDtypeStruct((EXAMPLES, *problem.image), jnp.float32)
    labels = jax.ShapeDtypeStruct((EXAMPLES,), jnp.int32)
    count = case.batch * mesh.size
    selection = jax.eval_shape(
        lambda: step.Selection(
            jnp.zeros(count, jnp.int32), jnp.ones(count), jnp.zeros(count, jnp.int32)
        )
    )
    program = devices.jitted(make_step, list(mesh.devices.flat))
    return program.trace(state, (images, labels), selection)


_BUILDERS: dict[str, Callable[[Case, Mesh, bool], jax.stages.Traced]] = {
    **dict.fromkeys(jaxsal.METRICS, _metric),
    TRAINING: _training_step,
}
"""By a case's method what traces its program, where it is no explanation."""


def by_hand(case: Case, mesh: Mesh, only: str | None = None) -> jax.stages.Traced:
    """An explanation in plain JAX, perhaps with a single rewrite and its partner."""
    given = _given(case, mesh)
    one = _one(case, given)
    if only is not None:
        one = optimize(one, only=_with_partner(only))
    key = jax.eval_shape(lambda: jax.random.key(0))
    spread = given.targets.sharding
    keys = jax.ShapeDtypeStruct(given.targets.shape, key.dtype, sharding=spread)
    whole = jax.jit(jax.vmap(one, in_axes=(None, 0, 0, 0)), out_shardings=spread)
    return whole.trace(given.params, given.images, given.targets, keys)


def _one(case: Case, given: _Given) -> Callable[..., Any]:
    """A method at one image in plain JAX."""

    def one(params: Any, image: Any, target: Any, key: Any) -> Any:
        def score(image: Any) -> Any:
            return given.apply(params, image[None])[0, target]

        return plain.METHODS[case.method](score, image, key, **given.options)

    return one


def replaced(case: Case, mesh: Mesh, rewrite: str) -> bool:
    """Whether a rewrite finds something in the plain program."""
    given = _given(case, mesh)
    image = jax.ShapeDtypeStruct(given.images.shape[1:], given.images.dtype)
    target = jax.ShapeDtypeStruct((), jnp.int32)
    args = given.params, image, target, jax.eval_shape(lambda: jax.random.key(0))
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args[0])
    only = _with_partner(rewrite)
    return bool(count_rewrites(_one(case, given), params, *args[1:], only=only)[rewrite])


def _with_partner(rewrite: str) -> list[str]:
    return [rewrite, *filter(None, [REWRITES[rewrite].partner])]
