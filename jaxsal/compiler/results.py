"""Warnings of results that are not finite: how many, which images, and why."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler import addressable
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import LOGITS, OPEN, RESULTS, UNMET, by_definition
from jaxsal.compiler.warn import warn
from jaxsal.types import Params, Tree

FEW = 5
"""Images and parameters that a warning names."""


def warn_not_finite(flags: jax.Array, results: Tree, call: Call, *, what: str) -> None:
    """Warns of a call's results that are not finite, or not as complete as asked; waits for them.

    Of those that may be NaN by definition only where parameters are broken. Of an array that other
    processes hold parts of, each looks at its own.

    Args:
        flags: uint8 [B], as of `program.Flagged`.
        results: which were flagged; of a dict of maps those that are not finite are named.
        call: what was run.
        what: the results are called.
    """
    found = addressable.numbered(flags)
    if unmet := [row for row, flag in found if flag & UNMET]:
        warn(
            f"tolerance: {what} of {len(unmet)} of {len(found)} images are not as complete as it "
            f"asks ({listed('image', unmet)}); give a larger max_steps or tolerance"
        )
    found = [(row, flag & ~UNMET) for row, flag in found]
    if all(flag in (0, OPEN) for _, flag in found):
        if not any(flag for _, flag in found) or not broken(call.shared["params"].tree):
            return
    what += _of_which_maps(results, call)
    parts = [
        f"{name}: {len(rows)} of {len(found)} images' are not finite ({listed('image', rows)})"
        for name, bits in ((what, RESULTS | OPEN), ("logits", LOGITS))
        if (rows := [row for row, flag in found if flag & bits])
    ]
    warn(f"{'; '.join(parts)}. {_reason(call, dict(found))}")


def _of_which_maps(results: Tree, call: Call) -> str:
    """The names of those maps in a dict whose results are not finite, and ought to be."""
    if not isinstance(call.rows.get("map"), dict):
        return ""
    names = [
        name
        for name, each in results.items()
        if not all(map(addressable.is_finite, jax.tree.leaves(by_definition(call.spec, each)[0])))
    ]
    return f" of {listed('map', list(map(repr, names)))}" if names else ""


def listed(noun: str, names: Sequence[object]) -> str:
    """The first few of some names, with the number of all the others."""
    shown, rest = ", ".join(map(str, names[:FEW])), len(names) - FEW
    more = f" and {rest} more" if rest > 0 else ""
    return f"{noun}{'s' if len(names) > 1 else ''} {shown}{more}"


def broken(params: Params) -> list[str]:
    """The paths of the parameters, as far as this process holds them, that are not finite."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in leaves
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not addressable.is_finite(leaf)
    ]


def _reason(call: Call, flags: dict[int, int]) -> str:
    """Why, as far as the arguments of the call show it."""
    params = call.shared["params"].tree
    if names := broken(params):
        count = len(jax.tree.leaves(params))
        return (
            f"params: {len(names)} of {count} arrays hold values that are not finite "
            f"({listed('array', names)})"
        )
    rows = [row for row, flag in flags.items() if flag][:FEW]
    flat = [row for row in rows if _is_flat(call.rows["image"], row)]
    if flat:
        return (
            "Parameters are finite; of one value everywhere, where a norm or a deviation to "
            f"divide by may be 0: {listed('image', flat)}"
        )
    if not any(flag & LOGITS for flag in flags.values()):
        return (
            "Parameters and images are finite: look for a derivative that is not, of a root, a "
            "norm or a logarithm at 0, or for an overflow in a narrow dtype"
        )
    return (
        "Parameters and images are finite: look for a division by zero, a logarithm or an "
        "overflow in the model"
    )


def _is_flat(images: np.ndarray | jax.Array, row: int) -> bool:
    """Whether an image holds one value; one that other processes hold is not asked."""
    if not addressable.is_addressable(images):
        return False
    image = addressable.rows(images, [row])
    return bool((image == image.flat[0]).all())
