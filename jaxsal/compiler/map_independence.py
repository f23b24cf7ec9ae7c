"""Metrics whose values depend on no map: where a call gives several, all get the same."""

import dataclasses
from collections.abc import Mapping

import jax

from jaxsal.compiler.batch_size import abstract
from jaxsal.compiler.frameworks import pure
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import Schedule, example
from jaxsal.compiler.results import listed
from jaxsal.compiler.warn import warn
from jaxsal.rewrite.program import outputs_depending, trace
from jaxsal.types import Tree


def independent(call: Call) -> Tree:
    """Of each value of a call's metrics, in the tree of values, whether it depends on no map.

    Read in the program of one image and the first of its maps, which is not compiled.
    """
    spec = dataclasses.replace(call.spec, record=False, flagged=False)
    shared = jax.tree.map(lambda x: abstract(x, x.shape, None), call.shared)
    row = jax.tree.map(lambda x: abstract(x, x.shape[1:], None), call.rows)
    first, *_ = row.pop("map").values()

    def values(map: Tree, shared: Tree, row: Tree) -> Tree:
        return example(spec, Schedule(spec.classes), shared, row | {"map": map})

    with pure():
        closed, tree = trace(values, first, shared, row)
    found = outputs_depending(closed.jaxpr, closed.jaxpr.invars[:1])
    return jax.tree.unflatten(tree, [not depends for depends in found])


def warn_independent(found: Mapping[str, Tree], maps: int) -> None:
    """Warns of metrics no part of whose values depends on the map.

    Args:
        found: by metric, as of `independent`. maps: of each image.
    """
    names = [name for name, each in found.items() if (own := jax.tree.leaves(each)) and all(own)]
    if names:
        warn(
            f"values of {listed('metric', names)} depend on no map: the {maps} maps of an image "
            "are all given the same. A metric with an option `method` measures that method, and "
            "not the maps: evaluate each method in a call of its own"
        )
