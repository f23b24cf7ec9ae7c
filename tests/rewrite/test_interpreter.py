"""Evaluating a program under rules: nothing else changes, wherever the rule's equation stands."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.extend.core import primitives
from jax.sharding import PartitionSpec as P

import jaxsal
from jaxsal.rewrite.interpreter import evaluate, inline, rewritten
from jaxsal.rewrite.program import equations, trace

X = jnp.linspace(-1.0, 2.0, 6).reshape(2, 3)


@jax.custom_vjp
def _tripled_gradient(x):
    return jnp.sin(x)


_tripled_gradient.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (3 * g * jnp.cos(x),))


def _kernel(x):
    write = lambda source, out: out.__setitem__(..., source[...])  # noqa: E731
    return pl.pallas_call(write, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x)


def _programs(f):
    """Programs that apply `f` in every kind of body."""

    def scan(x):
        weights = jnp.arange(3.0)
        carry, ys = jax.lax.scan(lambda c, w: (f(c) + x, w * c), x, weights, reverse=True)
        return carry + ys.sum(0)

    def loop(x):
        return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, f(c[1]) + x), (0, x))[1]

    def cond(x):
        return jax.lax.cond(x.sum() > 0, lambda x: f(x) * 2, lambda x: x + x, x)

    @jax.checkpoint
    def nested(x):
        return jax.lax.scan(lambda c, _: (jax.jit(cond)(c), None), x, None, length=2)[0]

    def settled(x):
        """Rows that need other numbers of turns: the loop's predicate is an array."""
        row = lambda r: jax.lax.while_loop(lambda c: c.sum() < 6, lambda c: c + f(r) + 2, r)  # noqa: E731
        return jax.vmap(row)(x)

    def by_platform(x):
        """A kernel that does not compile for this machine, and what stands in for it."""
        scaled = x + jnp.arange(3.0)[None]
        return jax.vmap(lambda x: jax.lax.platform_dependent(x, tpu=_kernel, default=f))(scaled)

    def inner_loops(x):
        body = lambda c: settled(c) - jax.jit(by_platform)(c) ** 2 / 9  # noqa: E731
        return jax.lax.fori_loop(0, jnp.int32(x.sum() > 0) + 1, lambda i, c: body(c) + i, x)

    once = lambda x: f(x) * x  # noqa: E731
    return {
        "jit": jax.jit(once),
        "remat": jax.checkpoint(once),
        "scan": scan,
        "while": loop,
        "cond": cond,
        "nested": nested,
        "while of a batch": settled,
        "by platform": by_platform,
        "while in a while": inner_loops,
    }


PROGRAMS = _programs(jnp.sin)
OPAQUE = {
    "custom_jvp": jax.nn.relu,
    "custom_vjp": _tripled_gradient,
    "sort": lambda x: jnp.sort(x, axis=1),
}


def _decline(eqn, values, frame):
    del eqn, values, frame


def _cosine(eqn, values, frame):
    del eqn, frame
    return [jnp.cos(values[0])]


def _close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def _every_way(fun, name):
    """The value, a batch of values, the forward and the backward derivative, where there are."""

    def compute(x):
        results = [fun(x), jax.vmap(fun)(jnp.stack([x, -x, x**2]))]
        if name not in ("custom_vjp", "by platform", "while in a while"):
            results.append(jax.jvp(fun, (x,), (jnp.ones_like(x),))[1])
        if "while" not in name and name != "by platform":
            results.append(jax.grad(lambda x: fun(x).sum())(x))
        return results

    return jax.jit(compute)(X)


@pytest.mark.parametrize("name", [*PROGRAMS, *OPAQUE])
def test_declining_changes_nothing_under_any_transformation(name):
    fun = (PROGRAMS | OPAQUE)[name]
    same = rewritten(fun, dict.fromkeys(("sin", "add", "max", "sort"), _decline))
    for one, other in zip(_every_way(same, name), _every_way(fun, name), strict=True):
        _close(one, other)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_rule_reaches_every_body(name):
    replaced = jax.jit(rewritten(PROGRAMS[name], {primitives.sin_p: _cosine}))
    _close(replaced(X), jax.jit(_programs(jnp.cos)[name])(X))


def test_untouched_derivatives_at_zero_stay_what_they_are():
    def both(x):
        return jax.nn.relu(x) + 10 * jnp.maximum(x, 0)

    same = rewritten(both, {"add": _decline, "max": _decline})
    assert jax.jit(jax.grad(both))(0.0) == jax.jit(jax.grad(same))(0.0) == 5.0


