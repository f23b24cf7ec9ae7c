"""An axis that is kept: what changes at a position of an operand changes the result there alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.axes.preserved import preserved_axes

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
IMAGE = np.random.default_rng(2).normal(size=(3, 6, 6, 2)).astype(np.float32)
KERNEL = np.random.default_rng(3).normal(size=(2, 2, 2, 4)).astype(np.float32)
ROWS = np.array([[2, 0], [1, 1], [3, 2]], np.int32)
NHWC = ("NHWC", "HWIO", "NHWC")

OPERATIONS = {
    "add": (lambda x, y: lax.add(x, y), (X, Y), [{0: 0, 1: 1, 2: 2}] * 2),
    "add, spread": (lambda x, y: lax.add(x, y), (X, Y[:1]), [{0: 0, 1: 1, 2: 2}, {1: 1, 2: 2}]),
    "clamp": (lambda x: lax.clamp(-0.5, x, 0.5), (X,), [{}, {0: 0, 1: 1, 2: 2}, {}]),
    "sum": (lambda x: lax.reduce_sum_p.bind(x, axes=(1,), out_sharding=None), (X,), [{0: 0, 2: 1}]),
    "argmax": (lambda x: lax.argmax(x, 2, np.int32), (X,), [{0: 0, 1: 1}]),
    "cumsum": (lambda x: lax.cumsum(x, 1), (X,), [{0: 0, 2: 2}]),
    "sort": (lambda x: lax.sort(x, dimension=0), (X,), [{1: 1, 2: 2}]),
    "top_k": (lambda x: lax.top_k(x, 2)[0], (X,), [{0: 0, 1: 1}]),
    "rev": (lambda x: lax.rev(x, (0,)), (X,), [{1: 1, 2: 2}]),
    "transpose": (lambda x: lax.transpose(x, (2, 0, 1)), (X,), [{2: 0, 0: 1, 1: 2}]),
    "squeeze": (lambda x: lax.squeeze(x, (1,)), (X[:, :1],), [{0: 0, 2: 1}]),
    "broadcast": (lambda x: lax.broadcast_in_dim(x, (3, 7, 5), (0, 2)), (X[:, 0],), [{0: 0, 1: 2}]),
    "slice": (lambda x: lax.slice(x, (0, 1, 0), (3, 3, 5), (1, 1, 2)), (X,), [{0: 0}]),
    "dynamic_slice": (
        lambda x, i: lax.dynamic_slice(x, (0, i, 0), (3, 2, 5)),
        (X, np.int32(1)),
        {0: 0, 2: 2},
    ),
    "dynamic_update_slice": (
        lambda x, y: lax.dynamic_update_slice(x, y, (0, 1, 0)),
        (X, Y[:, :2]),
        [{0: 0, 2: 2}, {0: 0, 2: 2}, {}, {}, {}],
    ),
    "pad": (lambda x: lax.pad(x, 0.0, ((0, 0, 0), (1, 0, 0), (0, -1, 0))), (X,), [{0: 0}, {}]),
    "concatenate": (lambda x, y: lax.concatenate([x, y], 1), (X, Y), [{0: 0, 2: 2}] * 2),
    "split": (lambda x: lax.split(x, (1, 2), 0)[1], (X,), [{1: 1, 2: 2}]),
    "dot, batched": (
        lambda x, y: lax.dot_general(x, y, (((2,), (2,)), ((0,), (0,)))),
        (X, Y),
        [{0: 0, 1: 1}, {0: 0, 1: 2}],
    ),
    "dot, free": (
        lambda x, y: lax.dot_general(x, y, (((2,), (0,)), ((), ()))),
        (X, Y[0].T),
        {0: 0, 1: 1},
    ),
    "convolution": (
        lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=NHWC),
        (IMAGE, KERNEL),
        [{0: 0}, {}],
    ),
    "pool": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"),
        (IMAGE,),
        [{0: 0, 3: 3}],
    ),
    "gather, whole": (lambda x: x[:, jnp.array([2, 0])], (X,), {0: 0, 2: 2}),
    "gather, each": (
        lambda x, i: jnp.take_along_axis(x, i[..., None], 1),
        (X, ROWS),
        {0: 0, 2: 2},
    ),
    "scatter, whole": (
        lambda x: jnp.asarray(x).at[:, jnp.array([2, 0])].set(1.0),
        (X,),
        {0: 0, 2: 2},
    ),
    "scatter, each": (
        lambda x, i: jax.vmap(lambda x, i: x.at[i].add(1.0))(x, i),
        (X, ROWS),
        {0: 0, 2: 2},
    ),
    "fft": (lambda x: lax.fft(x, lax.FftType.FFT, (5,)), (X.astype(np.complex64),), [{0: 0, 1: 1}]),
}
"""A function, its arguments, and the axes of each operand that its last operation keeps.

Of the first operand alone, and these at least, where the others differ by JAX's version.
"""


def last(closed):
    """The last operation, through calls, and whether it is the only one of several operands."""
    jaxpr = closed.jaxpr
    while jaxpr.eqns[-1].primitive.name in ("jit", "pjit"):
        jaxpr = jaxpr.eqns[-1].params["jaxpr"].jaxpr
    return jaxpr.eqns[-1]


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_kept_stays_in_its_place(name) -> None:
    function, args, expected = OPERATIONS[name]
    eqn = last(jax.make_jaxpr(function)(*args))
    axes = preserved_axes(eqn)
    assert axes is not None and len(axes) == len(eqn.invars)
    kept = [{int(k): int(v) for k, v in each.items()} for each in axes]
    assert kept == expected if isinstance(expected, list) else kept[0].items() >= expected.items()
    out = np.asarray(function(*args))
    for target in {t for each in axes for t in each.values()}:
        moved = list(args)
        changed = False
        for number, (atom, places) in enumerate(zip(eqn.invars, axes, strict=True)):
            if number >= len(args) or atom.aval.shape != np.shape(args[number]):
                continue
            for source, place in places.items():
                if place == target:
                    array = np.array(args[number])
                    if array.dtype.kind in "fc":
                        np.moveaxis(array, source, 0)[0] += 7
                        moved[number], changed = array, True
        if changed:
            differs = (np.asarray(function(*moved)) != out).any(
                tuple(i for i in range(out.ndim) if i != target)
            )
            assert not differs[1:].any(), (name, target)


def test_what_is_not_known_is_not_kept() -> None:
    solved = jax.make_jaxpr(lambda x: lax.linalg.cholesky(x, symmetrize_input=False))(np.eye(3))
    (eqn,) = (e for e in solved.jaxpr.eqns if e.primitive.name == "cholesky")
    assert preserved_axes(eqn) is None
