"""What XLA makes of each method's program for accelerators that are not here: predicted times.

Nothing runs. A row is a target (`benchmarks.topologies`), a case and a contender: jaxsal's program;
plain JAX's, or where a method is not written by hand jaxsal's without rewrites; and plain JAX's
with a single rewrite, by which the table of rewrites is filled for accelerators that were never
measured. All numbers are of one chip.

By numbers of chips there are three programs, each with as many images on a chip: an explanation, a
metric and a training step. There a row also says what chips tell each other, how much, and how long
that takes if nothing else goes on meanwhile.

A record is written after each row. One that is unfinished, because it was stopped or left programs
out, is carried on with if the compilers and the models are still those that it names: a row whose
program is still the same is not compiled again, and keeps the commit and the date of its own, if it
was counted by today's `compiled.py` and `cost.py`, or before rows said by which.
"""

import functools
import hashlib
import inspect
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from benchmarks import compiled, plain, problems, programs
from benchmarks.contest import Case
from benchmarks.records import COUNTED_BY, ONLY, PLAIN, UNWRITTEN, Record, Row
from benchmarks.throughput import LOOPS, ONE_PASS, make_case
from benchmarks.topologies import ACCELERATORS, Accelerator, accelerator, without_devices
from benchmarks.worker import Absent
from jaxsal import METRICS
from jaxsal.common import provenance
from jaxsal.compiler.memory import program_bytes
from jaxsal.rewrite import cost
from jaxsal.rewrite.optimize import REWRITES
from jaxsal.training.config import TrainConfig

REST = "bytes_without_estimate"
"""In a row the bytes that a TPU's estimate leaves out; older rows do not say them."""

COMPILERS = ("libtpu", "jax-cuda13-plugin")


class Settings(NamedTuple):
    """What is compiled.

    Attributes:
        targets: names of `benchmarks.topologies.ACCELERATORS`, or files.
        cases: in their order.
        scaled: the cases by numbers of chips.
        chips: the numbers; none: the cases on as many as the target has.
        problems: of which cases; none: of all.
        batch: images on a chip; None: as many as suit the target.
        known: rows of the record that is carried on with (`goes_on`).
        save: takes the record so far.
        rounds: not used: programs do not vary.
    """

    targets: tuple[str, ...]
    cases: "tuple[Asked, ...]"
    scaled: "tuple[Asked, ...]" = ()
    chips: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    batch: tuple[int, int] | None = None
    minutes: float = math.inf
    known: tuple[Row, ...] = ()
    save: Callable[[dict[str, Any]], None] = lambda record: None
    rounds: int = 1


class Asked(NamedTuple):
    """A problem, perhaps with "bfloat16" after it, and a method; or its plain form by each rewrite.

    The method may be a metric or `programs.TRAINING`.

    Attributes:
        rewrites: whether it is plain JAX's program that is compiled, with each rewrite alone.
        batch: images on a chip; None: as of `Settings`.
    """

    problem: str
    method: str
    rewrites: bool = False
    batch: int | None = None


FIRST = ("gradient", "occlusion", "integrated_gradients", "smoothgrad", "grad_cam", "together")
FEW = ("gradient", "integrated_gradients", "occlusion")
PROBLEMS = ("cnn-224", "resnet50-224", "resnet50-224 bfloat16", "vit-224")

CASES = (
    *(Asked("cnn-128", method) for method in FIRST),
    Asked("cnn-128", "gradient", rewrites=True),
    *(Asked("cnn-128", method) for method in (*ONE_PASS, *LOOPS) if method not in FIRST),
    *(Asked(problem, method) for method in FEW for problem in PROBLEMS),
    *(
        Asked(problem, method)
        for problem in PROBLEMS[:-1]
        for method in (*ONE_PASS, *LOOPS)
        if method not in FEW
    ),
)
"""Of a transformer only methods that need no layer with spatial axes."""

SCALED = (
    Asked("cnn-128", "gradient"),
    Asked("cnn-128", "deletion"),
    Asked("study-128", programs.TRAINING, batch=TrainConfig().batch_size),
)
"""A step's batch is the study's, on each chip."""

TOY = (
    Asked("cnn-toy", "gradient"),
    Asked("cnn-toy", "gradient", rewrites=True),
    Asked("vit-toy", "gradient"),
)

TOY_SCALED = (
    Asked("cnn-toy", "gradient"),
    Asked("cnn-toy", "deletion"),
    Asked("study-toy", programs.TRAINING, batch=2),
)

