"""What becomes of a call: its plan, its cost, and what was rewritten on the way."""

import dataclasses
import functools
import time
from typing import Any

import jax

from jaxsal.compiler import memory
from jaxsal.compiler.execute import Executor, abstract
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import batch, example
from jaxsal.rewrite.cost import flops
from jaxsal.rewrite.fast import rewrites
from jaxsal.rewrite.log import noted


def describe(call: Call, execute: Executor) -> dict[str, Any]:
    """Compiles the call's program once more, and says what there is to know about it.

    Returns:
        platform, devices: where it runs.
        images, chunk: images on a device at a time, and points of each at a time.
        compile_seconds: tracing, lowering and compiling one program.
        flops: of the batch, in convolutions and products as the model and method define them.
        bytes: arguments, outputs and temporaries of one program on one device.
        rewritten: what was rewritten, and how often.
        passed_over: what looked like it and was left alone, and why.
    """
    placement, here = execute.placement(call), execute.plan(call)
    spec = execute.spec(call, placement, here)
    size = here.images * placement.devices
    shared = jax.tree.map(lambda x: abstract(x, x.shape, placement.replicated), call.shared)
    rows = jax.tree.map(lambda x: abstract(x, (size, *x.shape[1:]), placement.rows), call.rows)
    row = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), rows)
    with noted() as notes, placement.context():
        start = time.perf_counter()
        compiled = jax.jit(functools.partial(batch, spec)).lower(shared, rows).compile()
        seconds = time.perf_counter() - start
    one = functools.partial(example, spec)
    plain = functools.partial(example, dataclasses.replace(spec, rewrite=False, chunk=1))
    rewritten = rewrites(one, shared, row, platform=spec.platform) if spec.rewrite else {}
    rewritten = {name: count for name, count in rewritten.items() if count}
    for each in dict.fromkeys(str(note) for note in notes if note.done):
        rewritten[each] = sum(str(note) == each for note in notes)
    return {
        "platform": spec.platform,
        "devices": placement.devices,
        "images": here.images,
        "chunk": here.chunk,
        "compile_seconds": seconds,
        "flops": flops(jax.make_jaxpr(plain)(shared, row).jaxpr) * call.size,
        "bytes": memory.program_bytes(compiled),
        "rewritten": rewritten,
        "passed_over": list(dict.fromkeys(str(note) for note in notes if not note.done)),
    }
