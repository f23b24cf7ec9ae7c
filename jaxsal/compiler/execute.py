"""Running a call: a host loop over chunks; inside a trace, a part of the user's program."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxsal.compiler import chunks, devices, frameworks, memory
from jaxsal.compiler.devices import Placement
from jaxsal.compiler.plan import CAPS, FILLS, PAYS, Plan, fit, grown, paying, plan
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import Spec
from jaxsal.compiler.programs import compiled

DRAFT = {"xla_backend_optimization_level": 0}
"""Half of the time to compile for a CPU; memory is planned before, and is the same."""


class Executor:
    """Runs calls: it knows the devices, how much fits there, and what lies there already."""

    def __init__(self, batch_size: Any, mesh: Any, *, points: bool, chunk: int) -> None:
        self._batch_size = check_batch_size(batch_size)
        self._mesh = check_mesh(mesh)
        self._points, self._chunk = points, chunk
        self._params, self._arrays = devices.Resident(), devices.Resident()
        self._place = devices.Places()
        self._fitted: dict[Any, int] = {}
        self._measured: dict[Any, Footprint] = {}

    def __call__(self, call: Call) -> Any:
        with frameworks.pure():
            results = self.inside(call) if call.traced else self.outside(call)
        call.verify()  # now that the program is on its way, the device may be waited for
        return results

    def outside(self, call: Call) -> Any:
        """Dispatches one program a chunk, and waits for none of them."""
        placement = self.placement(call)
        with placement.context():
            shared = self._shared(call, placement)
            if self._batch_size == "auto":
                results = self._automatic(call, shared, placement)
            else:
                results = self._loop(call, shared, placement, int(self._batch_size))
        return placement.handed(results)

    def inside(self, call: Call) -> Any:
        """The batch as a part of the program that is being traced."""
        return self.program(call)(call.shared, call.rows)

    def program(self, call: Call) -> Callable[[Any, Any], Any]:
        """The batch as a function `(shared, rows) -> results` to trace, over the mesh if given."""
        spec, size = self.whole(call), call.size
        if self._mesh is not None:
            placement = self.placement(call)
            size = -(-call.size // placement.devices) * placement.devices
            spec = dataclasses.replace(spec, platform=placement.platform, sharding=placement.rows)

        def saliency(shared: Any, rows: Any) -> Any:
            if self._mesh is not None:
                rows = jax.tree.map(lambda x: chunks.gather(x, 0, size), rows)
            results = _in_trace(spec, shared, rows)
            if size == call.size:
                return results
            return jax.tree.map(lambda x: x[: call.size], results)

        return saliency

    def whole(self, call: Call) -> Spec:
        """The batch as one program: under "auto" vmapped whole, else in turns of `batch_size`."""
        automatic = self._batch_size == "auto"
        size = CAPS.get(jax.default_backend(), 32) if automatic else int(self._batch_size)
        here = self._plan(call, 1, size)
        return dataclasses.replace(
            call.spec,
            images=None if automatic else here.images,
            class_chunk=call.class_chunk(here.class_chunk),
            chunk=here.chunk,
        )

    def placement(self, call: Call) -> Placement:
        return self._place(self._mesh, call.rows["image"], call.shared["params"], call.params)

    def plan(self, call: Call) -> Plan:
        """The plan of this call: under "auto" what fits, which may compile."""
        placement = self.placement(call)
        with placement.context():
            shared = self._shared(call, placement)
            return self._plan(call, placement.devices, self._evaluations(call, shared, placement))

    def spec(self, call: Call, placement: Placement, here: Plan) -> Spec:
        return dataclasses.replace(
            call.spec,
            class_chunk=call.class_chunk(here.class_chunk),
            chunk=here.chunk,
            platform=placement.platform,
            sharding=placement.rows if placement.devices > 1 else None,
        )

    def _plan(self, call: Call, devices: int, evaluations: int) -> Plan:
        return plan(
            evaluations,
            call.size,
            devices,
            classes=call.classes,
            points=self._points,
            bound=self._chunk,
        )

    def _shared(self, call: Call, placement: Placement) -> dict[str, Any]:
        shared = {
            "params": self._params(call.shared["params"], placement),
            "arrays": self._arrays(call.shared["arrays"], placement),
        }
        if "key" in call.shared:
            shared["key"] = devices.put(call.shared["key"], placement.replicated)
        return shared

    def _loop(
        self, call: Call, shared: Any, placement: Placement, evaluations: int, *, wait: bool = False
    ) -> Any:
        here = self._plan(call, placement.devices, evaluations)
        run = compiled(self.spec(call, placement, here))
        size = here.images * placement.devices
        parts = []
        for start in range(0, call.size, size):
            rows = chunks.take(call.rows, start, size)
            rows = devices.put_all(rows, placement.rows)
            parts.append(run(shared, rows))
            if wait and start == 0:
                jax.block_until_ready(parts)
        even = call.size % placement.devices == 0
        return chunks.join(parts, call.size, placement.rows if even else placement.replicated)

    def _automatic(self, call: Call, shared: Any, placement: Placement) -> Any:
        """As many evaluations as fit; where memory runs out all the same, half of them."""
        known = self._fit_key(call, placement)
        first = known not in self._fitted
        evaluations = self._evaluations(call, shared, placement)
        while True:
            try:
                return self._loop(call, shared, placement, evaluations, wait=first)
            except jax.errors.JaxRuntimeError as error:
                if not exhausted(error) or evaluations == 1:
                    raise
                if not placement.rows.is_fully_addressable:  # the others go on with this program
                    raise
            evaluations = self._fitted[known] = evaluations // 2

    def _evaluations(self, call: Call, shared: Any, placement: Placement) -> int:
        if self._batch_size != "auto":
            return int(self._batch_size)
        known = self._fit_key(call, placement)
        if known not in self._fitted:
            free = memory.free_bytes(placement.mesh.local_devices)
            budget = memory.SHARE * devices.agreed(free, placement)
            cap = self._most(call, placement)

            def load(size: int) -> float:
                return self._load(call, shared, placement, size, budget)

            fitted, fill = fit(cap, load), FILLS.get(placement.platform, 0.0)
            if self._points and fitted == cap:
                more = grown(cap, self._temporaries(call, placement, cap), fill)
                fitted = more if more == cap or load(more) <= 1 else cap
            self._fitted[known] = self._paying(call, shared, placement, fitted)
        return self._fitted[known]

    def _paying(self, call: Call, shared: Any, placement: Placement, fitted: int) -> int:
        """No more evaluations at a time than pay, of those that fit."""
        pays = float(PAYS.get(placement.platform, math.inf))
        most = self._plan(call, placement.devices, fitted).evaluations
        # Kernels are copied: where they alone take what pays, fewer will hardly be what is run.
        kernels = sum(x.nbytes for x in jax.tree.leaves(shared["params"]))
        options = (DRAFT,) if kernels > pays else ()

        def temporaries(evaluations: int) -> float:
            size = fitted if evaluations == most else evaluations
            here = self._plan(call, placement.devices, size)
            return self._footprint(call, shared, placement, here, *options).temporaries

        paid = paying(most, temporaries, pays)
        return fitted if paid == most else paid

    def _most(self, call: Call, placement: Placement) -> int:
        """Where "auto" starts: with all classes of as many images as there are, or as pay."""
        cap = CAPS.get(placement.platform, 32)
        images = -(-call.size // placement.devices)
        return call.classes * (
            cap if self._points or call.classes == 1 else min(cap, _rounded(images))
        )

    def _temporaries(self, call: Call, placement: Placement, evaluations: int) -> float:
        """Those of a program that was measured."""
        here = self._plan(call, placement.devices, evaluations)
        return self._measured[placement, here, call.signature].temporaries

    def _fit_key(self, call: Call, placement: Placement) -> Any:
        here = self._plan(call, placement.devices, self._most(call, placement))
        several = here.images * placement.devices < call.size
        return placement, here, _rounded(call.size) if several else None, call.signature

    def _load(
        self, call: Call, shared: Any, placement: Placement, evaluations: int, budget: float
    ) -> float:
        """The share of the budget that a program of so many evaluations takes."""
        here = self._plan(call, placement.devices, evaluations)
        size = here.images * placement.devices
        try:
            found = self._footprint(call, shared, placement, here)
        except jax.errors.JaxRuntimeError as error:
            if not exhausted(error) or evaluations == 1:
                raise
            return 2.0  # where compiling alone, trying algorithms, runs out of memory
        need = found.program
        if size < call.size:  # of several chunks, all rows and results are held too
            need += _rounded(call.size) * (2 * found.result + found.image) / placement.devices
        return need / max(budget, 1)

    def _footprint(
        self, call: Call, shared: Any, placement: Placement, here: Plan, *options: Any
    ) -> "Footprint":
        known = placement, here, call.signature
        if known not in self._measured:
            self._measured[known] = self._measure(call, shared, placement, here, *options)
        return self._measured[known]

    def _measure(
        self, call: Call, shared: Any, placement: Placement, here: Plan, options: Any = None
    ) -> "Footprint":
        """What a program takes; without `options` of the compiler it is the one that runs."""
        size = here.images * placement.devices
        rows = jax.tree.map(lambda x: abstract(x, (size, *x.shape[1:]), placement.rows), call.rows)
        lowered = compiled(self.spec(call, placement, here)).lower(shared, rows)
        program = lowered.compile(compiler_options=options)
        results = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(lowered.out_info))
        image = rows["image"]
        return Footprint(
            float(memory.program_bytes(program)),
            float(memory.temporary_bytes(program)),
            image.size * image.dtype.itemsize / size,
            results / size,
        )


class Footprint(NamedTuple):
    """Bytes on one device: a program's, its temporaries' among them, one image's, one result's."""

    program: float
    temporaries: float
    image: float
    result: float


def exhausted(error: Exception) -> bool:
    """Whether memory ran out."""
    return "RESOURCE_EXHAUSTED" in str(error)


def check_batch_size(batch_size: Any) -> int | str:
    """`batch_size`, a positive int or "auto".

    Raises:
        TypeError: neither.
        ValueError: less than one, or another string.
    """
    if isinstance(batch_size, str):
        if batch_size != "auto":
            raise ValueError(
                f'batch_size: expected a positive integer or "auto", got {batch_size!r}'
            )
        return batch_size
    if isinstance(batch_size, bool | type) or not hasattr(batch_size, "__index__"):
        raise TypeError(f'batch_size: expected a positive integer or "auto", got {batch_size!r}')
    if int(batch_size) < 1:
        raise ValueError(f'batch_size: expected a positive integer or "auto", got {batch_size}')
    return int(batch_size)


def check_mesh(mesh: Any) -> Any:
    """`mesh`, a `jax.sharding.Mesh` or None.

    Raises:
        TypeError: neither.
    """
    if mesh is not None and not isinstance(mesh, jax.sharding.Mesh):
        raise TypeError(f"mesh: expected a jax.sharding.Mesh or None, got {mesh!r}")
    return mesh


def abstract(array: Any, shape: tuple[int, ...], sharding: Any) -> jax.ShapeDtypeStruct:
    """An array of another shape and sharding, of which only these and the dtype are known."""
    dtype = jax.dtypes.canonicalize_dtype(array.dtype, allow_extended_dtype=True)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _rounded(count: int) -> int:
    """The next power of two: what is found for one number of images serves its neighbours."""
    return 1 << (count - 1).bit_length()


def _in_trace(spec: Spec, shared: Any, rows: Any) -> Any:
    run = compiled(spec, inline=True)
    mesh = jax.typeof(rows["image"]).sharding.mesh
    explicit = jax.sharding.AxisType.Explicit
    if explicit not in mesh.axis_types:
        return run(shared, rows)
    first = jax.typeof(rows["image"]).sharding.spec[0]
    out = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(first))
    return jax.sharding.auto_axes(run, out_sharding=out)(shared, rows)
