"""Checks of a model's program, once for each signature: images reach the score, each its own."""

import functools
from collections.abc import Hashable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxsal.compiler.batch_independence import Trial
from jaxsal.compiler.program import cast
from jaxsal.compiler.warn import warn
from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.non_differentiable import constant_weights, non_differentiable
from jaxsal.rewrite.row_independence import ROWS, Mixed, first_mixing, same_program
from jaxsal.types import ApplyFn, ArrayOrShape, Objective, Params, accumulator


class ModelChecks:
    """Checks that maps of a model can mean something.

    The images must reach the score, by a path with a derivative where a method takes one. So must
    the parameters, where there are any. The logits of an image must not depend on the batch around
    it, which is proved from the program or else tried.
    """

    def __init__(
        self, objective: Objective, dtype: np.dtype | None, differentiates: list[str]
    ) -> None:
        """The checks of one model.

        Args:
            objective: of its outputs and a target.
            dtype: what it computes in.
            differentiates: the names of the methods that take a derivative of the image.
        """
        self._objective, self._dtype = objective, dtype
        self._differentiates = differentiates
        self._warned: set[Hashable] = set()
        self._independent: set[Hashable] = set()
        self._trials: dict[Hashable, Trial | None] = {}

    def done(self, signature: Hashable, images: ArrayOrShape) -> bool:
        """Whether nothing is left to be checked of calls like this one."""
        one = images.shape[0] == 1 and signature in self._warned
        return one or signature in self._independent

    def __call__(
        self, signature: Hashable, model: ApplyFn, params: Params, images: ArrayOrShape
    ) -> None:
        """Warns of maps that cannot mean anything.

        Args:
            signature: of the parameters and images.
            model: a function of arrays and images, the same object as `check_model` traced.
            params, images: of a call, the arrays.

        Raises:
            ValueError: a batch's logits are not the images' own.
        """
        if signature not in self._warned:
            self._warned.add(signature)
            if (one := self._traced(model, params, images, 1)) is not None:
                for text in self._paths(one):
                    warn(text)
        if images.shape[0] > 1 and signature not in self._independent:
            if signature not in self._trials:
                self._trials[signature] = self._trial(model, params, images)
            trial = self._trials[signature]
            if trial is None or trial(params, images):
                self._independent.add(signature)
                self._trials[signature] = None

    def _trial(self, model: ApplyFn, params: Params, images: ArrayOrShape) -> Trial | None:
        """A trial, where the program does not prove that logits are independent of the batch.

        A model that takes one image and no two needs no trial.
        """
        one, two = (self._traced(model, params, images, count) for count in (1, ROWS))
        if one is None or two is None:
            return None
        mixed = first_mixing(two, two.jaxpr.invars[-1])
        if mixed is None and same_program(one, two, -1):
            return None
        return Trial(functools.partial(_in_dtype, model, self._dtype), two, mixed or Mixed())

    def _traced(
        self, model: ApplyFn, params: Params, images: ArrayOrShape, count: int
    ) -> ClosedJaxpr | None:
        """The program of so many images; None where it takes no such number."""
        batch = _abstract(images, (count, *images.shape[1:]))
        params = jax.tree.map(lambda x: _abstract(x, np.shape(x)), params)
        if (dtype := self._dtype) is not None:
            params = jax.eval_shape(lambda tree: cast(tree, dtype), params)
            batch = jax.ShapeDtypeStruct(batch.shape, dtype)
        try:
            return jax.make_jaxpr(model)(params, batch)
        except Exception:  # of the model; one image was taken before
            return None

    def _paths(self, closed: ClosedJaxpr) -> Iterator[str]:
        image, flow = closed.jaxpr.invars[-1], Dataflow(closed)
        score = _score(self._objective, closed.out_avals[0])
        logits, after = score.jaxpr.invars[0], Dataflow(score)
        if image not in flow.live or logits not in after.live:
            yield (
                "apply: no path leads from the images to the score: their maps say nothing. An "
                "image that leaves JAX on the way (NumPy, Python's numbers) leaves no path"
            )
        elif self._differentiates and not (image in flow.active and logits in after.active):
            names = [*non_differentiable(closed, image), *non_differentiable(score, logits)]
            yield (
                f"apply: no derivative passes from the images to the score ({', '.join(names[:4])} "
                f"in the way), so that {', '.join(self._differentiates)} cannot show anything. "
                "Explain from the embeddings, or whatever comes after, on: give these as images, "
                "to an apply that begins there; or choose a method that only evaluates (occlusion, "
                "feature_ablation, rise; one of yours says so by `method.forward_only = True`)"
            )
        leaves = closed.jaxpr.invars[:-1]
        if not any(leaf in flow.live for leaf in leaves):
            yield from _frozen(len(leaves), constant_weights(closed))


def _frozen(arrays: int, constants: int) -> Iterator[str]:
    """The warning of parameters that do not reach the score."""
    given = f"none of its {arrays} arrays reaches the logits" if arrays else "holds no arrays"
    if constants:
        yield (
            f"params: {given}, and the model holds {constants} numbers of its own as constants: "
            "what becomes of these weights later is not seen. Pass them as params"
        )
    elif arrays:
        yield f"params: {given}: other parameters give the same maps"


def _in_dtype(
    apply: ApplyFn, dtype: np.dtype | None, params: Params, images: jax.Array
) -> jax.Array:
    if dtype is None:
        return apply(params, images)
    return apply(cast(params, dtype), images.astype(dtype))


def _abstract(array: ArrayOrShape, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    dtype = jax.dtypes.canonicalize_dtype(array.dtype, allow_extended_dtype=True)
    return jax.ShapeDtypeStruct(shape, dtype)


def _score(objective: Objective, logits: jax.core.ShapedArray) -> ClosedJaxpr:
    row = jax.ShapeDtypeStruct(logits.shape[1:], accumulator(logits.dtype))
    target = jax.ShapeDtypeStruct((), jnp.int32)
    return jax.make_jaxpr(objective)(row, target)
