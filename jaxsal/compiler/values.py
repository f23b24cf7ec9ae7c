"""Checks of values: images are finite, targets are classes of the model."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler.addressable import has_contents, is_addressable, is_finite, is_on_cpu
from jaxsal.compiler.targets import all_are_classes, raise_no_class
from jaxsal.types import ArrayOrShape


def check_values(
    images: ArrayOrShape, targets: ArrayOrShape | None, classes: int
) -> Callable[[], None]:
    """Checks concrete images and targets: finite values, and classes.

    What lies in host memory is looked at now; what lies on an accelerator there, after what was
    dispatched before. To ask for that answer waits for the device, so that a call asks when it has
    dispatched its own program.

    Returns:
        `verify()`, which raises what the device found.

    Raises:
        ValueError: a NaN or infinite pixel, or a target outside [0, K); `verify` too.
    """
    found: list[tuple[bool | jax.Array, Callable[[], None]]] = []
    if has_contents(images):
        found.append((_all_finite(images), _raise_not_finite))
    if has_contents(targets):
        fine = all_are_classes(targets, classes)
        found.append((fine, functools.partial(raise_no_class, targets, classes)))

    pending = [(fine, fail) for fine, fail in found if fine is not True]
    for fine, fail in pending:
        if isinstance(fine, bool):
            fail()
        else:
            fine.copy_to_host_async()

    def verify() -> None:
        for fine, fail in pending:
            if not fine:
                fail()

    return verify


def _raise_not_finite() -> None:
    raise ValueError("images: expected finite values, got NaN or infinity")


def _all_finite(images: np.ndarray | jax.Array) -> bool | jax.Array:
    """Whether all values are finite: known, or an array on the accelerator that looks."""
    if isinstance(images, np.ndarray) or (is_addressable(images) and is_on_cpu(images)):
        return is_finite(images)  # nothing to compile
    with jax.ensure_compile_time_eval():  # also where a program is traced that closes over them
        return _on_device(images)


@jax.jit
def _on_device(images: jax.Array) -> jax.Array:
    return jnp.isfinite(images).all()
