"""Values that nobody asked for, to be put in the place of any argument."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (8, 8, 1)
OWN = "from inside the user's function"
"""An error of the user's own, which is passed on."""


def good(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *SHAPE)).astype(np.float32)


class Liar:
    """Says that it is an array."""

    shape = (3, *SHAPE)
    dtype = np.dtype(np.float32)
    ndim = 4

    def __len__(self) -> int:
        return 3


class Raising:
    def __init__(self, *_: Any, **__: Any) -> None:
        _raising()


def _ragged() -> list[Any]:
    return [np.zeros((2, 1)), np.zeros((1, 1)), None]


ANY: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "text": lambda: "text",
    "empty text": lambda: "",
    "bytes": lambda: b"\x00\xff",
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "huge": lambda: 2**70,
    "half": lambda: 0.5,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "true": lambda: True,
    "complex": lambda: 1j,
    "empty list": lambda: [],
    "empty dict": lambda: {},
    "tuple": lambda: (1, 2, 3, 4, 5),
    "object": object,
    "function": lambda: lambda *a, **k: None,
    "raising function": lambda: _raising,
    "type": lambda: Raising,
    "liar": Liar,
    "ragged": _ragged,
}
"""In the place of anything."""

ARRAYS: dict[str, Callable[[], Any]] = {
    "scalar": lambda: np.float32(1),
    "rank 1": lambda: np.ones(3, np.float32),
    "rank 2": lambda: np.ones((3, 8), np.float32),
    "rank 3": lambda: np.ones((3, 8, 8), np.float32),
    "rank 6": lambda: np.ones((3, 8, 8, 1, 1, 1), np.float32),
    "no example": lambda: np.ones((0, *SHAPE), np.float32),
    "no height": lambda: np.ones((3, 0, 8, 1), np.float32),
    "no channel": lambda: np.ones((3, 8, 8, 0), np.float32),
    "two channels": lambda: np.ones((3, 8, 8, 2), np.float32),
    "another size": lambda: np.ones((3, 9, 7, 1), np.float32),
    "another count": lambda: np.ones((5, *SHAPE), np.float32),
    "integers": lambda: np.ones((3, *SHAPE), np.int32),
    "bytes": lambda: np.ones((3, *SHAPE), np.uint8),
    "booleans": lambda: np.ones((3, *SHAPE), bool),
    "complex": lambda: np.ones((3, *SHAPE), np.complex64),
    "objects": lambda: np.full((3, *SHAPE), None, object),
    "texts": lambda: np.full((3, *SHAPE), "a"),
    "dates": lambda: np.zeros((3, *SHAPE), "datetime64[s]"),
    "records": lambda: np.zeros((3, *SHAPE), [("a", "f4")]),
    "not a number": lambda: np.full((3, *SHAPE), np.nan, np.float32),
    "infinite": lambda: np.full((3, *SHAPE), np.inf, np.float32),
    "one nan": lambda: np.where(np.arange(192).reshape(3, *SHAPE) == 77, np.nan, 1.0),
    "half": lambda: np.ones((3, *SHAPE), np.float16),
    "double": lambda: np.ones((3, *SHAPE), np.float64),
    "jax integers": lambda: jnp.ones((3, *SHAPE), jnp.int32),
    "jax nan": lambda: jnp.full((3, *SHAPE), jnp.nan),
    "keys": lambda: jax.random.split(jax.random.key(0), 3),
    "many targets": lambda: np.arange(7),
    "high targets": lambda: np.array([0, 1, 99]),
    "low targets": lambda: np.array([0, 1, -1]),
    "huge targets": lambda: np.array([0, 1, 2**40]),
    "float targets": lambda: np.array([0.0, 1.0, 2.0]),
    "shapes only": lambda: jax.ShapeDtypeStruct((3, *SHAPE), jnp.int32),
    "masked": lambda: np.ma.masked_all((3, *SHAPE)),
}
"""In the place of an array."""

EVERY = {**{f"any {k}": v for k, v in ANY.items()}, **{f"array {k}": v for k, v in ARRAYS.items()}}


def _raising(*_: Any, **__: Any) -> Any:
    raise RuntimeError(OWN)
