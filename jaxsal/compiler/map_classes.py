"""Maps a function of a class and an example over all classes, some of them at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxsal.rewrite.interpreter import inline
from jaxsal.rewrite.program import depending, play, read, trace
from jaxsal.types import Tree


def map_classes(fun: Callable[[Tree, Tree], Tree], each: Tree, most: int, example: Tree) -> Tree:
    """`fun(c, example)` for every class's entry c of `each`, stacked.

    What does not depend on the class (the forward pass, where it stands in no loop that does) is
    computed once; after it, at most so many classes at a time.

    Args:
        fun: of one class's part of `each`, and the example.
        each: a pytree of arrays [classes, ...].
        most: classes at a time.
        example: a pytree of arrays, the same for all classes.
    """
    classes = jax.tree.leaves(each)[0].shape[0]
    if most >= classes:
        return jax.vmap(fun, in_axes=(0, None))(each, example)
    width = _width(classes, most)
    of_class, zero = _of_class(fun, each, example)

    def block(start: jax.Array) -> Tree:
        entries = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, width), each)
        return jax.vmap(of_class)(entries)

    def put(maps: Tree, start: jax.Array) -> tuple[Tree, None]:
        def into(array: jax.Array, part: jax.Array) -> jax.Array:
            return lax.dynamic_update_slice_in_dim(array, part, start, 0)

        return jax.tree.map(into, maps, block(start)), None

    # The maps are written in place: blocks that are stacked are copied once more.
    starts = np.minimum(np.arange(0, classes, width, dtype=np.int32), classes - width)
    shapes = jax.eval_shape(block, starts[0])
    zeros = jax.tree.map(
        lambda x: jnp.zeros_like(zero, shape=(classes, *x.shape[1:]), dtype=x.dtype), shapes
    )
    return lax.scan(put, zeros, starts)[0]


def _of_class(
    fun: Callable[[Tree, Tree], Tree], each: Tree, example: Tree
) -> tuple[Callable[[Tree], Tree], jax.Array | int]:
    """`fun` as a function of a class alone, what is the same for all being computed already.

    And a zero that varies over the mesh axes that anything it is computed from does, as the maps.
    """
    first = jax.tree.map(lambda x: x[0], each)
    closed, tree = trace(fun, first, example)
    closed = inline(closed)
    jaxpr, count = closed.jaxpr, len(jax.tree.leaves(each))
    own, others = jaxpr.invars[:count], jaxpr.invars[count:]
    same, differing = depending(jaxpr.eqns, own)
    given = [*closed.consts, *jax.tree.leaves(example)]
    known = dict(zip([*jaxpr.constvars, *others], given, strict=True))
    play(same, known)

    def of_class(entry: Tree) -> Tree:
        values = known | dict(zip(own, jax.tree.leaves(entry), strict=True))
        play(differing, values)
        return jax.tree.unflatten(tree, [read(out, values) for out in jaxpr.outvars])

    return of_class, sum(map(_zero, [*given, *jax.tree.leaves(each)]))


def _zero(array: jax.Array | np.ndarray) -> jax.Array:
    if jnp.issubdtype(jnp.result_type(array), jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return jnp.zeros_like(array, shape=(), dtype=jnp.float32)


def _width(classes: int, most: int) -> int:
    """Classes in a block: a divisor of all, if there is one not much narrower than may be.

    Else the last block begins earlier, and some classes are explained twice.
    """
    even = max(n for n in range(1, most + 1) if classes % n == 0)
    return even if 2 * even > most else -(-classes // -(-classes // most))
