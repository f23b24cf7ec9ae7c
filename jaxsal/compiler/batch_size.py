"""How many evaluations are in flight at a time: as given, or as many as pay and fit in memory."""

import math
from collections.abc import Hashable
from typing import NamedTuple

import jax
from jax.sharding import Sharding

from jaxsal.compiler import checks, memory, processes
from jaxsal.compiler.placement import Placement
from jaxsal.compiler.plan import (
    CAPS,
    ONE_IMAGE,
    ONE_WINDOW,
    TEMPORARIES_LIMIT,
    TEMPORARIES_TARGET,
    WINDOWS_CAPS,
    Plan,
    limit_temporaries,
    next_power_of_two,
    plan,
    scale_down,
    scale_up,
)
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import Schedule
from jaxsal.compiler.programs import compiled
from jaxsal.types import ArrayOrShape, Tree

CompilerOptions = dict[str, str | bool | int | float]

DRAFT: CompilerOptions = {"xla_backend_optimization_level": 0}
"""Compiler options that halve the time for a CPU, and leave the memory of a program the same."""


class Placed(NamedTuple):
    """A call and its devices; `shared` are the arrays that all chunks use, which lie there."""

    call: Call
    placement: Placement
    shared: dict[str, Tree]

    def schedule(self, plan: Plan) -> Schedule:
        """How the program of one chunk is laid out."""
        call, placement = self.call, self.placement
        return Schedule(
            call.class_chunk(plan),
            plan.chunk,
            platform=placement.platform,
            sharding=placement.rows if placement.devices > 1 else None,
            home=placement.rows if placement.mesh.size == 1 else None,
        )


class Size(NamedTuple):
    """How a call is cut into chunks.

    Attributes:
        evaluations: in flight on one device.
        plan: of this call.
        key: the calls that share it; None where it was given.
        new: whether nothing has run at this size.
    """

    evaluations: int
    plan: Plan
    key: Hashable = None
    new: bool = False


class Footprint(NamedTuple):
    """Bytes on one device: a program's, its temporaries' among them, one row's, one result's.

    A row is an image with all that has an entry an image: its map, or its maps.
    """

    program: float
    temporaries: float
    row: float
    result: float


