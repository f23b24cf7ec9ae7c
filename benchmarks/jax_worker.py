"""The JAX side: jaxsal, and the same methods as anyone would write them in plain JAX."""

import functools
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

import jaxsal
from benchmarks import plain, problems, roofline
from benchmarks.problems import Loaded, Problem
from benchmarks.vit import ViT
from benchmarks.worker import Absent, Prepared, peak_resident, serve
from jaxsal import models
from jaxsal.common import provenance

KINDS: dict[str, Callable[..., Any]] = {"cnn": models.CNN, "resnet": models.ResNet, "vit": ViT}

TOGETHER = ("gradient", "input_x_gradient", "grad_cam")


def network(problem: Problem, dtype: Any = jnp.float32) -> Any:
    """The problem's Flax module."""
    fields: dict[str, Any] = dict(problem.network)
    kind = fields.pop("kind")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return KINDS[kind](classes=problem.classes, dtype=dtype, **fields)


def weights(problem: Problem) -> dict[str, np.ndarray]:
    """Weights for a problem, from a fixed seed; the statistics of normalisation are not trivial.

    Drawn here: a program that initialises a ResNet-50 takes minutes to compile.
    """
    variables = jax.eval_shape(network(problem).init, jax.random.key(0), _image(problem))
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    random = np.random.default_rng(1)
    drawn = {}
    for name, leaf in sorted(flat.items()):
        if name.endswith("kernel"):
            deviation = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            value = random.normal(size=leaf.shape) * deviation
        elif name.endswith(("bias", "mean")):
            value = 0.05 * random.normal(size=leaf.shape)
        else:
            assert name.endswith(("scale", "var")), name
            value = random.uniform(0.7, 1.3, size=leaf.shape)
        drawn[name] = value.astype(np.float32)
    return drawn


def _image(problem: Problem) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *problem.image), jnp.float32)


def unflatten(flat: dict[str, np.ndarray]) -> Any:
    """A problem's weights as Flax's variables, on the device."""
    return jax.device_put(flax.traverse_util.unflatten_dict(flat, sep="/"))


def method(name: str, options: dict[str, Any]) -> Any:
    """A method of jaxsal by name; "together" is three of them in one program."""
    if name == "together":
        return {each: jaxsal.METHODS[each] for each in TOGETHER}
    if name in jaxsal.COMBINATORS:
        return jaxsal.COMBINATORS[name](jaxsal.gradient, **options)
    return functools.partial(jaxsal.METHODS[name], **options)


def by_jaxsal(
    loaded: Loaded, name: str, options: dict[str, Any], **settings: Any
) -> Callable[[], Any]:
    """`jaxsal.explainer`, as a user calls it."""
    # The model computes in the dtype, as a user's own would be made to.
    model = network(loaded.problem, settings.get("dtype", jnp.float32))
    explain = jaxsal.explainer(model.apply, method(name, options), **settings)
    variables = unflatten(loaded.weights)
    images, targets = jax.device_put((loaded.images, loaded.targets))
    key = jax.random.key(0)
    return lambda: explain(variables, images, targets, key=key)


def in_float64(loaded: Loaded, name: str, options: dict[str, Any]) -> Callable[[], Any]:
    """The same in double precision."""
    if not jax.config.read("jax_enable_x64"):
        raise Absent("JAX_ENABLE_X64 is not set")
    images, weights = jax.tree.map(np.float64, (loaded.images, loaded.weights))
    wide = loaded._replace(images=images, weights=weights)
    return by_jaxsal(wide, name, options, dtype=jnp.float64)


ROWS = (None, 0, 0, 0)
"""Which of (variables, image, target, key) are of each image."""


def by_hand(
    loaded: Loaded,
    name: str,
    options: dict[str, Any],
    methods: dict[str, Callable[..., Any]] = plain.METHODS,
) -> Callable[[], Any]:
    """`jit(vmap(...))` of the method in plain JAX."""
    program, arguments = _plain(loaded, name, options, methods)
    whole = jax.jit(jax.vmap(program, in_axes=ROWS))
    return lambda: whole(*arguments)


def in_a_loop(loaded: Loaded, name: str, options: dict[str, Any]) -> Callable[[], Any]:
    """The same, jitted for one image, in a Python loop over the images."""
    program, (variables, *rows) = _plain(loaded, name, options, plain.METHODS)
    one = jax.jit(program)
    rows_of = [[column[i] for column in rows] for i in range(len(loaded.images))]
    return lambda: jnp.stack([one(variables, *row) for row in rows_of])


def steps_in_python(loaded: Loaded, name: str, options: dict[str, Any]) -> Callable[[], Any]:
    """A Python loop over the steps, each a jitted program of the whole batch."""
    parts, arguments = _plain(loaded, name, options, plain.SUMS)

    def begin(*given: Any) -> Any:
        made = parts(*given)
        return made.held, made.points, made.zeros

    def step(held: Any, points: Any, total: Any, index: Any, *given: Any) -> Any:
        point = jax.tree.map(lambda column: column[index], points)
        return plain.add(total, parts(*given).step(held, point))

    def end(total: Any, *given: Any) -> Any:
        return parts(*given).end(total)

    first = jax.jit(jax.vmap(begin, ROWS))
    turn = jax.jit(jax.vmap(step, (0, 0, 0, None, *ROWS)))
    last = jax.jit(jax.vmap(end, (0, *ROWS)))

    def run() -> Any:
        held, points, total = first(*arguments)
        for index in range(jax.tree.leaves(points)[0].shape[1]):
            total = turn(held, points, total, index, *arguments)
        return last(total, *arguments)

    return run


