"""The nouns of jaxsal: what a model, a score, a method, a combinator and a metric are."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

Tree = Any
"""Any pytree of arrays."""

Params = Tree
"""The parameters of a model."""

ArrayOrShape = jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct
"""An array, or where nothing is computed its shape and dtype alone."""

Image = Float[Array, "*shape"]
"""ONE image, or volume, or signal: no batch axis."""

SpatialAxes = tuple[int, ...]
"""Axes of ONE image along which positions lie, in increasing order; the others hold channels."""

Images = Float[Array, "batch *shape"]
Scalar = Float[Array, ""]
Logits = Float[Array, "classes"]
Target = Int[Array, ""]
Map = Shaped[Array, "..."]
Key = PRNGKeyArray

ArrayValues = npt.ArrayLike | int | float | Sequence[object]
"""What NumPy makes an array of: one of any library, a number, lists and tuples of them."""

Batch = ArrayValues | jax.ShapeDtypeStruct
"""An array [B, ...], or what NumPy makes one of; where nothing is computed, its shape."""

Targets = ArrayValues | jax.ShapeDtypeStruct | None
"""The classes to explain: an int, integers [B], None for the predicted one, or "all"."""


@runtime_checkable
class RandomAccess(Protocol):
    """Records by their number: a list, an array, a TFDS data source, a Grain `MapDataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


Keys = PRNGKeyArray | jax.ShapeDtypeStruct
"""One key, or one an image."""

Results = Tree
"""Maps or values of a batch, arrays [B, ...]; of a dict of methods or metrics, a dict of them.

Of a dict of maps, a dict of these.
"""

ApplyFn = Callable[[Params, Images], Float[Array, "batch classes"]]
"""`apply(params, images) -> logits`, pure; the function, not the framework."""

Objective = Callable[[Logits, Target], Scalar]
"""`objective(logits, target) -> scalar`: what about the target is to be explained."""


@runtime_checkable
class ScoreFn(Protocol):
    """`score(image) -> scalar`: one image, one class; differentiable.

    The explainer's scores carry `rewrite: bool` and `platform`, which `rewrite.affine_prefix` and
    `rewrite.incremental_occlusion` read, `parameters`, the model's by their paths, which layers are
    named by, and `spatial_axes`, which `rewrite.axes.spatial` reads; a plain function without them
    counts as `rewrite=True`, on no platform that is told apart. For what compares classes they
    carry `class_logits`, image -> [K], and `target`; for what tells a difference from rounding
    `dtype`, the coarsest that they compute in: that of a plain function's value, where it has none.
    """

    def __call__(self, image: Image, /) -> Scalar: ...


# A protocol cannot say "and keyword options of its own", so these two are callables.
Method = Callable[..., Map]
"""`method(score, image, **options) -> map`: one image, no batch axis anywhere.

Options are keyword-only; a method that draws random numbers takes `key`.
"""


class Refined(NamedTuple):
    """A map whose method took as many points as its image needed.

    A method that can say so has an attribute `refined`: a function of its own arguments that
    returns this.

    Attributes:
        map: float32.
        points: at how many points the score was evaluated, int32.
        converged: whether the map is as complete as it was to be.
    """

    map: Map
    points: Int[Array, ""]
    converged: Shaped[Array, ""]


Combinator = Callable[..., Method]
"""`combinator(method, **options) -> method`."""


Metric = Callable[..., Array]
"""`metric(score, image, map, *, key=None, **options) -> scalar or vector`: one image."""


Function = TypeVar("Function", bound=Callable[..., Any])


def may_be_nan(metric: Function) -> Function:
    """Marks a metric that is NaN where it is not defined, as its docstring says: no one is warned.

    An attribute of that name is what is looked at; `functools.partial` keeps it.
    """
    metric.may_be_nan = True  # type: ignore[attr-defined]
    return metric


def accumulator(dtype: DTypeLike) -> np.dtype:
    """The dtype that sums are kept in: float32, or wider where the terms are (or complex).

    `jnp.promote_types` refuses bfloat16 and float32 where users make promotion strict.
    """
    wide = dtype == jnp.float64 or jnp.issubdtype(dtype, jnp.complexfloating)
    return jnp.dtype(dtype if wide else jnp.float32)


FEW = 4
"""The most channels that a picture has: red, green, blue and opacity."""


def axes_by_shape(shape: tuple[int, ...]) -> SpatialAxes:
    """The spatial axes of an image whose shape alone says them; empty where it does not.

    It has three axes or more, of which the last or, of three, the first is at most four long, and
    only it: a volume may have few slices.
    """
    rank, short = len(shape), [axis for axis, length in enumerate(shape) if length <= FEW]
    if rank < 3 or short not in ([rank - 1], [0] if rank == 3 else [rank - 1]):
        return ()
    return tuple(axis for axis in range(rank) if axis not in short)


def usual_axes(shape: tuple[int, ...]) -> SpatialAxes:
    """The spatial axes where nobody says which: by the shape, else all but the last of several.

    So of two axes it is the first, as of a signal or of tokens [T, C]: a picture without channels,
    [H, W], is given with `spatial_axes=(0, 1)`, or with a channel, [H, W, 1].
    """
    return axes_by_shape(shape) or tuple(range(max(len(shape) - 1, 1)))