class BatchSize:
    """How many evaluations are in flight: the number given, or under "auto" a measured one."""

    def __init__(
        self, batch_size: object, *, points: bool, windows: bool, bound: int, varies: bool
    ) -> None:
        """A batch size, checked.

        Args:
            batch_size: evaluations in flight on one device, or "auto".
            points: whether a method evaluates several points of an image, as many as we say.
            windows: whether these are windows at the same places of all images.
            bound: the points that it evaluates at a time if we do not say.
            varies: whether images need different numbers of them.
        """
        self._given = checks.check_batch_size(batch_size)
        self._points, self._windows, self._bound, self._varies = points, windows, bound, varies
        self._found: dict[Hashable, int] = {}
        self._measured: dict[Hashable, Footprint] = {}

    def of(self, placed: Placed) -> Size:
        """The size of a call's chunks; under "auto" a new kind of call is compiled and measured."""
        if self._given != "auto":
            return Size(int(self._given), self._plan(placed, int(self._given)))
        most = self._most(placed)
        start = self._plan(placed, most)
        key = self._key(placed, start)
        if new := key not in self._found:
            self._found[key] = self._fitting(placed, most)
        evaluations = self._found[key]
        here = start if evaluations == most else self._plan(placed, evaluations)
        return Size(evaluations, here, key, new)

    def halved(self, placed: Placed, size: Size, error: Exception) -> Size | None:
        """The next half of a size whose chunks are smaller; None where the error is to be raised.

        Of several maps of an image none are, once one image is in flight.
        """
        if size.key is None or not is_exhausted(error):
            return None
        if not placed.placement.rows.is_fully_addressable:  # the others go on with this program
            return None
        evaluations = size.evaluations
        while (evaluations := evaluations // 2) > 0:
            smaller = self._plan(placed, evaluations)
            if smaller != size.plan:
                self._found[size.key] = evaluations
                return size._replace(evaluations=evaluations, plan=smaller)
        return None

    def whole(self, call: Call, placement: Placement | None = None) -> Schedule:
        """The batch as one program: under "auto" vmapped whole, else a `lax.map` of that size.

        In a trace nothing is measured, and nothing says over how many devices the batch will lie:
        of a whole one XLA gives each device its part, of a loop's turns it has each compute all.

        Args:
            placement: the devices that it is for; None: those that whoever traces it has.
        """
        platform = placement.platform if placement else None
        devices = placement.devices if placement else 1
        where = platform or jax.default_backend()
        automatic = self._given == "auto"
        size = self._cap(where, call, devices) if automatic else int(self._given)
        here = self._plan_on(call, devices, where, size)
        automatic = automatic and not self._one_image(where)
        return Schedule(
            call.class_chunk(here),
            here.chunk,
            None if automatic else here.images,
            platform,
            placement.rows if placement else None,
        )

    def _plan(self, placed: Placed, evaluations: int) -> Plan:
        placement = placed.placement
        return self._plan_on(placed.call, placement.devices, placement.platform, evaluations)

    def _plan_on(self, call: Call, devices: int, platform: str, evaluations: int) -> Plan:
        one_image = self._one_image(platform)
        return plan(
            evaluations,
            call.size,
            devices,
            classes=call.classes,
            maps=call.maps,
            points=self._points,
            bound=max(self._bound, evaluations) if one_image else self._bound,
        )

    def _one_image(self, platform: str) -> bool:
        """Whether "auto" takes one image after another."""
        return self._varies and self._given == "auto" and platform in ONE_IMAGE

    def _cap(self, platform: str, call: Call, devices: int) -> int:
        """Where "auto" starts, whatever the classes: with as many as pay, or one window of all."""
        cap = (ONE_IMAGE if self._one_image(platform) else CAPS).get(platform, 32)
        if not self._windows:
            return cap
        images = next_power_of_two(-(-call.size // devices))
        if images >= ONE_WINDOW.get(platform, math.inf):
            return min(cap, images)
        return WINDOWS_CAPS.get(platform, cap)

    def _most(self, placed: Placed) -> int:
        """Where "auto" starts: with all classes of as many images as there are, or as pay."""
        call, placement = placed.call, placed.placement
        cap = self._cap(placement.platform, call, placement.devices)
        images = -(-call.size // placement.devices)
        several = call.classes > 1 and not self._points
        return call.classes * (min(cap, next_power_of_two(images)) if several else cap)

    def _key(self, placed: Placed, start: Plan) -> Hashable:
        """Which calls share a size: those that start alike, of about as many images."""
        call, placement = placed.call, placed.placement
        several = start.images * placement.devices < call.size
        return placement, start, next_power_of_two(call.size) if several else None, call.signature

    def _fitting(self, placed: Placed, most: int) -> int:
        """As many evaluations as fit in memory, but no more than make the call faster."""
        placement = placed.placement
        free = memory.free_bytes(placement.mesh.local_devices)
        budget = memory.SHARE * processes.least(free, placement.mesh)

        def load(evaluations: int) -> float:
            return self._load(placed, evaluations, budget)

        fitting = scale_down(most, load)
        if self._points and fitting == most:
            target = TEMPORARIES_TARGET.get(placement.platform, 0.0)
            more = scale_up(most, self._temporaries(placed, most), target)
            fitting = more if more == most or load(more) <= 1 else most
        return self._paying(placed, fitting)

    def _paying(self, placed: Placed, fitting: int) -> int:
        """As many of those that fit as keep temporaries below the limit of the platform."""
        limit = float(TEMPORARIES_LIMIT.get(placed.placement.platform, math.inf))
        most = self._plan(placed, fitting).evaluations
        # Kernels are copied: where they alone reach the limit, fewer will hardly be what is run.
        kernels = sum(x.nbytes for x in jax.tree.leaves(placed.shared["params"]))
        options = (DRAFT,) if kernels > limit else ()

        def temporaries(evaluations: int) -> float:
            return self._temporaries(
                placed, fitting if evaluations == most else evaluations, *options
            )

        paying = limit_temporaries(most, temporaries, limit)
        return fitting if paying == most else paying

    def _load(self, placed: Placed, evaluations: int, budget: float) -> float:
        """The memory of a program of so many evaluations, as a share of the budget."""
        call, devices = placed.call, placed.placement.devices
        here = self._plan(placed, evaluations)
        try:
            found = self._footprint(placed, here)
        except jax.errors.JaxRuntimeError as error:
            if not is_exhausted(error) or evaluations == 1:
                raise
            return 2.0  # where compiling alone, trying algorithms, runs out of memory
        need = found.program
        if here.images * devices < call.size:  # of several chunks, all rows and results are there
            need += next_power_of_two(call.size) * (2 * found.result + found.row) / devices
        return need / max(budget, 1)

    def _temporaries(self, placed: Placed, evaluations: int, *options: CompilerOptions) -> float:
        return self._footprint(placed, self._plan(placed, evaluations), *options).temporaries

    def _footprint(self, placed: Placed, here: Plan, *options: CompilerOptions) -> Footprint:
        known = placed.placement, here, placed.call.signature
        if known not in self._measured:
            self._measured[known] = self._measure(placed, here, *options)
        return self._measured[known]

    def _measure(
        self, placed: Placed, here: Plan, options: CompilerOptions | None = None
    ) -> Footprint:
        """The memory of a program; without compiler `options` it is the program that will run."""
        call, placement = placed.call, placed.placement
        size = here.images * placement.devices
        rows = jax.tree.map(lambda x: abstract(x, (size, *x.shape[1:]), placement.rows), call.rows)
        lowered = compiled(call.spec, placed.schedule(here)).lower(placed.shared, rows)
        program = lowered.compile(compiler_options=options)
        return Footprint(
            float(memory.program_bytes(program)),
            float(memory.temporary_bytes(program)),
            _bytes(rows) / size,
            _bytes(lowered.out_info) / size,
        )


def _bytes(arrays: Tree) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(arrays))


def is_exhausted(error: Exception) -> bool:
    """Whether memory ran out."""
    return "RESOURCE_EXHAUSTED" in str(error)


def abstract(
    array: ArrayOrShape, shape: tuple[int, ...], sharding: Sharding | None
) -> jax.ShapeDtypeStruct:
    """An array of another shape and sharding, of which only these and the dtype are known."""
    dtype = jax.dtypes.canonicalize_dtype(array.dtype, allow_extended_dtype=True)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
