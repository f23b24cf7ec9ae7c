"""One image at a time: a batch's logits held against those that its images have alone."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxsal.compiler import fetched
from jaxsal.rewrite.cost import products
from jaxsal.rewrite.program import equations
from jaxsal.rewrite.rows import Mixed

ROWS = 16
"""Images among which two that differ are looked for."""

LEAST = 1e-2
"""The difference, of the largest logit, that rounding alone may make."""

DO = (
    "Batch statistics: use running averages (Flax: use_running_average=True; NNX: model.eval(); "
    "Equinox: eqx.nn.inference_mode(model)); dropout or noise: deterministic=True, no key; a "
    "number of images that is written down: x.shape[0] in its place"
)


def hold(
    apply: Callable[..., Any], params: Any, images: Any, closed: ClosedJaxpr, mixed: Mixed
) -> bool:
    """Runs a model on two of a call's images, together and each alone.

    Args:
        apply: `apply(params, images) -> logits`, in the dtype that it computes in.
        params, images: the call's.
        closed: its program. mixed: where images may meet in it.

    Returns:
        Whether the answer is good for other calls, too: not where all images are alike. What other
        processes hold parts of is not looked at.

    Raises:
        ValueError: the logits differ.
    """
    if not all(_is_here(leaf) for leaf in jax.tree.leaves((params, images))):
        return True
    rows = fetched.rows(images, range(min(ROWS, images.shape[0])))
    other = next((i for i in range(1, len(rows)) if (rows[i] != rows[0]).any()), None)
    pair = rows[[0, other or 1]]
    run = jax.jit(apply)
    with jax.default_matmul_precision("highest"):
        together = np.asarray(run(params, pair), np.float64)
        alone = np.concatenate([np.asarray(run(params, x[None]), np.float64) for x in pair])
    apart = np.where(_same(together, alone), 0, np.abs(together - alone))
    scale = np.abs(alone[np.isfinite(alone)]).max(initial=0.0)
    if not (apart <= _tolerance(closed) * scale).all():
        raise ValueError(_said(apart.max(), scale, closed, mixed))
    return other is not None


@contextlib.contextmanager
def fixed_batch(apply: Callable[..., Any], params: Any, image: Any, count: int) -> Iterator[None]:
    """Says of a model that fails for one image that its batch size is fixed, if that is why.

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


def _takes(apply: Callable[..., Any], params: Any, batch: Any) -> bool:
    try:
        logits = jax.eval_shape(apply, params, batch)
    except Exception:  # it takes neither: what was raised first is told
        return False
    return getattr(logits, "shape", ())[:1] == batch.shape[:1] and len(logits.shape) == 2


def _is_here(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one == other) | (np.isnan(one) & np.isnan(other))


def _tolerance(closed: ClosedJaxpr) -> float:
    """Of the narrowest dtype that a convolution or a product computes in."""
    dtypes = {v.aval.dtype for eqn in products(closed.jaxpr) for v in eqn.invars}  # type: ignore[attr-defined]
    eps = [float(jnp.finfo(d).eps) for d in dtypes if jnp.issubdtype(d, jnp.floating)]
    return max(LEAST, 16 * max(eps, default=0.0))


def _said(apart: float, scale: float, closed: ClosedJaxpr, mixed: Mixed) -> str:
    where = ""
    if mixed.eqn is not None:
        stack = str(mixed.eqn.source_info.name_stack)
        where = f" They meet first in {mixed.eqn.primitive.name}{f' of {stack}' if stack else ''}."
    draws = any(
        "random" in e.primitive.name or "threefry" in e.primitive.name
        for e in equations(closed.jaxpr)
    )
    random = " The model draws random numbers." if draws else ""
    return (
        f"apply: images together have other logits than alone (by {apart:.3g}, of up to "
        f"{scale:.3g}), and jaxsal explains each alone.{where}{random} {DO}"
    )
