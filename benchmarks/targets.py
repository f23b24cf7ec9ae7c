"""What XLA makes of each method's program for accelerators that are not here: predicted times.

Nothing runs. A row is a target (`benchmarks.topologies`), a case and a contender: jaxsal's program;
plain JAX's, or where a method is not written by hand jaxsal's without rewrites; and plain JAX's
with a single rewrite, by which the table of rewrites is filled for accelerators that were never
measured. All numbers are of one chip.

A record is written after each row. One that is unfinished, because it was stopped or left programs
out, is carried on with if the compilers and the models are still those that it names: a row whose
program is still the same is not compiled again, and keeps the commit and the date of its own.
"""

import functools
import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxsal
from benchmarks import compiled, jax_worker, plain, problems
from benchmarks.contest import Case
from benchmarks.records import ONLY, PLAIN, UNWRITTEN, Record, Row
from benchmarks.throughput import LOOPS, ONE_PASS, RANDOM, make_case
from benchmarks.topologies import ACCELERATORS, Accelerator, accelerator, without_devices
from benchmarks.worker import Absent
from jaxsal.common import provenance
from jaxsal.rewrite import cost
from jaxsal.rewrite.optimize import REWRITES, count_rewrites, optimize

COMPILERS = ("libtpu", "jax-cuda13-plugin")


class Settings(NamedTuple):
    """What is compiled.

    Attributes:
        targets: names of `benchmarks.topologies.ACCELERATORS`, or files.
        cases: in their order.
        batch: images on a chip; None: as many as suit the target.
        known: rows of the record that is carried on with (`goes_on`).
        save: takes the record so far.
        rounds: not used: programs do not vary.
    """

    targets: tuple[str, ...]
    cases: "tuple[Asked, ...]"
    batch: tuple[int, int] | None = None
    minutes: float = math.inf
    known: tuple[Row, ...] = ()
    save: Callable[[dict[str, Any]], None] = lambda record: None
    rounds: int = 1


class Asked(NamedTuple):
    """A problem, perhaps with "bfloat16" after it, and a method; or its plain form by each rewrite.

    Attributes:
        rewrites: whether it is plain JAX's program that is compiled, with each rewrite alone.
    """

    problem: str
    method: str
    rewrites: bool = False


FIRST = ("gradient", "occlusion", "integrated_gradients", "smoothgrad", "grad_cam", "together")
FEW = ("gradient", "occlusion", "integrated_gradients")
PROBLEMS = ("cnn-224", "resnet50-224", "resnet50-224 bfloat16", "vit-224")

CASES = (
    *(Asked("cnn-128", method) for method in FIRST),
    Asked("cnn-128", "gradient", rewrites=True),
    *(Asked(problem, method) for problem in PROBLEMS for method in FEW),
    *(Asked("cnn-128", method) for method in (*ONE_PASS, *LOOPS) if method not in FIRST),
    *(
        Asked(problem, method)
        for problem in PROBLEMS[:-1]
        for method in (*ONE_PASS, *LOOPS)
        if method not in FEW
    ),
)
"""Of a transformer only methods that need no layer with spatial axes."""

TOY = (
    Asked("cnn-toy", "gradient"),
    Asked("cnn-toy", "gradient", rewrites=True),
    Asked("vit-toy", "gradient"),
)