def test_a_rule_may_replace_a_whole_custom_call():
    doubled = rewritten(
        lambda x: jax.nn.relu(x) + 1, {"custom_jvp_call": lambda e, v, f: [2 * v[0]]}
    )
    assert doubled(-3.0) == -5.0


def test_a_rule_sees_its_neighbours():
    """exp(log(x)) is x, whoever else reads the logarithm."""

    def cancel(eqn, values, frame):
        before = frame.producer(eqn.invars[0])
        if before is None or before.primitive.name != "log":
            return None
        return [frame.read(before.invars[0])]

    fun = rewritten(lambda x: jnp.exp(jnp.log(x)) + jnp.exp(x), {"exp": cancel})
    assert fun(-1.0) == pytest.approx(-1.0 + np.exp(-1.0))


def test_composes_with_itself():
    def fun(x):
        return jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=2)[0]

    twice = rewritten(rewritten(fun, {"sin": _cosine}), {"cos": lambda e, v, f: [v[0] + 1]})
    assert twice(1.0) == 3.0


def test_closed_over_tracers_stay_differentiable_and_vmappable():
    def loss(w, x):
        return rewritten(lambda x: (jnp.sin(w * x)).sum(), {"sin": _cosine})(x)

    weights = jnp.array([0.5, 2.0])
    found = jax.jit(jax.vmap(jax.grad(loss), in_axes=(0, None)))(weights, X)
    expected = [(-jnp.sin(w * X) * X).sum() for w in weights]
    _close(found, jnp.stack(expected))


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_inside_shard_map(kind):
    mesh = jax.make_mesh((4,), ("i",), axis_types=(getattr(jax.sharding.AxisType, kind),))
    batch = jnp.arange(8.0).reshape(8, 1)
    if kind == "Explicit":
        batch = jax.device_put(batch, jax.NamedSharding(mesh, P("i")))
    fun = jax.vmap(
        jax.value_and_grad(lambda x: rewritten(PROGRAMS["scan"], {"sin": _cosine})(x).sum())
    )
    sharded = jax.shard_map(fun, mesh=mesh, in_specs=P("i"), out_specs=P("i"), check_vma=True)
    here = jax.jit(fun)(np.asarray(batch))
    for one, other in zip(jax.jit(sharded)(batch), here, strict=True):
        _close(one, other)


def test_named_scopes_survive():
    def fun(x):
        with jax.named_scope("outer"):
            x = jax.jit(jax.named_scope("inner")(jnp.sin))(x)
        with jax.named_scope("loop"):
            body = jax.named_scope("body")(lambda c, _: (jnp.sin(c), None))
            return jax.lax.scan(body, x, None, length=2)[0]

    closed, _ = trace(rewritten(rewritten(fun, {"sin": _decline}), {"sin": _decline}), X)
    found = {(e.primitive.name, str(e.source_info.name_stack)) for e in equations(closed.jaxpr)} - {
        ("jit", "outer")
    }
    assert found == {("sin", "outer/inner"), ("scan", "loop"), ("sin", "body")}


@pytest.mark.parametrize("name", ["while of a batch", "by platform", "remat"])
def test_rebuilt_calls_keep_their_parameters(name):
    primitive = {"while of a batch": "while", "by platform": "cond", "remat": "remat2"}[name]
    same = rewritten(PROGRAMS[name], {"sin": _decline})
    before, after = (
        [e for e in equations(trace(f, X)[0].jaxpr) if e.primitive.name == primitive]
        for f in (PROGRAMS[name], same)
    )
    assert len(before) == len(after) == 1
    for key, value in before[0].params.items():
        if "jaxpr" not in key and "nconsts" not in key and key != "branches":
            assert after[0].params[key] == value, key
    assert [v.aval for v in after[0].outvars] == [v.aval for v in before[0].outvars]


@pytest.mark.parametrize("differentiated", [False, True])
@pytest.mark.parametrize("apart", [True, False, (True, False)])
def test_rematerialisation_stays(differentiated, apart):
    weights = jnp.arange(3.0)[None]

    def loss(x):
        deep = lambda x, y: jnp.sin(jnp.sin(x) * weights + y)  # noqa: E731
        return jax.checkpoint(deep, prevent_cse=apart)(x, x + 1).sum()

    fun = jax.grad(loss) if differentiated else loss
    before, after = (
        [
            (e.params["differentiated"], e.params["prevent_cse"])
            for e in equations(trace(f, X)[0].jaxpr)
            if e.primitive is primitives.remat_p
        ]
        for f in (fun, rewritten(fun, {"cos": _decline, "sin": _decline}))
    )
    assert before == after and before


