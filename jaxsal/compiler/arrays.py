"""What counts as an array: of NumPy, of JAX, of other libraries, and shapes alone."""

from typing import Any, TypeGuard

import jax
import numpy as np

from jaxsal.compiler.host import is_concrete
from jaxsal.types import ArrayOrShape

_ARRAYS = (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)


def as_array(name: str, value: Any) -> Any:
    """What can be had as an array (of Zarr, h5py, PyTorch) as NumPy's; all else as it is.

    A weak type is made firm, for which JAX would compile a program of its own.

    Raises:
        TypeError: it cannot.
    """
    if is_concrete(value) and getattr(value, "weak_type", False):  # keys have no such attribute
        return jax.lax.convert_element_type(value, value.dtype)
    if isinstance(value, _ARRAYS) or not hasattr(value, "__array__"):
        return value
    try:
        return np.asarray(value)
    except Exception as error:  # whatever another library raises
        came = f"{type(value).__name__} ({' '.join(str(error).split())[:100]})"
        raise TypeError(f"{name}: expected an array, got {came}") from error


def is_array(value: object) -> TypeGuard[ArrayOrShape]:
    """Whether a value is an array, or the shape of one."""
    known = isinstance(value, _ARRAYS) or hasattr(value, "__array__")
    return known and hasattr(value, "dtype") and hasattr(value, "shape")


def as_text(value: object) -> str:
    """An array by its dtype and shape, anything else by itself."""
    if is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