SETTINGS = {
    **{name: Settings((name,), CASES, SCALED) for name in ACCELERATORS},
    "toy": Settings(tuple(ACCELERATORS), TOY, TOY_SCALED, batch=(2, 2)),
}
"""By the target's name; "toy" is all of them, in seconds where no plugin is installed."""


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each target, case and contender, printed as they come."""
    without_devices()
    rows: list[Row] = []
    left_out: list[str] = []
    end = time.monotonic() + 60 * settings.minutes
    asked = itertools.product(settings.targets, settings.chips or (None,))
    for name, chips in asked:
        for row in _rows(settings, name, chips, end):
            if "late" in row:
                left_out.append(", ".join(names(row)))
                continue
            rows.append(row)
            _compare(rows)
            print(row_text(row), flush=True)
            settings.save(_record(settings, rows, left_out, unfinished=True))
    if settings.problems:
        left_out.insert(0, f"not looked at: all problems but {', '.join(settings.problems)}")
    return _record(settings, rows, left_out, unfinished=bool(settings.problems))


def _rows(settings: Settings, name: str, chips: int | None, end: float) -> Iterator[Row]:
    """The rows of a target; those that it is too late for are marked "late".

    So are those of problems that are not asked for, unless a row is known.
    """
    target = accelerator(name)
    try:
        mesh = target.mesh(chips)
    except Absent as error:
        yield {"target": name, "chips": chips or target.chips, "absent": str(error)}
        return
    print(f"{name}: {mesh.size} x {mesh.devices.flat[0].device_kind}, {target.model()}", flush=True)
    known = [row for row in settings.known if {"program", REST} <= row.keys()]
    for case, contender, build in _programs(settings, target, mesh):
        row = {"target": name, "chips": mesh.size, "contender": contender}
        row |= {"case": str(case), **case.row()}
        if not _is_asked(settings, case.problem):
            if names(row) not in map(names, settings.known):
                yield row | {"late": True}
            continue
        late = time.monotonic() > end
        if late and names(row) not in map(names, known):
            yield row | {"late": True}
            continue
        row |= _compiled(row, target, mesh, build, known, late)
        known.append(row)
        yield row


def _record(
    settings: Settings, rows: list[Row], left_out: list[str], *, unfinished: bool
) -> dict[str, Any]:
    """The rows so far; of an unfinished record with those that are known and not looked at.

    What failed is tried again, if its problem is asked for.
    """
    made = _predicted_by(settings) | _scaled_by(settings)
    if not unfinished:
        return {**made, "left_out": left_out, "rows": rows}
    done = set(map(names, rows))
    rest = [
        row
        for row in settings.known
        if names(row) not in done
        and ("program" in row or ("case" in row and not _is_asked(settings, row["problem"])))
    ]
    every = sorted([*rows, *rest], key=_place(settings))
    return {**made, "left_out": left_out, "rows": every, "finished": False}


def _place(settings: Settings) -> Callable[[Row], tuple[int, ...]]:
    """From a row to where it stands in a record: by its target, its chips and its case."""
    cases = [(each.problem, each.method, each.rewrites) for each in cases_of(settings)]
    places: dict[Any, int] = {case: place for place, case in enumerate(cases)}

    def place(row: Row) -> tuple[int, ...]:
        case = row.get("problem"), row.get("method"), row.get("contender", "").startswith(ONLY)
        at = places.get(case, len(places))
        return settings.targets.index(row["target"]), chips_of(row), at

    return place


def _is_asked(settings: Settings, problem: str) -> bool:
    return not settings.problems or problem in settings.problems


def cases_of(settings: Settings) -> tuple[Asked, ...]:
    """The cases of all problems."""
    return settings.scaled if settings.chips else settings.cases


def _predicted_by(settings: Settings) -> dict[str, dict[str, str]]:
    return {
        "models": {name: accelerator(name).model() for name in settings.targets},
        "compilers": provenance.versions(*COMPILERS),
    }


def _scaled_by(settings: Settings) -> dict[str, Any]:
    """Of a record by numbers of chips, these and the model of communication."""
    if not settings.chips:
        return {}
    targets = {name: accelerator(name) for name in settings.targets}
    return {
        "chips": list(settings.chips),
        "communication": {name: each.communication_model() for name, each in targets.items()},
        "chip_memory": {name: each.memory for name, each in targets.items()},
    }


def goes_on(record: Record, settings: Settings) -> bool:
    """Whether a record is unfinished, and what a run with these settings can carry on with."""
    unfinished = not record.get("finished", True) or bool(record.get("left_out"))
    made = _predicted_by(settings)
    return unfinished and made == {key: record.get(key) for key in made}


def names(row: Row) -> tuple[str, ...]:
    """The target, its chips, the case and the contender of a row."""
    return row["target"], f"{chips_of(row)} chips", row.get("case", ""), row.get("contender", "")


def chips_of(row: Row) -> int:
    """The chips of a row's program; older rows, which do not say it, have four of a TPU."""
    count: int = row.get("chips", 4 if row["target"].startswith("tpu") else 1)
    return count


Program = Callable[[], jax.stages.Traced]


