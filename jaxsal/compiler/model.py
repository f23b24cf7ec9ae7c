"""Checks of a model from shapes alone: it takes the images and returns logits, one row each."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr

from jaxsal.compiler import frameworks
from jaxsal.compiler.arrays import as_text, is_array
from jaxsal.compiler.batch_independence import fixed_batch
from jaxsal.compiler.callables import Node
from jaxsal.compiler.outputs import Output
from jaxsal.compiler.parameters import Arrays, assemble_params
from jaxsal.compiler.program import cast
from jaxsal.rewrite.cost import products
from jaxsal.rewrite.precision import computes_in
from jaxsal.types import ApplyFn, ArrayOrShape, Objective, Params, Tree, accumulator


class ModelShape(NamedTuple):
    """What a model's program tells of its outputs.

    Attributes:
        outputs: their number, K.
        dtype: the coarsest that they are computed in.
    """

    outputs: int
    dtype: np.dtype | None


def check_model(
    apply: ApplyFn,
    objective: Objective | None,
    params: Arrays,
    images: ArrayOrShape,
    dtype: np.dtype | None,
    output: Output,
    model: ApplyFn,
    whole: Node | None = None,
) -> ModelShape:
    """The model's outputs, from its program; nothing is computed.

    Args:
        model: `returning_logits(apply, whole)`, which JAX traces once for all who ask with it.
        whole: the structure of parameters that are not all arrays.

    Raises:
        TypeError: logits that are not floating.
        ValueError: logits that are not [B, K], or that their program shows to be something else;
            an objective that is no floating scalar; no convolution or product in `dtype`; either:
            what the model itself raises, with what it was given.
    """
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), _canonical(images.dtype))
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), _canonical(x.dtype)), params)
    if dtype is not None:
        params = jax.eval_shape(lambda tree: cast(tree, dtype), params)
        image = jax.ShapeDtypeStruct(image.shape, dtype)
    given = f"params {_shown(params)} and images {as_text(image)}"
    plain = functools.partial(_applied, apply, whole)
    with (
        fixed_batch(plain, params, image, images.shape[0]),
        _named_errors("apply", given, apply, params.tree),
    ):
        program, logits = jax.make_jaxpr(model, return_shape=True)(params, image)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"apply: expected floating logits, got {logits.dtype}")
    if objective is None or logits.shape[1] == 1:
        output.check_program(program)
    row = jax.ShapeDtypeStruct(logits.shape[1:], accumulator(logits.dtype))
    target = jax.ShapeDtypeStruct((), jnp.int32)
    with _named_errors("objective", f"logits {as_text(row)} and a target"):
        score = jax.eval_shape(objective or output.score, row, target)
    if getattr(score, "shape", None) != () or not jnp.issubdtype(score.dtype, jnp.floating):
        raise ValueError(f"objective: expected a floating scalar, got {as_text(score)}")
    if dtype is not None and not _computes_in(dtype, program.jaxpr):
        name = jnp.dtype(dtype).name
        raise ValueError(
            f"dtype: expected a model that computes in {name}, but no convolution or product does: "
            f"a module that fixes its own dtype must be built for {name} itself"
        )
    return ModelShape(int(logits.shape[1]), computes_in(program.jaxpr, logits.dtype))


class _NoLogits(ValueError):
    """The value that `apply` returned is not an array of logits."""


def _applied(apply: ApplyFn, whole: Node | None, arrays: Tree, images: jax.Array) -> Tree:
    return apply(assemble_params(whole, arrays), images)


def returning_logits(apply: ApplyFn, whole: Node | None) -> ApplyFn:
    """`apply` as a function of arrays, which raises unless it returns logits [B, K]."""

    def checked(params: Params, images: jax.Array) -> jax.Array:
        output = _applied(apply, whole, params, images)
        if not _are_logits(output, images.shape[0]):
            raise _NoLogits(_no_logits(output, images))
        return output

    return checked


def _are_logits(value: object, count: int) -> bool:
    if not is_array(value):
        return False
    shape = tuple(value.shape)
    return len(shape) == 2 and shape[0] == count and shape[1] > 0


def _no_logits(output: object, image: jax.Array) -> str:
    expected = f"apply: expected logits [B, K] for images {as_text(image)}, got"
    if output is None:
        return f"{expected} None; return them"
    if is_array(output):
        one = "; return a row an image (a model of one image: jax.vmap(model)(images))"
        return f"{expected} {as_text(output)}{one if len(output.shape) == 1 else ''}"
    part = frameworks.part_with_logits(output, lambda x: _are_logits(x, image.shape[0]))
    return f"{expected} {_outline(output)}{f'; return its {part}' if part else ''}"


def _outline(output: object) -> str:
    """A container by its type and what it begins with."""
    name = type(output).__name__
    if isinstance(output, tuple | list):
        parts = list(map(_short, output))
    elif isinstance(output, Mapping):
        parts = [f"{key}: {_short(value)}" for key, value in output.items()]
    else:
        parts = [
            f"{key}: {_short(value)}" for key, value in getattr(output, "__dict__", {}).items()
        ]
    more = ", ..." if parts[3:] else ""
    return f"{name} of {len(parts)} ({', '.join(parts[:3])}{more})"


def _short(value: object) -> str:
    return as_text(value) if is_array(value) else type(value).__name__


@contextlib.contextmanager
def _named_errors(
    name: str, given: str, apply: ApplyFn | None = None, params: Params = None
) -> Iterator[None]:
    """Names a user's function in the errors it raises, with its arguments and what to write."""
    try:
        yield
    except Exception as error:
        write = frameworks.remedy(error, apply, params)
        raised = frameworks.reason(error, 200 if write else 300)
        text = f"{name}: given {given}, it raised {raised}"
        text = str(error) if isinstance(error, _NoLogits) else text
        raise frameworks.same_kind(error)(f"{text}; {write}" if write else text) from error


def _shown(params: Params) -> str:
    leaves = [as_text(leaf) for leaf in jax.tree.leaves(params)]
    return f"of {len(leaves)} arrays ({', '.join(leaves[:3])}{', ...' if leaves[3:] else ''})"


def _canonical(dtype: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(dtype, allow_extended_dtype=True)  # keys, too


def _computes_in(dtype: np.dtype, program: Jaxpr) -> bool:
    operands: list[list[Any]] = [[v.aval for v in eqn.invars] for eqn in products(program)]
    return any(all(aval.dtype == dtype for aval in avals) for avals in operands)
