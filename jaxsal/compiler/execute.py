"""Running a call: a host loop over chunks; inside a trace, a part of the user's program."""

import weakref
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxsal.compiler import chunks, frameworks, transfer
from jaxsal.compiler.batch_size import BatchSize, Placed, Size
from jaxsal.compiler.parameters import Copies
from jaxsal.compiler.placement import Placement, place_batch
from jaxsal.compiler.plan import Plan
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import Schedule, Spec
from jaxsal.compiler.programs import compiled
from jaxsal.compiler.progress import Bar
from jaxsal.rewrite.program import explicitly_sharded
from jaxsal.types import Params, Tree

Program = Callable[[Tree, Tree], Tree]
"""A function of what all rows share, and of rows."""


MANY = 2**30
"""Images: more than there are devices."""


class Executor:
    """Runs calls on the devices, or as a part of a program that is being traced."""

    def __init__(
        self, batch_size: BatchSize, mesh: object, bar: Callable[[int], Bar] | None = None
    ) -> None:
        self._batch_size, self._bar = batch_size, bar
        self._mesh = check_mesh(mesh)
        self._options = Copies()
        self._last: _Last | None = None

    def __call__(self, call: Call) -> Tree:
        with frameworks.pure():
            return self.program(call)(call.shared, call.rows) if call.traced else self._run(call)

    def _run(self, call: Call) -> Tree:
        """Dispatches the program for each chunk without waiting for results."""
        placement = self.placement(call)
        with placement.context():
            placed = self.placed(call, placement)
            size, run = self._size_and_program(placed)
            while True:
                try:
                    results = self._loop(placed, size, run)
                    break
                except jax.errors.JaxRuntimeError as error:
                    smaller = self._batch_size.halved(placed, size, error)
                    if smaller is None:
                        raise
                    self._last, size = None, smaller
                    run = compiled(call.spec, placed.schedule(size.plan))
        return placement.to_caller_mesh(results)

    def _size_and_program(self, placed: Placed) -> tuple[Size, Program]:
        """How a call is cut into chunks, and their program: as the last call, if it was alike."""
        last = self._last  # read once: other threads call too
        if last is not None and last.is_like(placed) and (run := last.run()) is not None:
            return last.size, run
        call, size = placed.call, self._batch_size.of(placed)
        run = compiled(call.spec, placed.schedule(size.plan))
        if not size.new:
            kind = call.spec, call.signature
            self._last = _Last(*kind, call.size, placed.placement, size, weakref.ref(run))
        return size, run

    def _loop(self, placed: Placed, cut: Size, run: Program) -> Tree:
        """Runs the chunks of a plan; where its size is new, the first is waited for."""
        call, placement = placed.call, placed.placement
        size = cut.plan.images * placement.devices
        parts: list[Tree] = []
        with (
            nullcontext() if self._bar is None or size >= call.size else self._bar(call.size) as bar
        ):
            for start in range(0, call.size, size):
                rows = chunks.take(call.rows, start, size)
                rows = transfer.put_rows(rows, placement.rows)
                parts.append(run(placed.shared, rows))
                if cut.new and start == 0:
                    jax.block_until_ready(parts)
                if bar is not None:  # the chunk before: the device has the next one meanwhile
                    jax.block_until_ready(parts[-2:-1])
                    bar.update(min(size, start))
            if bar is not None:
                jax.block_until_ready(parts)
                bar.update(call.size - start)
        if size == call.size:
            return parts[0]
        even = call.size % placement.devices == 0
        return chunks.concatenate(
            parts, call.size, placement.rows if even else placement.replicated
        )

    def program(self, call: Call) -> Callable[[Tree, Tree], Tree]:
        """The batch as a function `(shared, rows) -> results` to trace, over the mesh if given."""
        placement = None if self._mesh is None else self.placement(call)
        devices = 1 if placement is None else placement.devices
        schedule = self._batch_size.whole(call, placement)
        size = -(-call.size // devices) * devices

        def saliency(shared: Tree, rows: Tree) -> Tree:
            run = compiled(call.spec, schedule, inline=True)
            return _in_trace(run if size == call.size else _padded(run, size), shared, rows)

        return saliency

    def place(self, params: Params) -> Placement:
        """Where a call of many images is computed, as long as these lie on no device."""
        return place_batch(self._mesh, jax.ShapeDtypeStruct((MANY,), np.float32), params)

    def placement(self, call: Call) -> Placement:
        """Where a call is computed."""
        return call.params.placement(self._mesh, call.rows["image"], call.shared["params"])

    def placed(self, call: Call, placement: Placement) -> Placed:
        """A call with its parameters, options and key on the devices."""
        options = call.shared["arrays"]
        shared = {
            "params": call.params.on(placement, call.shared["params"]),
            "arrays": self._options(options, placement, options),
        }
        if "key" in call.shared:
            shared["key"] = transfer.put(call.shared["key"], placement.replicated)
        return Placed(call, placement, shared)

    def plan(self, call: Call) -> tuple[Plan, Schedule]:
        """The plan of a call, and its program's schedule; under "auto" this may compile."""
        placement = self.placement(call)
        with placement.context():
            placed = self.placed(call, placement)
            here = self._batch_size.of(placed).plan
            return here, placed.schedule(here)


class _Last(NamedTuple):
    """What the last call was found to need, for calls alike.

    Attributes:
        spec, signature: of the call; `Prepare` gives calls alike the same objects.
        images: of the call.
        placement: where it was computed.
        size: of its chunks.
        run: their program, which goes when its functions do.
    """

    spec: Spec
    signature: Hashable
    images: int
    placement: Placement
    size: Size
    run: "weakref.ref[Program]"

    def is_like(self, placed: Placed) -> bool:
        call = placed.call
        same = call.spec is self.spec and call.signature is self.signature
        return same and call.size == self.images and placed.placement == self.placement


def check_mesh(mesh: object) -> Mesh | None:
    """`mesh`, a `jax.sharding.Mesh` or None.

    Raises:
        TypeError: neither.
    """
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a jax.sharding.Mesh or None, got {mesh!r}")
    return mesh


def _padded(run: Program, size: int) -> Program:
    """A program of so many rows, for fewer: the last one is repeated, and its results are cut."""

    def padded(shared: Tree, rows: Tree) -> Tree:
        count = rows["image"].shape[0]
        more = jax.tree.map(lambda x: chunks.gather(x, 0, size), rows)
        return jax.tree.map(lambda x: x[:count], run(shared, more))

    return padded


def _in_trace(run: Program, shared: Tree, rows: Tree) -> Tree:
    """A program inside another one; of arrays on a mesh of explicit axes, an automatic part."""
    types = map(jax.typeof, jax.tree.leaves((rows, shared)))
    spread = next(filter(explicitly_sharded, types), None)
    if spread is None:
        return run(shared, rows)
    image = jax.typeof(rows["image"])
    axes = image.sharding.spec[:1] if explicitly_sharded(image) else ()
    out = NamedSharding(spread.sharding.mesh, PartitionSpec(*axes))
    return jax.sharding.auto_axes(run, out_sharding=out)(shared, rows)
