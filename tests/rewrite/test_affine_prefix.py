"""The affine prefix: the gradient along a line from the two ends alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxsal.rewrite import affine_prefix
from jaxsal.rewrite.affine_prefix import MIN_WORK
from tests import toy

path_gradient = functools.partial(affine_prefix.path_gradient, min_work=0.0)  # prefixes are cheap

POSITIONS = np.array([0.0, 0.3, 0.8, 1.0], np.float32)
WEIGHTS = np.array([0.1, 0.4, 0.2, 0.5], np.float32)


def convolve(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def network(params, image):
    """Standardised intensities, a convolution with a bias, then everything that is not affine."""
    x = convolve((image[None] - 0.4) / 0.2, params["kernel"]) + params["bias"].reshape(1, 1, 1, -1)
    x = jnp.concatenate([x, x[..., ::-1]], -1)
    return (jnp.tanh(x).mean((1, 2)) @ params["head"])[0, 0]


def skipping(params, image):
    """The image itself goes past the convolution into the nonlinearity."""
    return network(params, image) * jnp.sum(jnp.sin(image))


def selecting(params, image):
    """Masked by a constant and padded; a product of two moving values is not affine."""
    kept = jnp.where(jnp.arange(6)[:, None, None] < 4, image, -1.0)
    x = convolve(jnp.pad(kept, ((1, 0), (0, 0), (0, 0)))[None], params["kernel"])
    return jnp.sum(x[0, 1:, ::2] ** 2 * image[:, ::2])


def linear(params, image):
    return jnp.sum(convolve(image[None], params["kernel"])) + 3.0


def nonlinear(params, image):
    return jnp.sum(convolve(jnp.abs(image[None]), params["kernel"]) ** 2)


SCORES = [network, skipping, selecting, linear, nonlinear]


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 3, 1, 3), "bias": (3,), "head": (6, 2)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(size=(8, 6, 5, 1)).astype(np.float32)


def on_line(score, start, end):
    """Σₖ wₖ ∇s(b + αₖ (x - b)), by way of `path_gradient`."""
    gradient_at, pull_back = path_gradient(score, start, end)
    values = jax.vmap(gradient_at)(POSITIONS)
    return pull_back([jnp.tensordot(WEIGHTS, v, 1) for v in values])


def plain(score, start, end):
    gradients = [jax.grad(score)(start + a * (end - start)) for a in POSITIONS]
    return sum(w * g for w, g in zip(WEIGHTS, gradients, strict=True))


def averaged(how, score, params, image):
    return how(functools.partial(score, params), jnp.full_like(image, 0.25), image)


@pytest.mark.parametrize("score", SCORES)
def test_equals_the_sum_of_gradients(score, params, images):
    toy.close(
        jax.jit(functools.partial(averaged, on_line, score))(params, images[0]),
        jax.jit(functools.partial(averaged, plain, score))(params, images[0]),
    )


@pytest.mark.parametrize("score", [skipping])
def test_derivatives_with_respect_to_parameters_and_image(score, params, images):
    def penalty(how, params, image):
        return jnp.sum(averaged(how, score, params, image) ** 2)

    written, expected = (
        jax.jit(jax.grad(functools.partial(penalty, how), argnums=(0, 1)))(params, images[0])
        for how in (on_line, plain)
    )
    toy.close(written, expected)


def test_under_vmap_and_shard_map(params, images):
    expected = jax.jit(jax.vmap(functools.partial(averaged, plain, network), (None, 0)))(
        params, images
    )
    batched = jax.vmap(functools.partial(averaged, on_line, network), (None, 0))
    toy.close(jax.jit(batched)(params, images), expected)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    spread = jax.shard_map(
        batched, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=True
    )
    toy.close(jax.jit(spread)(params, images), expected)


def repeated_convolutions(score, image):
    """Convolutions in the program of `gradient_at`, which a loop over positions repeats."""
    gradient_at, _ = path_gradient(score, jnp.zeros_like(image), image)
    return str(jax.make_jaxpr(gradient_at)(jnp.float32(0.5))).count("conv_general_dilated[")


def test_the_prefix_is_not_evaluated_along_the_path(params, images):
    score = functools.partial(network, params)
    assert repeated_convolutions(score, jnp.asarray(images[0])) == 0

    def plain_score(image):
        return score(image)

    plain_score.rewrite = False
    assert repeated_convolutions(plain_score, jnp.asarray(images[0])) == 2


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize(("side", "channels"), [(3, 1), (3, 3), (7, 3), (5, 16)])
def test_only_a_dear_prefix_is_taken_out(side, channels, platform):
    """A value of a k x k convolution of c channels costs 2 k² c operations; on a TPU none pays."""
    kernel = jnp.ones((side, side, channels, 4))

    def score(image):
        return jnp.sum(jnp.sin(convolve(image[None], kernel)))

    score.platform = platform
    gradient_at, _ = affine_prefix.path_gradient(
        score, jnp.zeros((9, 9, channels)), jnp.ones((9, 9, channels))
    )
    (value,) = jax.eval_shape(gradient_at, 0.5)
    dear = platform != "tpu" and 2 * side**2 * channels >= MIN_WORK
    assert value.shape == ((1, 9, 9, 4) if dear else (9, 9, channels))


def test_without_a_prefix_the_values_are_the_image(params, images):
    image, score = jnp.asarray(images[0]), functools.partial(nonlinear, params)
    gradient_at, pull_back = path_gradient(score, image, image)
    (value,) = gradient_at(jnp.float32(0.5))
    np.testing.assert_array_equal(pull_back([value]), value)
    np.testing.assert_array_equal(value, jax.grad(score)(image))


def test_a_linear_score_needs_one_gradient(params, images):
    image = jnp.asarray(images[0])
    gradient_at, pull_back = path_gradient(
        functools.partial(linear, params), jnp.zeros_like(image), image
    )
    (value,) = gradient_at(jnp.float32(0.3))
    assert value.shape == () and float(value) == 1.0
    toy.close(pull_back([value]), jax.grad(functools.partial(linear, params))(image))


def test_half_precision_sums_are_pulled_back(params, images):
    def half(image):
        return network(jax.tree.map(lambda p: p.astype(jnp.bfloat16), params), image)

    cast = jnp.asarray(images[0], jnp.bfloat16)
    gradient_at, pull_back = path_gradient(half, jnp.zeros_like(cast), cast)
    average = pull_back([v.astype(jnp.float32) for v in gradient_at(jnp.float32(0.5))])
    exact = jax.grad(functools.partial(network, params))(0.5 * jnp.asarray(images[0]))
    assert average.dtype == jnp.bfloat16
    toy.close(average.astype(jnp.float32), exact, tolerance=0.05)


def test_rewritten_calls_inside_keep_their_own_derivative(params, images):
    def score(image):
        x = convolve(image[None], params["kernel"])
        return jnp.sum(jax.nn.relu(x - x))  # exactly zero: the derivative of relu there is 0

    image = jnp.asarray(images[0])
    np.testing.assert_array_equal(on_line(score, jnp.zeros_like(image), image), 0.0 * image)


LOWEST = float(np.finfo(np.float32).min)
SEEN = np.arange(5) < 3


def weighed(x):
    """Attention over the columns, of which some are masked: no part of it may be NaN."""
    return jnp.sum(jax.nn.softmax(x, 2)[..., 0] ** 2 * jnp.arange(1.0, 7.0)[None, :, None])


def gated(x, factor):
    """Where the factor makes plus infinity of a value, and nothing flows back through that."""
    return jnp.sum(jnp.where(factor > 0, x**2, 0.1 * x))


def seen_or(x, value):
    return jnp.where(SEEN[None, None, :, None], x, value)


def closed_over(x):
    return gated(x, x * np.where(SEEN, np.inf, 1.0).astype(np.float32)[None, None, :, None])


def computed(x):
    never = jnp.full((1, 1, 5, 1), jnp.inf)
    return gated(x, x * jnp.concatenate([never[:, :, :2], -never[:, :, 2:]], 2))


INFINITE = {
    "chosen": lambda params, x: weighed(seen_or(x, -jnp.inf)),
    "chosen, traced": lambda params, x: weighed(seen_or(x, params["never"])),
    "added": lambda params, x: weighed(x + jnp.log(SEEN.astype(np.float32))[None, None, :, None]),
    "added, traced": lambda params, x: weighed(x + seen_or(0 * params["bias"][0], params["never"])),
    "padded": lambda params, x: weighed(
        jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=-jnp.inf)[:, :6]
    ),
    "joined": lambda params, x: weighed(jnp.concatenate([x, jnp.full_like(x, -jnp.inf)], 2)),
    "as low as there is": lambda params, x: (
        jnp.sum(weighed(seen_or(x, LOWEST)) * x[..., 1])
        + jnp.sum(jax.nn.softmax(jnp.where(SEEN[None, None, :, None] & False, x, LOWEST), 2) * x)
    ),
    "as low, traced": lambda params, x: jnp.sum(
        weighed(seen_or(x, 3.4e38 * params["bias"][0])) * x[..., 1]
    ),
    "their difference overflows": lambda params, x: jnp.sum(
        1e6 * jnp.tanh(lax.optimization_barrier(x * 3e37) * 2e-38)
    ),
    "multiplied": lambda params, x: gated(x, x * jnp.inf),
    "divided by zero": lambda params, x: gated(x, x / 0.0),
    "multiplied, by an array": lambda params, x: closed_over(x),
    "multiplied, computed": lambda params, x: computed(x),
}


def infinite(name, params, image):
    return INFINITE[name](params, convolve(image[None], params["kernel"]))


@functools.cache
def maps_and_slopes(how):
    """Of every case, from one program: on a path through zero, on which some pixels stay."""
    rng = np.random.default_rng(2)
    params = {
        "kernel": rng.normal(size=(3, 3, 1, 3)).astype(np.float32),
        "bias": -np.ones(3, np.float32),
        "never": np.float32(-np.inf),
    }
    image = rng.normal(size=(6, 5, 1)).astype(np.float32)
    image[:3, :4] = 0.25

    def map(name, params, image):
        score = functools.partial(infinite, name, params)
        return how(score, jnp.where(image == 0.25, 0.25, -image), image)

    def penalty(name, params, image):
        return jnp.sum(map(name, params, image) ** 2)

    def each(params, image):
        slopes = jax.grad(penalty, (1, 2))
        return (
            {name: map(name, params, image) for name in INFINITE},
            {name: slopes(name, params, image) for name in ("chosen", "added, traced")},
        )

    return jax.jit(each)(params, image)


def vmapped(score, start, end):
    """`plain`, in a shorter program."""
    slopes = jax.vmap(lambda a: jax.grad(score)(start + a * (end - start)))(POSITIONS)
    return jnp.tensordot(WEIGHTS, slopes, 1)


@pytest.mark.parametrize("name", INFINITE)
def test_constants_without_bound(name):
    map, expected = (maps_and_slopes(how)[0][name] for how in (on_line, vmapped))
    assert np.all(np.isfinite(expected)) and np.any(expected)
    toy.close(map, expected)


@pytest.mark.parametrize("name", ["chosen", "added, traced"])
def test_derivatives_beside_constants_without_bound(name):
    """Where both ends are equal too, and the value therefore the first one's."""
    slopes, expected = (maps_and_slopes(how)[1][name] for how in (on_line, vmapped))
    for part in ("kernel", "bias"):
        toy.close(slopes[0][part], expected[0][part])
    toy.close(slopes[1], expected[1])


@pytest.mark.parametrize("name", ["chosen", "added", "padded", "multiplied"])
def test_the_prefix_before_a_constant_without_bound_stays(params, images, name):
    score = functools.partial(infinite, name, params)
    assert repeated_convolutions(score, jnp.asarray(images[0])) == 0
