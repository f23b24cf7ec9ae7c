"""Whether the logits of an image depend on the batch: they are compared with the image's alone."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxsal.compiler import addressable
from jaxsal.compiler.placement import Placement, place_batch
from jaxsal.compiler.transfer import put_parameter
from jaxsal.rewrite.precision import computes_in
from jaxsal.rewrite.program import equations
from jaxsal.rewrite.row_independence import Mixed
from jaxsal.types import ApplyFn, ArrayOrShape, Params

ROWS = 16
"""The first so many images are searched for two that differ."""

LEAST = 1e-2
"""A difference that is tolerated, as a share of the spread of the logits."""

ROUNDING = 1e-4
"""A difference that rounding may make, as a share of the largest logit; more in narrow dtypes."""

TRIES = 4
"""Calls that try, before the question is left open."""

DO = (
    "Batch statistics: use running averages (NNX: write model.eval() before, and before nnx.split; "
    "Linen: use_running_average=True; Equinox: eqx.nn.inference_mode(model)); dropout or noise: "
    "deterministic=True, no key; a number of images that is written down: x.shape[0] in its place"
)


class Trial:
    """A model run on two of a call's images, together and each alone."""

    def __init__(self, apply: ApplyFn, closed: ClosedJaxpr, mixed: Mixed) -> None:
        """A trial that may be made for several calls, and compiles once.

        Args:
            apply: `apply(params, images) -> logits`, in the dtype that it computes in.
            closed: its program. mixed: where images may meet in it.
        """
        self._run = jax.jit(apply)
        self._rounding, self._where = _rounding(closed), _where(closed, mixed)
        self._left = TRIES

    def __call__(self, params: Params, images: ArrayOrShape) -> bool:
        """Whether the question is settled, for other parameters and images too.

        It is not where the logits tell the two images from each other by nothing, or are not
        finite; after a few such calls it is left at that. What other processes hold parts of is not
        looked at.

        Raises:
            ValueError: the logits differ.
        """
        self._left -= 1
        if not all(addressable.is_addressable(leaf) for leaf in jax.tree.leaves((params, images))):
            return True
        pair = _pair(addressable.rows(images, range(min(ROWS, images.shape[0]))))
        together, alone = self._logits(params, pair)
        apart = np.where(_same(together, alone), 0, np.abs(together - alone))
        finite = alone[np.isfinite(alone)]
        spread, scale = (np.ptp(finite), np.abs(finite).max()) if finite.size else (0.0, 0.0)
        if not (apart <= max(LEAST * spread, self._rounding * scale)).all():
            raise ValueError(
                f"apply: images together have other logits than alone (by {apart.max():.3g}; their "
                f"own differ by {spread:.3g}), and jaxsal explains each alone.{self._where} {DO}"
            )
        told_apart = np.isfinite(alone).all() and (alone[0] != alone[1]).any()
        return bool(told_apart) or not self._left

    def _logits(self, params: Params, pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of two images together, and of each alone, on devices that all parameters are put on.

        The caller's may lie apart, on a mesh of explicit axes, or beside the mesh that is set.
        """
        placement = place_batch(None, pair[:1], params)
        with (
            placement.context(),
            jax.default_matmul_precision("highest"),
            jax.transfer_guard("allow"),
        ):
            params = jax.tree.map(lambda leaf: _put(leaf, placement), params)
            together = np.asarray(self._run(params, pair), np.float64)
            each = [np.asarray(self._run(params, x[None]), np.float64) for x in pair]
        return together, np.concatenate(each)


def _put(leaf: ArrayOrShape, placement: Placement) -> ArrayOrShape:
    """A parameter there; what is NumPy's is taken there by the program."""
    return put_parameter(leaf, placement) if isinstance(leaf, jax.Array) else leaf


def _pair(rows: np.ndarray) -> np.ndarray:
    """Two images that differ: where all are alike, the second is made of the first."""
    other = next((row for row in rows[1:] if (row != rows[0]).any()), None)
    if other is None:
        other = (0.5 * rows[0].astype(np.float32) + 0.1).astype(rows.dtype)
    return np.stack([rows[0], other])


@contextlib.contextmanager
def fixed_batch(
    apply: ApplyFn, params: Params, image: jax.ShapeDtypeStruct, count: int
) -> Iterator[None]:
    """Explains the error of a model that fails for one image because its batch size is fixed.

    Raises:
        ValueError: it takes `count` images; else what was raised.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        batch = jax.ShapeDtypeStruct((count, *image.shape[1:]), image.dtype)
        if count == 1 or not _takes(apply, params, batch):
            raise
        raise ValueError(
            f"apply: takes these {count} images together and no image alone: the number of images "
            "in a batch is fixed in the model; jaxsal explains one image at a time, so that it "
            "must be free (x.shape[0], or -1, where it is reshaped to)"
        ) from error


def _takes(apply: ApplyFn, params: Params, batch: jax.ShapeDtypeStruct) -> bool:
    try:
        logits = jax.eval_shape(apply, params, batch)
    except Exception:  # it takes neither: the first error is raised
        return False
    return getattr(logits, "shape", ())[:1] == batch.shape[:1] and len(logits.shape) == 2


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one == other) | (np.isnan(one) & np.isnan(other))


def _rounding(closed: ClosedJaxpr) -> float:
    """The tolerance for the narrowest dtype that a convolution or a product computes in."""
    dtype = computes_in(closed.jaxpr)
    return ROUNDING if dtype is None else max(ROUNDING, 16 * float(jnp.finfo(dtype).eps))


def _where(closed: ClosedJaxpr, mixed: Mixed) -> str:
    """Where images may meet, and whether numbers are drawn, in words."""
    where = ""
    if mixed.eqn is not None:
        stack = str(mixed.eqn.source_info.name_stack)
        where = f" They meet first in {mixed.eqn.primitive.name}{f' of {stack}' if stack else ''}."
    names = [eqn.primitive.name for eqn in equations(closed.jaxpr)]
    draws = any("random" in name or "threefry" in name for name in names)
    return where + (" The model draws random numbers." if draws else "")
