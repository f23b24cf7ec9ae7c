"""A call like the last one goes straight to its program.

To look at each of hundreds of parameters takes as long as the call of `jax.jit` that looks at them
too. So a call whose other arguments are like the last one's is tried as it is: JAX's cache knows
parameters of the same structure, shapes, dtypes and devices, and whatever is not known there, or
fails, is prepared from the start.
"""

import weakref
from collections.abc import Hashable
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax

from jaxsal.compiler import transfer
from jaxsal.compiler.addressable import is_concrete
from jaxsal.compiler.batch_size import Placed
from jaxsal.compiler.placement import Placement
from jaxsal.compiler.prepare import Given, Kind
from jaxsal.compiler.program import Spec
from jaxsal.compiler.programs import known_alone
from jaxsal.types import Params, Tree


class Repeat(NamedTuple):
    """What runs a call like an earlier one.

    Attributes:
        kind, size, place: of the earlier call's arguments.
        spec: of its program.
        placement: where it was computed.
        options: the array options, on the device.
        run: the program, which goes when its functions do.
    """

    kind: Kind
    size: int
    place: Hashable
    spec: Spec
    placement: Placement
    options: Tree
    run: "weakref.ref[Any]"

    def is_like(self, given: Given) -> bool:
        """Whether it is for such arguments, whatever the parameters are."""
        return (
            not given.traced
            and (self.spec.flagged or all(map(is_concrete, jax.tree.leaves(given.rows))))
            and given.size == self.size
            and given.kind == self.kind
            and _place(given.rows) == self.place
        )

    def __call__(self, params: Params, given: Given) -> Tree | None:
        """The results; None where JAX has to look at the parameters anew."""
        if (run := self.run()) is None:
            return None
        shared = {"params": params, "arrays": self.options}
        if given.shared:
            shared |= transfer.put(given.shared, self.placement.replicated)
        rows = transfer.put_rows(given.rows, self.placement.rows)
        # Who waits for the results may give arrays of NumPy, which others could write to meanwhile.
        guard = (
            nullcontext() if self.spec.flagged else jax.transfer_guard_host_to_device("disallow")
        )
        try:
            with known_alone(), guard:
                return run(shared, rows)
        except Exception:  # raised again, or mended, by the call that is prepared from the start
            return None


def repeat(given: Given, placed: Placed, run: Any) -> Repeat | None:
    """What runs a call like this one, which took one program on one device; None where nothing can.

    Parameters that were moved or are not all arrays are looked at in each call.
    """
    call, placement = placed.call, placed.placement
    if placement.mesh.size > 1 or not jax.sharding.get_abstract_mesh().empty:
        return None
    if call.spec.params is not None or placed.shared["params"] is not call.shared["params"]:
        return None
    place, options = _place(given.rows), placed.shared["arrays"]
    return Repeat(given.kind, given.size, place, call.spec, placement, options, weakref.ref(run))


def _place(rows: dict[str, Tree]) -> Hashable:
    """What decides where a batch is computed, beside the parameters; see `place_batch`."""
    image = rows["image"]
    home = getattr(image, "sharding", None), getattr(image, "committed", False)
    return *home, jax.config.jax_default_device, jax.sharding.get_abstract_mesh().empty