def _programs(
    settings: Settings, target: Accelerator, mesh: Mesh
) -> Iterator[tuple[Case, str, Program]]:
    """Each case and contender, and what traces its program."""
    for asked in cases_of(settings):
        case = _case(settings, target, asked)
        ours = functools.partial(programs.by_jaxsal, case, mesh)
        by_hand = functools.partial(programs.by_hand, case, mesh)
        if asked.rewrites:
            for name in REWRITES:
                if programs.replaced(case, mesh, name):
                    yield case, ONLY + name, functools.partial(by_hand, only=name)
            continue
        yield case, "jaxsal", ours
        if settings.chips:
            continue
        if case.method in plain.METHODS:
            yield case, PLAIN, by_hand
        else:
            yield case, UNWRITTEN, functools.partial(ours, rewrite=False)


def for_target(name: str) -> Settings:
    """Everything, for an accelerator by name, or for a GPU by a file (`topologies.accelerator`)."""
    accelerator(name)
    return Settings((name,), CASES, SCALED)


def _case(settings: Settings, target: Accelerator, asked: Asked) -> Case:
    problem, method = asked.problem, asked.method
    one, several = settings.batch or target.batch
    size = problems.PROBLEMS[problem.split()[0]].image[0]
    batch = several if method in (*LOOPS, *METRICS) else one
    steps = {"steps": 64} if method == "integrated_gradients" else {}
    if size > 128:
        batch = max(1, batch // 4)
    return make_case(problem, method, asked.batch or batch, **steps)


def _compiled(
    row: Row, target: Accelerator, mesh: Mesh, build: Program, known: list[Row], late: bool
) -> Row:
    """What there is to say of a row's program, or what is known of the same one."""
    try:
        with target.lowering(mesh):
            traced = build()
            lowered = traced.lower()
        digest = _digest(lowered.as_text())
        for other in known:
            if _program(other) == (row["target"], row["chips"], digest, counted_by()):
                same = {k: v for k, v in other.items() if k not in (*row, "times_as_fast")}
                return same | _predicted(target, row | same)
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
        COUNTED_BY: counted_by(),
        "cycles": program.cycles(),
        "loop_cycles": program.loop_cycles(),
        "bytes": program.bytes_moved(),
        "flops": cost.flops(traced.jaxpr.jaxpr) / mesh.size,
        "temporaries": int(memory.temp_size_in_bytes) if memory else None,
        "memory": program_bytes(done),
        "collectives": program.collectives(),
        "collective_bytes": program.collective_bytes(),
        "operations": program.operations(),
        "without_estimate": target.without_estimate(program),
        REST: target.bytes_without_estimate(program),
        "unknown_loops": program.unknown_loops(),
        "compile_s": round(seconds, 1),
    }
    return made | _predicted(target, row | made)


@functools.cache
def counted_by() -> str:
    """The digest of the code by which cycles, bytes and FLOPs are counted."""
    return _digest("".join(map(inspect.getsource, (compiled, cost))))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _program(row: Row) -> tuple[str, int, str, str]:
    """The target, its chips, the program's digest and that of what counted; older rows fit any."""
    counter = row.get(COUNTED_BY, counted_by())
    return row["target"], chips_of(row), row.get("program", ""), counter


def _predicted(target: Accelerator, row: Row) -> dict[str, float]:
    """Milliseconds of a row's program but for communication, and those of communication."""
    dtype = "bfloat16" if row["problem"].endswith("bfloat16") else "float32"
    counts = row["cycles"], row["bytes"], row["flops"]
    found = {"predicted_ms": target.predicted_ms(*counts, dtype, row[REST])}
    if "collective_bytes" in row:  # older rows do not say what they communicate
        told = target.communication_ms(row["collective_bytes"], row["chips"])
        found["communication_ms"] = told
    return found


def _compare(rows: list[Row]) -> None:
    """`times_as_fast`: plain JAX's predicted time over that of each row of the same case.

    A program with a loop of unknown length is compared with none.
    """
    known = [row for row in rows if row.get("predicted_ms") and not row.get("unknown_loops")]
    plain_ms = {
        (row["target"], row["case"]): row["predicted_ms"]
        for row in known
        if row["contender"] in (PLAIN, UNWRITTEN)
    }
    for row in known:
        other = plain_ms.get((row["target"], row["case"]))
        if other is not None:
            row["times_as_fast"] = round(other / row["predicted_ms"], 3)


def row_text(row: Row) -> str:
    """A row for people."""
    if "absent" in row:
        return f"{row['target']}: absent: {row['absent']}"
    head = f"  {row['chips']:>3} chips  {row['case']:<44}{row['contender']:<38}"
    if "failed" in row:
        return head + "failed: " + row["failed"]
    times = f"{row['times_as_fast']:>8.2f}x plain" if "times_as_fast" in row else " " * 15
    return (
        f"{head}predicted {row['predicted_ms']:>10.3f} ms{times}{row['bytes'] / 1e9:>9.2f} GB"
        f"{row['flops'] / 1e9:>9.0f} GFLOP{row['compile_s']:>7.1f} s{_told(row)}"
    )


def _told(row: Row) -> str:
    """What the chips tell each other, in words."""
    each = row["collectives"].items()
    words = (f"{n} {kind} of {row['collective_bytes'][kind]:,} bytes" for kind, n in each)
    return "".join(f", {word}" for word in words)
