"""What stands behind `--apply`: a function, or a framework's model made into one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxsal.compiler import frameworks
from jaxsal.compiler.arrays import is_array
from jaxsal.types import ApplyFn, Params, Tree


class Given(NamedTuple):
    """A function of parameters and images, and what is known of its parameters.

    Attributes:
        apply: `apply(params, images) -> logits`.
        init: `init(key, images) -> params`, where it is known.
        template: the parameters as they are to be, where they are known.
        load: reads parameters as the framework itself does.
    """

    apply: ApplyFn
    init: Callable[..., Params] | None = None
    template: Params = None
    load: Callable[[Path], Params] | None = None


def given(found: Any, owner: Any = None) -> Given:
    """A function as it is; of a model the function that explains it.

    Args:
        owner: what `found` is an attribute of: where it has an `init`, that makes parameters.
    """
    kind = frameworks.kind_of(found)
    make = MODELS.get(kind.package) if kind else None
    if make is not None:
        return make(found)
    init = getattr(owner, "init", None)
    return Given(found, init if callable(init) else None)


def of_arrays(apply: ApplyFn, params: Params) -> tuple[ApplyFn, list[Any]]:
    """A function of the arrays alone among its parameters, and these.

    What stands beside them, as a layer's activation or a flag, is no parameter and stays as it is.
    """
    leaves, structure = jax.tree.flatten(params)
    places = [place for place, leaf in enumerate(leaves) if is_array(leaf)]

    def of_them(arrays: Params, images: jax.Array) -> Tree:
        own = dict(zip(places, arrays, strict=True))
        whole = [own.get(place, leaf) for place, leaf in enumerate(leaves)]
        return apply(jax.tree.unflatten(structure, whole), images)

    return of_them, [leaves[place] for place in places]


def _linen(module: Any) -> Given:
    return Given(module.apply, module.init)


def _of_batches(module: Any) -> Given:
    return Given(lambda m, x: m(x), template=module)


def _of_images(module: Any) -> Given:
    return Given(lambda m, x: jax.vmap(m)(x), template=module)


def _keras(model: Any) -> Given:
    def apply(params: Params, images: jax.Array) -> Tree:
        return model.stateless_call(*params, images)[0]

    def load(path: Path) -> Params:
        model.load_weights(path)
        variables = (model.trainable_variables, model.non_trainable_variables)
        return tuple([each.value for each in some] for some in variables)

    return Given(apply, load=load)


MODELS: dict[str, Callable[[Any], Given]] = {
    "flax.linen": _linen,
    "flax.nnx": _of_batches,
    "equinox": _of_images,
    "keras": _keras,
}
"""By framework; a new one is one row here."""
