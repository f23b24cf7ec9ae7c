"""A cache of jitted programs, shared by all explainers while their functions are alive."""

import functools
import logging
import weakref
from collections.abc import Hashable

import jax

from jaxsal.compiler.callables import references
from jaxsal.compiler.memory import mappings_taken
from jaxsal.compiler.program import Schedule, Spec, batch
from jaxsal.types import Tree

_LOG = logging.getLogger(__name__)

MOST = 512
"""Size of the cache; the oldest program is dropped first."""
CROWDED = 0.8
"""The share of the process's memory mappings beyond which older programs are dropped."""
KEPT = 8
"""The newest programs, which stay: it may be others' that take the mappings."""


def compiled(spec: Spec, schedule: Schedule, *, inline: bool = False) -> jax.stages.Wrapped:
    """The jitted program `(shared, rows) -> results`, one for all explainers of equal arguments.

    It refers to functions weakly, and goes with the first of them: what a model closes over is kept
    no longer than `jax.jit` would keep it. What was compiled of it lies in JAX's own caches, which
    `jax.clear_caches` empties.

    Args:
        spec, schedule: what the program computes, and how it is laid out.
        inline: whether it becomes a part of the program that calls it, rather than a call there.
    """
    key = spec, schedule, inline
    found = _PROGRAMS.get(key)
    if found is None:
        forget = functools.partial(_forget, key)
        used = references(spec.parts) + (references(spec.params) if spec.params else [])
        watched = [weakref.ref(each.referent(), forget) for each in used]
        _make_room()
        found = _PROGRAMS[key] = _jitted(spec, schedule, inline), watched
    return found[0]


_PROGRAMS: dict[Hashable, tuple[jax.stages.Wrapped, list[weakref.ref]]] = {}


def _make_room() -> None:
    """Drops the oldest programs: those beyond `MOST`, and half of all where mappings run short.

    That is logged and no warning: nothing is wrong, and a warning may be made an error.
    """
    old, taken = list(_PROGRAMS), 0.0
    drop = max(0, len(old) + 1 - MOST)
    if len(old) >= KEPT and (taken := mappings_taken()) > CROWDED:
        drop = max(1, min(len(old) // 2, len(old) + 1 - KEPT))
    for key in old[:drop]:
        _PROGRAMS.pop(key, None)
    if taken > CROWDED:
        _LOG.warning(
            "%.0f%% of the memory mappings that a process may have are in use: %d of %d older "
            "compiled programs are dropped, and compiled again where they are called",
            *(100 * taken, drop, len(old)),
        )


def _jitted(spec: Spec, schedule: Schedule, inline: bool) -> jax.stages.Wrapped:
    def saliency(shared: Tree, rows: Tree) -> Tree:
        return batch(spec, schedule, shared, rows)

    if schedule.home is None:
        return jax.jit(saliency, inline=inline)
    # One program for arrays that are committed to the device, for others, and for NumPy's.
    return jax.jit(saliency, inline=inline, in_shardings=schedule.home)


def _forget(key: Hashable, _: object) -> None:
    _PROGRAMS.pop(key, None)