SETTINGS = {
    **{name: Settings((name,), CASES) for name in ACCELERATORS},
    "toy": Settings(tuple(ACCELERATORS), TOY, (2, 2)),
}
"""By the target's name; "toy" is all of them, in seconds where no plugin is installed."""


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each target, case and contender, printed as they come."""
    without_devices()
    rows: list[Row] = []
    left_out: list[str] = []
    end = time.monotonic() + 60 * settings.minutes
    for name in settings.targets:
        for row in _rows(settings, name, end):
            if "late" in row:
                left_out.append(", ".join(names(row)))
                continue
            rows.append(row)
            _compare(rows)
            print(row_text(row), flush=True)
            rest = _not_in(rows, settings.known)
            settings.save(_record(settings, [*rows, *rest], left_out) | {"finished": False})
    return _record(settings, rows, left_out)


def _rows(settings: Settings, name: str, end: float) -> Iterator[Row]:
    """The rows of a target; those that it is too late for are marked "late"."""
    target = accelerator(name)
    try:
        mesh = target.mesh()
    except Absent as error:
        yield {"target": name, "absent": str(error)}
        return
    print(f"{name}: {mesh.size} x {mesh.devices.flat[0].device_kind}, {target.model()}", flush=True)
    known = [row for row in settings.known if {"program", "without_estimate"} <= row.keys()]
    for case, contender, build in _programs(settings, target, mesh):
        row = {"target": name, "contender": contender, "case": str(case), **case.row()}
        late = time.monotonic() > end
        if late and names(row) not in map(names, known):
            yield row | {"late": True}
            continue
        row |= _compiled(row, target, mesh, build, known, late)
        known.append(row)
        yield row


def _record(settings: Settings, rows: list[Row], left_out: list[str]) -> dict[str, Any]:
    return {**_predicted_by(settings), "left_out": left_out, "rows": rows}


def _predicted_by(settings: Settings) -> dict[str, dict[str, str]]:
    return {
        "models": {name: accelerator(name).model() for name in settings.targets},
        "compilers": provenance.versions(*COMPILERS),
    }


def goes_on(record: Record, settings: Settings) -> bool:
    """Whether a record is unfinished, and what a run with these settings can carry on with."""
    unfinished = not record.get("finished", True) or bool(record.get("left_out"))
    made = _predicted_by(settings)
    return unfinished and made == {key: record.get(key) for key in made}


def _not_in(rows: list[Row], known: Sequence[Row]) -> list[Row]:
    """The known rows whose programs have no row yet."""
    done = set(map(names, rows))
    return [row for row in known if "program" in row and names(row) not in done]


def names(row: Row) -> tuple[str, str, str]:
    """The target, the case and the contender of a row."""
    return row["target"], row.get("case", ""), row.get("contender", "")


Program = Callable[[], jax.stages.Traced]


def _programs(
    settings: Settings, target: Accelerator, mesh: Mesh
) -> Iterator[tuple[Case, str, Program]]:
    """Each case and contender, and what traces its program."""
    for problem, method, rewrites in settings.cases:
        case = _case(settings, target, problem, method)
        ours, by_hand = functools.partial(_ours, case, mesh), functools.partial(_plain, case, mesh)
        if rewrites:
            for name in REWRITES:
                if _replaced(case, mesh, name):
                    yield case, ONLY + name, functools.partial(by_hand, only=name)
            continue
        yield case, "jaxsal", ours
        if method in plain.METHODS:
            yield case, PLAIN, by_hand
        else:
            yield case, UNWRITTEN, functools.partial(ours, rewrite=False)


def for_target(name: str) -> Settings:
    """Everything, for an accelerator by name, or for a GPU by a file (`topologies.accelerator`)."""
    accelerator(name)
    return Settings((name,), CASES)


def _case(settings: Settings, target: Accelerator, problem: str, method: str) -> Case:
    one, several = settings.batch or target.batch
    size = problems.PROBLEMS[problem.split()[0]].image[0]
    batch = several if method in LOOPS else one
    steps = {"steps": 64} if method == "integrated_gradients" else {}
    if size > 128:
        batch = max(1, batch // 4)
    return make_case(problem, method, batch, **steps)


def _compiled(
    row: Row, target: Accelerator, mesh: Mesh, build: Program, known: list[Row], late: bool
) -> Row:
    """What there is to say of a row's program, or what is known of the same one."""
    try:
        with target.lowering(mesh):
            traced = build()
            lowered = traced.lower()
        digest = hashlib.sha256(lowered.as_text().encode()).hexdigest()[:16]
        for other in known:
            if (other["target"], other.get("program")) == (row["target"], digest):
                same = {k: v for k, v in other.items() if k not in (*row, "times_as_fast")}
                return same | {"predicted_ms": _predicted_ms(target, row | same)}
        if late:
            return {"late": True}
        begin = time.perf_counter()
        done = lowered.compile()
        seconds = time.perf_counter() - begin
    except Exception as error:  # a program that does not compile is a row that says so
        first = str(error).splitlines() or [""]
        return {"failed": f"{type(error).__name__}: {first[0][:200]}"}
    program, memory = compiled.parse(str(done.as_text())), done.memory_analysis()
    made = {
        "program": digest,
        "cycles": program.cycles(),
        "bytes": program.bytes_moved(),
        "flops": cost.flops(traced.jaxpr.jaxpr) / mesh.size,
        "temporaries": int(memory.temp_size_in_bytes) if memory else None,
        "collectives": program.collectives(),
        "operations": program.operations(),
        "without_estimate": target.without_estimate(program),
        "compile_s": round(seconds, 1),
    }
    return made | {"predicted_ms": _predicted_ms(target, row | made)}


