"""`describe`: the plan of a call, its cost, and what was rewritten."""

import collections
import dataclasses
import functools
import time
from typing import Any

import jax

from jaxsal.compiler import memory
from jaxsal.compiler.batch_size import abstract
from jaxsal.compiler.execute import Executor
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import Schedule, axes_read, batch, example
from jaxsal.rewrite.cost import flops
from jaxsal.rewrite.notes import Note, collect_notes
from jaxsal.rewrite.optimize import count_rewrites
from jaxsal.rewrite.split_at_layer import LAYER
from jaxsal.types import Tree


def program(call: Call, execute: Executor) -> jax.stages.Compiled:
    """The program of as many images as are on the devices at a time, compiled once more."""
    placement, (here, schedule) = execute.placement(call), execute.plan(call)
    size = here.images * placement.devices
    shared, row = _abstract(call, execute)
    rows = jax.tree.map(lambda x: abstract(x, (size, *x.shape), placement.rows), row)
    with placement.context():
        whole = jax.jit(functools.partial(batch, call.spec, schedule))
        return whole.lower(shared, rows).compile()


def axes_of(call: Call) -> tuple[int, ...] | None:
    """The image's spatial axes as the call's functions read them; None where nothing says."""
    return axes_read(call.spec, call.shared, _row(call))


def _abstract(call: Call, execute: Executor) -> tuple[Tree, Tree]:
    """What the images share, on its devices, and one row, by their shapes."""
    replicated = execute.placement(call).replicated
    shared = jax.tree.map(lambda x: abstract(x, x.shape, replicated), call.shared)
    return shared, _row(call)


def _row(call: Call) -> Tree:
    return jax.tree.map(lambda x: abstract(x, x.shape[1:], None), call.rows)


def layers(call: Call) -> list[str]:
    """The values that class activation maps are made of, in words; nothing is compiled."""
    with collect_notes() as notes:
        jax.eval_shape(
            functools.partial(example, call.spec, Schedule(call.spec.classes)),
            call.shared,
            _row(call),
        )
    return _layers(notes)


def _layers(notes: list[Note]) -> list[str]:
    return list(dict.fromkeys(note.what for note in notes if note.rewrite == LAYER))


def describe(call: Call, execute: Executor) -> dict[str, Any]:
    """Compiles the call's program once more, and says what there is to know about it.

    Returns:
        platform, devices: where it runs.
        spatial_axes: of one image, as methods read them; None where nothing says.
        images, class_chunk, chunk: images on a device at a time, classes of each (under "all")
            and points of each.
        compile_seconds: tracing, lowering and compiling one program.
        flops: of the batch, in convolutions and products as the model and method define them, the
            same with rewrites and without.
        bytes: arguments, outputs and temporaries of one program on one device.
        rewritten: what was rewritten, and how often; what another rewrite makes superfluous, too.
            Of occlusion, what share of the score's FLOPs a window costs.
        passed_over: what looked like it and was left alone, and why. Of occlusion, the operations
            from which on the whole is computed for every window.
        layers: the values that class activation maps are made of: type, operation and place.
    """
    placement, (here, schedule) = execute.placement(call), execute.plan(call)
    spec = call.spec
    shared, row = _abstract(call, execute)
    with collect_notes() as notes:
        start = time.perf_counter()
        compiled = program(call, execute)
        seconds = time.perf_counter() - start
    one = functools.partial(example, spec, schedule)
    unwritten = dataclasses.replace(spec, rewrite=False, flagged=False)
    plain = functools.partial(example, unwritten, Schedule(spec.classes))
    rewritten = count_rewrites(one, shared, row, platform=schedule.platform) if spec.rewrite else {}
    rewritten = {name: count for name, count in rewritten.items() if count}
    done = [str(note) for note in notes if note.done and note.rewrite != LAYER]
    rewritten |= collections.Counter(done)
    return {
        "platform": schedule.platform,
        "devices": placement.devices,
        "spatial_axes": axes_of(call),
        "images": here.images,
        "class_chunk": here.class_chunk,
        "chunk": here.chunk,
        "compile_seconds": seconds,
        "flops": flops(jax.make_jaxpr(plain)(shared, row).jaxpr) * call.size,
        "bytes": memory.program_bytes(compiled),
        "rewritten": rewritten,
        "passed_over": list(dict.fromkeys(str(note) for note in notes if not note.done)),
        "layers": _layers(notes),
    }