def _plain(
    loaded: Loaded, name: str, options: dict[str, Any], methods: dict[str, Callable[..., Any]]
) -> tuple[Any, tuple[Any, ...]]:
    """What a table of `plain` has at one image, and the arguments of a batch."""
    if name not in methods:
        raise Absent("not written by hand")
    apply: Any = network(loaded.problem).apply

    def one(variables: Any, image: Any, target: Any, key: Any) -> Any:
        def score(image: Any) -> Any:
            return apply(variables, image[None])[0, target]

        return methods[name](score, image, key, **options)

    images, targets = jax.device_put((loaded.images, loaded.targets))
    keys = jax.random.split(jax.random.key(0), len(images))
    return one, (unflatten(loaded.weights), images, targets, keys)


def on_devices(loaded: Loaded, name: str, options: dict[str, Any], count: int) -> Callable[[], Any]:
    """`jaxsal.explainer` over the first `count` devices."""
    if count > jax.device_count():
        raise Absent(f"there are {jax.device_count()} devices")
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:count]), ("devices",))
    return by_jaxsal(loaded, name, options, mesh=mesh)


CONTENDERS: dict[str, Callable[..., Callable[[], Any]]] = {
    **{f"jaxsal on {n}": functools.partial(on_devices, count=n) for n in (1, 2, 4, 8)},
    "jaxsal": by_jaxsal,
    "jaxsal without rewrites": functools.partial(by_jaxsal, rewrite=False),
    "jaxsal bfloat16": functools.partial(by_jaxsal, dtype=jnp.bfloat16),
    "jaxsal float64": in_float64,
    "plain jax": by_hand,
    "plain jax, loop": in_a_loop,
    "plain jax, steps in Python": steps_in_python,
    "plain jax, steps at once": functools.partial(by_hand, methods=plain.AT_ONCE),
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
    # Set before anything is compiled, and alike on both sides.
    jax.config.update("jax_default_matmul_precision", PRECISIONS[precision])
    loaded = problems.load(problem, batch)
    call = CONTENDERS[contender](loaded, method, problems.options(loaded, options))
    return Prepared(lambda: jax.block_until_ready(call()), _fetch)


PRECISIONS = {"highest": "highest", "tf32": "tensorfloat32"}


def _fetch(result: Any) -> dict[str, np.ndarray]:
    maps = result if isinstance(result, dict) else {"map": result}
    return {name: np.asarray(values, _least_single(values.dtype)) for name, values in maps.items()}


def _least_single(dtype: Any) -> Any:
    """NumPy has no bfloat16."""
    return np.float64 if dtype == np.float64 else np.float32


def cost(problem: str, batch: int, method: str, options: dict[str, Any]) -> dict[str, Any]:
    """Model FLOPs and bytes of a case, as its mathematics asks for them."""
    loaded = problems.load(problem, batch)
    return roofline.model_cost(
        _described(loaded, method, problems.options(loaded, options)), len(loaded.images)
    )


def _described(loaded: Loaded, name: str, options: dict[str, Any]) -> Any:
    """The batch's program without rewrites, as a jaxpr."""
    chosen = method(name, options)
    model = network(loaded.problem)
    explain = jaxsal.explainer(model.apply, chosen, rewrite=False)
    arguments = unflatten(loaded.weights), loaded.images[:1], loaded.targets[:1]

    def program(variables: Any, images: Any, targets: Any) -> Any:
        return explain(variables, images, targets, key=jax.random.key(0))

    return jax.make_jaxpr(program)(*arguments).jaxpr


def measure(precision: str, toy: bool) -> dict[str, Any]:
    """The device's peak rates at a precision of `PRECISIONS`."""
    with jax.default_matmul_precision(PRECISIONS[precision]):
        return roofline.peak_rates(toy)


def describe(problem: str, batch: int, method_name: str, options: dict[str, Any]) -> dict[str, Any]:
    """What jaxsal says of a case: plan, bytes, FLOPs."""
    loaded = problems.load(problem, batch)
    chosen = method(method_name, problems.options(loaded, options))
    explain = jaxsal.explainer(network(loaded.problem).apply, chosen)
    said = explain.describe(
        unflatten(loaded.weights), loaded.images, loaded.targets, key=jax.random.key(0)
    )
    return {name: said[name] for name in ("images", "chunk", "compile_seconds", "flops", "bytes")}


def create(problem: str, batch: int, folder: str) -> dict[str, Any]:
    """Writes a problem of `PROBLEMS` to a folder."""
    chosen = problems.PROBLEMS[problem]
    problems.save(chosen, weights(chosen), batch, problems.Path(folder))
    return {}


def peak() -> float:
    """The most bytes held at a time on the device, or on a CPU by the process."""
    statistics = jax.local_devices()[0].memory_stats()
    return float(statistics["peak_bytes_in_use"]) if statistics else peak_resident()


if __name__ == "__main__":
    serve(
        prepare,
        about=provenance.describe,
        peak=peak,
        extra={
            "create": create,
            "cost": cost,
            "describe": describe,
            "ceilings": measure,
        },
    )
