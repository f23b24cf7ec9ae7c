"""Whole programs: the rewritten one says the same, inside and around every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxsal.rewrite.optimize import REWRITES, count_rewrites, optimize
from tests import toy

SHAPE = (9, 8, 1)


def convolve(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def network(params, images):
    """Two convolutions, ReLUs and pools (the second pool drops a row), and a product."""
    x = images
    for layer in (params["first"], params["second"]):
        x = jax.nn.relu(convolve(x, layer))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jnp.tanh(x.mean((1, 2)) @ params["last"])


def score(params, image):
    return network(params, image[None])[0, 1]


def gradient(params, image):
    return jax.grad(score, argnums=1)(params, image)


def path(params, image):
    """An integrated gradient of four steps, in a `scan`."""

    def step(total, alpha):
        return total + gradient(params, alpha * image), None

    total, _ = lax.scan(step, jnp.zeros_like(image), jnp.linspace(0.25, 1.0, 4))
    return image * total / 4


def loss(params, images, labels):
    logits = network(params, images)
    return -(jax.nn.log_softmax(logits) * jax.nn.one_hot(labels, 3)).sum(-1).mean()


def epoch(params, batches, labels):
    """Two steps of gradient descent, in a `scan`."""

    def step(params, batch):
        value, slope = jax.value_and_grad(loss)(params, *batch)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, slope), value

    return lax.scan(step, params, (batches, labels))


@pytest.fixture(scope="module")
def params():
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = {"first": (3, 3, 1, 4), "second": (3, 3, 4, 5), "last": (5, 3)}
    return {
        name: jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


@pytest.fixture(scope="module")
def images():
    """Most of each is a flat, black background."""
    x = jax.random.normal(jax.random.key(1), (8, *SHAPE))
    return jnp.maximum(x - 0.5, 0.0).at[:, 6:].set(0.0)


@pytest.fixture(params=["cpu", "gpu"])
def faster(request):
    """With what is on there; the programs are right on any platform."""
    return functools.partial(optimize, platform=request.param)


@pytest.mark.parametrize("method", [gradient, path])
def test_under_jit_vmap_and_shard_map(faster, method, params, images):
    batched = jax.vmap(method, (None, 0))
    expected = jax.jit(batched)(params, images)
    rewritten = jax.vmap(faster(method), (None, 0))
    toy.close(jax.jit(rewritten)(params, images), expected)
    toy.close(jax.jit(faster(batched))(params, images), expected)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    spread = jax.shard_map(
        rewritten, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=True
    )
    toy.close(jax.jit(spread)(params, images), expected)


@pytest.mark.parametrize("platform", [None, "cpu"])
@pytest.mark.parametrize("within", [False, True], ids=["mapped", "of-a-batch"])
def test_on_a_mesh_with_explicit_axes_operations_stay(within, platform, params, images):
    def maps(images):
        mapped = functools.partial(jax.vmap, in_axes=(None, 0))
        fast = functools.partial(optimize, platform=platform)
        return (fast(mapped(gradient)) if within else mapped(fast(gradient)))(params, images)

    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        spread = jax.device_put(images[:2], jax.NamedSharding(mesh, P("i")))
        found = jax.jit(maps)(spread)
        assert jax.typeof(found).sharding.spec[0] == "i"
    toy.close(found, jax.vmap(gradient, (None, 0))(params, images[:2]))


def test_one_image_without_jit(faster, params, images):
    toy.close(faster(gradient)(params, images[0]), gradient(params, images[0]))


@pytest.mark.parametrize("method", [gradient, path])
def test_derivatives_of_the_map(faster, method, params, images):
    def penalty(method, params, image):
        return (method(params, image) ** 2).sum()

    plain, rewritten = (
        jax.jit(jax.grad(functools.partial(penalty, m), argnums=(0, 1)))
        for m in (method, faster(method))
    )
    toy.close(rewritten(params, images[0]), plain(params, images[0]))


def test_forward_derivative_of_the_map(faster, params, images):
    def moved(method):
        return jax.jit(lambda x, t: jax.jvp(lambda x: method(params, x), (x,), (t,))[1])

    toy.close(moved(faster(gradient))(*images[:2]), moved(gradient)(*images[:2]))


def test_training(faster, params, images):
    batches, labels = images.reshape(2, 4, *SHAPE), jnp.arange(8).reshape(2, 4) % 3
    step = jax.value_and_grad(loss)
    toy.close(
        jax.jit(faster(step))(params, batches[0], labels[0]), step(params, batches[0], labels[0])
    )
    toy.close(
        jax.jit(faster(epoch))(params, batches, labels), jax.jit(epoch)(params, batches, labels)
    )


def test_applied_twice_changes_nothing_more(params, images):
    counts = count_rewrites(optimize(path, platform="cpu"), params, images[0], platform="cpu")
    assert not any(counts.values())


def test_counts_what_it_replaces(params, images):
    counts = count_rewrites(gradient, params, images[0], platform="cpu")
    expected = {
        "max_pool_gradient": 2,
        "im2col_conv": 1,
        "matmul_shift_conv": 1,
        "channels_last_conv": 1,
    }
    since_0_11 = {"max_pool_primal": 2}
    expected |= {n: count for n, count in since_0_11.items() if REWRITES[n].platforms["cpu"]}
    assert {name: count for name, count in counts.items() if count} == expected
    forward = count_rewrites(score, params, images[0], platform="cpu")
    assert {n: c for n, c in forward.items() if c} == {"max_pool": 2, "im2col_conv": 1}


def test_custom_derivatives_stay(faster, params, images):
    @jax.custom_vjp
    def tripled(x):
        return x

    tripled.defvjp(lambda x: (x, None), lambda _, g: (3.0 * g,))

    @jax.custom_jvp
    def doubled(x):
        return x

    doubled.defjvp(lambda x, t: (x[0], 2.0 * t[0]))

    def tampered(image):
        return score(params, tripled(doubled(image)))

    written = jax.grad(faster(tampered))(images[0])
    toy.close(written, 6.0 * gradient(params, images[0]))


def test_named_scopes_stay(faster, params, images):
    def scoped(image):
        with jax.named_scope("stem"):
            return score(params, image)

    stacks = [str(e.source_info.name_stack) for e in jax.make_jaxpr(faster(scoped))(images[0]).eqns]
    assert all("stem" in stack for stack in stacks)


def test_counts_what_it_replaces_on_a_gpu(params, images):
    counts = count_rewrites(gradient, params, images[0], platform="gpu")
    assert {n for n, c in counts.items() if c} == {
        "relu_pool_gradient",
        "max_pool_primal",
        "max_pool_gradient",
        "unrolled_conv",
        "matmul_shift_conv",
    }


def test_nothing_is_on_where_nothing_is_known(params, images):
    assert count_rewrites(gradient, params, images[0], platform="some other") == {}


def test_on_a_tpu_the_first_stage_is_one_convolution(params, images):
    found = count_rewrites(gradient, params, images[0], platform="tpu")
    assert found == {"strided_conv_pool": 1, "strided_conv_pool_gradient": 1}


def test_only_some(params, images):
    counts = count_rewrites(gradient, params, images[0], only=["channels_last_conv"])
    assert counts == {"channels_last_conv": 2}
    with pytest.raises(ValueError, match="strassen"):
        optimize(gradient, only=["strassen"])


def test_every_rewrite_says_where_it_was_measured():
    for name, rewrite in REWRITES.items():
        assert "cpu" in rewrite.platforms, name


def pooled(x):
    windows = (1, 2, 2, 1)
    return jnp.sum(lax.reduce_window(x**2, -jnp.inf, lax.max, windows, windows, "VALID"))


def looped(fun):
    return lambda x: lax.scan(lambda c, _: (c + fun(x), None), jnp.zeros(()), None, length=2)[0]


slope = jax.grad(pooled)
PROGRAMS = {
    "plain": (pooled, False),
    "jit": (jax.jit(pooled), False),
    "vmap": (jax.vmap(lambda x: pooled(x[None])), False),
    "scan": (looped(pooled), False),
    "remat": (jax.checkpoint(pooled), False),
    "twice": (optimize(pooled, only=["im2col_conv"]), False),
    "grad": (slope, True),
    "jvp": (lambda x: jax.jvp(pooled, (x,), (x,)), True),
    "grad of jit": (jax.grad(jax.jit(pooled)), True),
    "jit of grad": (jax.jit(slope), True),
    "grad in scan": (looped(lambda x: slope(x).sum()), True),
    "grad in cond": (lambda x: lax.cond(x.sum() > 0, slope, jnp.zeros_like, x), True),
    "grad of remat": (jax.grad(jax.checkpoint(pooled)), True),
    "grad, twice": (optimize(slope, only=["max_pool_gradient"]), True),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_pool_knows_whether_its_program_differentiates(name):
    fun, differentiates = PROGRAMS[name]
    counts = count_rewrites(fun, jnp.ones((1, 4, 4, 1)), only=["max_pool", "max_pool_primal"])
    used = "max_pool_primal" if differentiates else "max_pool"
    assert {which for which, count in counts.items() if count} == {used}
