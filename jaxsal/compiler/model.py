"""The model, held against what the explainer expects of it, from shapes alone."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler.alone import fixed_batch
from jaxsal.compiler.checks import describe
from jaxsal.compiler.program import cast, target_logit
from jaxsal.rewrite.cost import products
from jaxsal.types import accumulator


def check_model(
    apply: Callable[..., Any], objective: Any, params: Any, images: Any, dtype: Any
) -> int:
    """The number of classes (2 for a model with one logit); nothing is computed.

    Raises:
        TypeError: logits that are not floating.
        ValueError: logits that are not [B, K], an objective that is no floating scalar, or no
            convolution or product in `dtype`; either: what the model itself raises, with what it
            was given.
    """
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), _canonical(images.dtype))
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), _canonical(x.dtype)), params)
    if dtype is not None:
        params = jax.eval_shape(lambda tree: cast(tree, dtype), params)
        image = jax.ShapeDtypeStruct(image.shape, dtype)
    with fixed_batch(apply, params, image, images.shape[0]):
        with _told("apply", f"params {_shown(params)} and images {describe(image)}"):
            logits = jax.eval_shape(apply, params, image)
        if getattr(logits, "ndim", None) != 2 or logits.shape[0] != 1 or logits.shape[1] == 0:
            came = describe(logits)
            raise ValueError(f"apply: expected logits [B, K], got {came} for images {image.shape}")
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"apply: expected floating logits, got {logits.dtype}")
    row = jax.ShapeDtypeStruct(logits.shape[1:], accumulator(logits.dtype))
    target = jax.ShapeDtypeStruct((), jnp.int32)
    with _told("objective", f"logits {describe(row)} and a target"):
        score = jax.eval_shape(objective or target_logit, row, target)
    if getattr(score, "shape", None) != () or not jnp.issubdtype(score.dtype, jnp.floating):
        raise ValueError(f"objective: expected a floating scalar, got {describe(score)}")
    if dtype is not None and not _computes_in(dtype, jax.make_jaxpr(apply)(params, image).jaxpr):
        name = jnp.dtype(dtype).name
        raise ValueError(
            f"dtype: expected a model that computes in {name}, but no convolution or product does: "
            f"a module that fixes its own dtype must be built for {name} itself"
        )
    return max(2, int(logits.shape[1]))


@contextlib.contextmanager
def _told(name: str, given: str) -> Iterator[None]:
    """What a function of the user's raises, with its name and what it was given."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: given {given}, it raised {reason}") from error


def _shown(params: Any) -> str:
    leaves = [describe(leaf) for leaf in jax.tree.leaves(params)]
    return f"of {len(leaves)} arrays ({', '.join(leaves[:3])}{', ...' if leaves[3:] else ''})"


def _canonical(dtype: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(dtype, allow_extended_dtype=True)  # keys, too


def _computes_in(dtype: Any, program: Any) -> bool:
    operands: list[list[Any]] = [[v.aval for v in eqn.invars] for eqn in products(program)]
    return any(all(aval.dtype == dtype for aval in avals) for avals in operands)