def test_inline_leaves_no_calls_but_those_to_keep():
    @jax.jit
    def relu(x):
        return jnp.where(x > 0, x, 0)

    closed, _ = trace(lambda x: jax.lax.map(relu, jnp.clip(x, 0)), X)
    names = [e.params["name"] for e in equations(closed.jaxpr) if e.primitive is primitives.jit_p]
    assert {"clip", "relu"} <= set(names)
    relus = (lambda eqn: eqn.params["name"] == "relu", ["relu"])
    for keep, left in ((lambda eqn: False, []), relus):
        flat = inline(closed, keep=keep)
        outer = _outermost(flat.jaxpr)
        assert [e.params["name"] for e in outer if e.primitive is primitives.jit_p] == left
        _close(evaluate(flat, {}, X)[0], jnp.maximum(X, 0))


def _outermost(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        if eqn.primitive is not primitives.jit_p:
            for body in jax.extend.core.jaxprs_in_params(eqn.params):
                yield from _outermost(body)


def test_shardings_of_an_inner_jit_are_kept():
    mesh = jax.make_mesh((8,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.NamedSharding(mesh, P("i"))
    inner = jax.jit(jnp.sin, out_shardings=split)
    out = jax.jit(rewritten(lambda x: inner(x), {"sin": _cosine}))(jnp.zeros(8))
    assert out.sharding.is_equivalent_to(split, 1)


def test_trees_in_and_out():
    fun = rewritten(lambda tree: {"b": jnp.sin(tree["a"][0])}, {"sin": _cosine})
    assert fun({"a": (0.0, 1.0)}) == {"b": 1.0}


@jax.custom_vjp
def _equilibrium(weights, x):
    """The z with z = tanh(w * z + x), found in a loop, differentiated in another."""
    step = lambda z: jnp.tanh(_convolved(weights, z) + x)  # noqa: E731
    moves = lambda c: jnp.abs(c[0] - c[1]).max() > 1e-5  # noqa: E731
    return jax.lax.while_loop(moves, lambda c: (c[1], step(c[1])), (x + 1, x))[1]


def _forward(weights, x):
    z = _equilibrium(weights, x)
    return z, (weights, x, z)


def _backward(kept, g):
    weights, x, z = kept
    back = jax.vjp(lambda z: jnp.tanh(_convolved(weights, z) + x), z)[1]
    moves = lambda c: jnp.abs(c[0] - c[1]).max() > 1e-5  # noqa: E731
    u = jax.lax.while_loop(moves, lambda c: (c[1], g + back(c[1])[0]), (g + 1, g))[1]
    return jax.vjp(lambda w, x: jnp.tanh(_convolved(w, z) + x), weights, x)[1](u)


_equilibrium.defvjp(_forward, _backward)


def _convolved(weights, z):
    numbers = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(z[None], weights, (1, 1), "SAME", dimension_numbers=numbers)
    return out[0]


@jax.custom_jvp
def _fused_relu(x):
    return _kernel(jnp.maximum(x, 0))


_fused_relu.defjvp(lambda x, t: (_fused_relu(*x), jnp.where(x[0] > 0, t[0], 0)))


def _apply(weights, images):
    """A convolution, a ReLU with a kernel for one platform, a layer at rest for each image."""
    x = jax.vmap(lambda x: _convolved(weights, x))(images)
    x = jax.lax.platform_dependent(x, tpu=_fused_relu, default=jax.nn.relu)
    x = jax.vmap(lambda x: _equilibrium(weights, x))(x)
    return (x * jnp.arange(1.0, 3.0)[None, None, None]).sum((1, 2)) ** 2


def test_path_noise_and_perturbation_methods_of_a_model_with_control_flow():
    """All of them lower, which is where they failed; the values are compared for one."""
    weights = jax.random.normal(jax.random.key(0), (3, 3, 2, 2)) / 12
    image = jax.random.normal(jax.random.key(1), (4, 4, 2))
    path = functools.partial(jaxsal.integrated_gradients, steps=2)
    methods = {
        "path": path,
        "noise": jaxsal.smoothgrad(jaxsal.gradient, samples=2),
        "perturbation": functools.partial(jaxsal.occlusion, window=2),
    }
    explain = jaxsal.explainer(_apply, methods)
    assert "while" in explain.lower(weights, image[None], 1, key=jax.random.key(2)).as_text()
    score = lambda x: _apply(weights, x[None])[0, 1]  # noqa: E731
    fast_score = rewritten(jax.vmap(score), {"conv_general_dilated": _decline})
    found, expected = (
        jax.jit(functools.partial(path, each))(image)
        for each in (lambda x: fast_score(x[None])[0], score)
    )
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