def _predicted_ms(target: Accelerator, row: Row) -> float:
    dtype = "bfloat16" if row["problem"].endswith("bfloat16") else "float32"
    return target.predicted_ms(row["cycles"], row["bytes"], row["flops"], dtype)


def _compare(rows: list[Row]) -> None:
    """`times_as_fast`: plain JAX's predicted time over that of each row of the same case."""
    plain_ms = {
        (row["target"], row["case"]): row["predicted_ms"]
        for row in rows
        if row.get("contender") in (PLAIN, UNWRITTEN) and "predicted_ms" in row
    }
    for row in rows:
        other = plain_ms.get((row["target"], row.get("case")))
        if other is not None and row.get("predicted_ms"):
            row["times_as_fast"] = round(other / row["predicted_ms"], 3)


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
    image = jnp.zeros((1, *problem.image))
    params = jax.eval_shape(model.init, jax.random.key(0), image)
    count = case.batch * mesh.size
    with tempfile.TemporaryDirectory() as folder:
        problems.save(problem, {}, 1, Path(folder))
        options = problems.options(problems.load(folder, 1), case.options)
    whole, spread = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("batch",)))
    return _Given(
        model.apply,
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), params),
        jax.ShapeDtypeStruct((count, *problem.image), jnp.float32, sharding=spread),
        jax.ShapeDtypeStruct((count,), jnp.int32, sharding=spread),
        dtype,
        options,
    )


def _ours(case: Case, mesh: Mesh, rewrite: bool = True) -> jax.stages.Traced:
    given = _given(case, mesh)
    narrow = {"dtype": given.dtype} if given.dtype != jnp.float32 else {}
    method = jax_worker.method(case.method, given.options)
    explain = jaxsal.explainer(given.apply, method, mesh=mesh, rewrite=rewrite, **narrow)
    key = {"key": jax.random.key(0)} if case.method in RANDOM else {}
    return explain.trace(given.params, given.images, given.targets, **key)


def _plain(case: Case, mesh: Mesh, only: str | None = None) -> jax.stages.Traced:
    given = _given(case, mesh)
    one = _one(case, given)
    if only is not None:
        one = optimize(one, only=[only])
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


def _replaced(case: Case, mesh: Mesh, rewrite: str) -> bool:
    """Whether a rewrite finds something in the plain program."""
    given = _given(case, mesh)
    image = jax.ShapeDtypeStruct(given.images.shape[1:], given.images.dtype)
    target = jax.ShapeDtypeStruct((), jnp.int32)
    args = given.params, image, target, jax.eval_shape(lambda: jax.random.key(0))
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args[0])
    return bool(count_rewrites(_one(case, given), params, *args[1:], only=[rewrite])[rewrite])


def row_text(row: Row) -> str:
    """A row for people."""
    if "absent" in row:
        return f"{row['target']}: absent: {row['absent']}"
    head = f"  {row['case']:<44}{row['contender']:<38}"
    if "failed" in row:
        return head + "failed: " + row["failed"]
    times = f"{row['times_as_fast']:>8.2f}x plain" if "times_as_fast" in row else " " * 15
    return (
        f"{head}predicted {row['predicted_ms']:>10.3f} ms{times}{row['bytes'] / 1e9:>9.2f} GB"
        f"{row['flops'] / 1e9:>9.0f} GFLOP{row['compile_s']:>7.1f} s"
    )
