"""The classes to explain: how they are given, their range, and as int32 for a program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler.addressable import has_contents, is_addressable, is_on_cpu, parts
from jaxsal.compiler.arrays import as_array, as_text
from jaxsal.types import ArrayOrShape

OF_NO_CLASS = -1
"""Replaces a target that int32 cannot hold: it is not a class either, and gives a NaN map."""


def check_targets(targets: object, count: int) -> tuple[str, ArrayOrShape | None]:
    """How the targets are given: `given`, `predicted` (None) or `all`; and the array, if given.

    Raises:
        TypeError: neither an integer, an array of integers, None nor "all".
        ValueError: another number of targets than of images, or another string.
    """
    if targets is None:
        return "predicted", None
    if isinstance(targets, str):
        if targets != "all":
            raise ValueError(f'targets: expected integers, None or "all", got {targets!r}')
        return "all", None
    if type(targets) is int and 0 <= targets <= np.iinfo(np.int32).max:
        return "given", _constant(targets, count)
    if not isinstance(targets, jax.core.Tracer | jax.ShapeDtypeStruct | jax.Array):
        targets = _integers(targets)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f'targets: expected integers, None or "all", got {as_text(targets)}')
    if targets.shape not in ((), (count,)):
        raise ValueError(
            f"targets: expected one an image, shape ({count},), got the shape {targets.shape}"
        )
    return "given", targets


def are_classes(targets: np.ndarray | jax.Array, classes: int) -> np.ndarray | np.bool_ | jax.Array:
    """Whether each target is a class, elementwise; of NumPy's and JAX's arrays, traced ones too."""
    if classes > _largest(targets.dtype):  # a narrow dtype holds no larger one
        return targets >= 0
    return (targets >= 0) & (targets < classes)


def all_are_classes(targets: np.ndarray | jax.Array, classes: int) -> bool | jax.Array:
    """Whether all targets that this process holds are classes; an accelerator's are asked there."""
    if isinstance(targets, jax.Array) and is_addressable(targets) and not is_on_cpu(targets):
        with jax.ensure_compile_time_eval():
            return _all_are_classes(targets, classes)
    return all(bool(are_classes(part, classes).all()) for part in parts(targets))


def raise_no_class(targets: np.ndarray | jax.Array, classes: int) -> None:
    """Raises ValueError of targets that are no classes, and names the first that lies here."""
    values = np.concatenate([np.zeros(0, int), *map(np.ravel, parts(targets))])
    wrong = values[(values < 0) | (values >= classes)]
    raise ValueError(f"targets: expected classes in [0, {classes}), got {int(wrong[0])}")


def as_rows(targets: ArrayOrShape, count: int) -> ArrayOrShape:
    """int32, one an image; what int32 cannot hold is no class either: -1."""
    if isinstance(targets, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((count,), jnp.int32, sharding=targets.sharding)
    if isinstance(targets, jax.core.Tracer):
        return _as_int32(targets, count)
    if has_contents(targets) and targets.dtype == jnp.int32 and targets.shape == (count,):
        return as_array("targets", targets)
    if isinstance(targets, jax.Array) and not is_addressable(targets):
        return _as_int32(targets, count)
    values = np.asarray(targets).astype(np.int64)  # unsigned ones that do not fit turn negative
    none = (values < 0) | (values > np.iinfo(np.int32).max)
    return np.broadcast_to(np.where(none, OF_NO_CLASS, values).astype(np.int32), (count,))


def _as_int32(targets: jax.Array, count: int) -> jax.Array:
    largest = min(np.iinfo(np.int32).max, _largest(targets.dtype))
    values = jnp.where((targets < 0) | (targets > largest), OF_NO_CLASS, targets.astype(jnp.int32))
    return jnp.broadcast_to(values, (count,))


@functools.cache
def _largest(dtype: np.dtype) -> int:
    return int(jnp.iinfo(dtype).max)


@functools.lru_cache(maxsize=128)
def _constant(target: int, count: int) -> np.ndarray:
    """One target for all images; nobody can write to it, and a call need not copy it."""
    row = np.full(count, target, np.int32)
    row.flags.writeable = False
    return row


def _integers(targets: object) -> np.ndarray:
    try:
        return np.asarray(targets)
    except (ValueError, OverflowError) as error:
        raise TypeError(
            f'targets: expected integers, None or "all", got {as_text(targets)}'
        ) from error


@functools.partial(jax.jit, static_argnums=1)
def _all_are_classes(targets: jax.Array, classes: int) -> jax.Array:
    return jnp.all(are_classes(targets, classes))
