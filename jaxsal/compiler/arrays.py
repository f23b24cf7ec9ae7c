"""What counts as an array: of NumPy, of JAX, of other libraries, and shapes alone."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import jax
import numpy as np

from jaxsal.compiler.addressable import is_concrete
from jaxsal.types import ArrayOrShape

_ARRAYS = (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)


def as_array(name: str, value: Any) -> Any:
    """NumPy's array of an array of another library (Zarr, h5py, PyTorch); other values unchanged.

    Of JAX's arrays of a weak type it makes strongly typed ones: for those JAX would compile anew.

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


def as_arrays(name: str, value: Any) -> Any:
    """`as_array`; of a mapping, a dict of what it makes of each value."""
    if not isinstance(value, Mapping):
        return as_array(name, value)
    return {each: as_array(f"{name}[{each!r}]", one) for each, one in value.items()}


def is_array(value: object) -> TypeGuard[ArrayOrShape]:
    """Whether a value is an array, or the shape of one."""
    known = isinstance(value, _ARRAYS) or hasattr(value, "__array__")
    return known and hasattr(value, "dtype") and hasattr(value, "shape")


def as_text(value: object) -> str:
    """A value in an error message: an array as its dtype and shape, others as their `repr`."""
    if is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
