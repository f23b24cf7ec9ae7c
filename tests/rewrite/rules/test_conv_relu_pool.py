"""The kernels of a first stage: where they are put, and that the program is the same."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxsal
from jaxsal.models import CNN
from jaxsal.rewrite import at_lowering
from jaxsal.rewrite.kernels import conv_relu_pool, conv_relu_pool_gradient, on_gpu
from jaxsal.rewrite.optimize import count_rewrites, optimize
from tests import toy

ONLY = ("conv_relu_pool", "conv_relu_pool_gradient")
BOTH = dict.fromkeys(ONLY, 1)
NEITHER = dict.fromkeys(ONLY, 0)
NHWC = ("NHWC", "HWIO", "NHWC")


def stage(
    image, *, features=2, kernel=(3, 3), conv=None, relu=jax.nn.relu, window=(2, 2), stride=None
):
    """A stage of one image, and a score of it; a program that the rules suit, as it is."""
    shape = (*kernel, image.shape[-1], features)
    weights = jnp.sin(2.0 * jnp.arange(np.prod(shape), dtype=jnp.float32)).reshape(shape)
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC}
    y = lax.conv_general_dilated(image[None], weights.astype(image.dtype), **options | (conv or {}))
    y = relu(y + jnp.arange(features, dtype=y.dtype).reshape(1, 1, 1, -1))
    sizes = ((1, *each, 1) for each in (window, stride or window))
    return jnp.sin(lax.reduce_window(y, -jnp.inf, lax.max, *sizes, "VALID")).sum()


def channels_first(image):
    order = ("NCHW", "HWIO", "NCHW")
    y = lax.conv_general_dilated(
        image[None], jnp.ones((3, 3, 8, 2)), (1, 1), "SAME", dimension_numbers=order
    )
    window = (1, 1, 2, 2)
    y = lax.reduce_window(jax.nn.relu(y), -jnp.inf, lax.max, window, window, "VALID")
    return jnp.sin(y).sum()


IMAGE = jax.random.normal(jax.random.key(1), (8, 9, 1))
COLOURS = jax.random.normal(jax.random.key(1), (8, 9, 3))

FOUND = {
    "grey": (stage, IMAGE),
    "colours": (stage, COLOURS),
    "bfloat16": (stage, IMAGE.astype(jnp.bfloat16)),
    "large windows": (functools.partial(stage, window=(3, 2)), IMAGE),
}
LEFT = {
    "stride 2": (functools.partial(stage, conv={"window_strides": (2, 2)}), IMAGE),
    "dilated kernel": (functools.partial(stage, conv={"rhs_dilation": (2, 2)}), IMAGE),
    "7x7 of colours": (functools.partial(stage, kernel=(7, 7)), COLOURS),
    "windows that overlap": (functools.partial(stage, window=(3, 3), stride=(2, 2)), IMAGE),
    "windows apart": (functools.partial(stage, stride=(3, 3)), IMAGE),
    "many channels": (stage, jnp.ones((8, 8, 16))),
    "leaky": (functools.partial(stage, relu=jax.nn.leaky_relu), IMAGE),
    "channels first": (channels_first, jnp.ones((8, 8, 9))),
}


@pytest.mark.parametrize("name", FOUND | LEFT)
def test_it_is_found_where_it_suits_and_nowhere_else(name):
    score, image = (FOUND | LEFT)[name]
    expected = BOTH if name in FOUND else NEITHER
    assert count_rewrites(jax.grad(score), image, only=ONLY) == expected


def test_a_stage_that_nothing_is_taken_the_derivative_of_is_left_alone():
    assert count_rewrites(stage, IMAGE, only=ONLY) == NEITHER
    # Its parameters have a derivative, and the image has none: then there is a byte to keep.
    scaled = jax.grad(lambda scale: stage(IMAGE, relu=lambda y: jax.nn.relu(scale * y)))
    assert count_rewrites(scaled, jnp.float32(1), only=ONLY)["conv_relu_pool_gradient"] == 0


def test_a_result_wider_than_the_inputs_is_left_alone():
    wider = functools.partial(stage, conv={"preferred_element_type": jnp.float32})
    found = count_rewrites(jax.grad(wider), IMAGE.astype(jnp.bfloat16), only=ONLY)
    assert found["conv_relu_pool"] == 0


def test_it_is_off_everywhere_until_it_is_measured():
    for platform in ("cpu", "gpu", "tpu"):
        assert not NEITHER.keys() & count_rewrites(jax.grad(stage), IMAGE, platform=platform)


@pytest.mark.parametrize("norm", [False, True])
def test_the_first_stage_of_the_study_one_image_or_several(norm):
    model = CNN(classes=2, widths=(4, 5), norm=norm)
    images = jax.ShapeDtypeStruct((2, 7, 9, 1), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)

    def gradient(params, image):
        return jaxsal.gradient(lambda image: model.apply(params, image[None])[0, 1], image)

    # Methods with several points an image have a batch in the program.
    for fun, given in ((gradient, IMAGE), (jax.vmap(gradient, (None, 0)), images)):
        assert count_rewrites(fun, params, given, only=ONLY) == BOTH


GAIN = jnp.array([0.5, -2.0])
small = functools.partial(
    stage, kernel=(2, 1), relu=lambda y: jax.nn.relu(y * GAIN.reshape(1, 1, 1, -1))
)
SMALL = jax.random.normal(jax.random.key(2), (2, 5, 4, 1)).at[1, :3].set(0)


def interpreted(monkeypatch):
    """Lets the kernels be used where they are interpreted."""
    monkeypatch.setattr(on_gpu, "compiles_for", lambda platform: platform == "cpu")
    for module in (conv_relu_pool, conv_relu_pool_gradient):
        name = module.__name__.rpartition(".")[-1]
        kernel = functools.partial(getattr(module, name), interpret=True)
        monkeypatch.setattr(module, name, kernel)


@pytest.mark.parametrize("only", [ONLY, ONLY[1:]], ids=["both", "gradient"])
def test_with_the_kernels_the_gradient_is_the_same(only, monkeypatch):
    expected = jax.jit(jax.vmap(jax.grad(small)))(SMALL)
    interpreted(monkeypatch)
    lowered = jax.jit(jax.vmap(optimize(jax.grad(small), only=only))).lower(SMALL)
    assert "select_and_scatter" not in lowered.as_text()
    toy.close(lowered.compile()(SMALL), expected)


def test_its_derivative_is_that_of_the_program_it_replaces(monkeypatch):
    interpreted(monkeypatch)  # A kernel has no derivative.

    def slopes(gradient):
        def size(image):
            return jnp.sum(gradient(image) ** 2)

        return jax.jvp(size, (SMALL[0],), (SMALL[1],))[1], jax.grad(size)(SMALL[0])

    gradient = jax.grad(small)
    ours, theirs = jax.jit(lambda: (slopes(optimize(gradient, only=ONLY)), slopes(gradient)))()
    assert np.abs(ours[0]) > 0.1
    for mine, other in zip(ours, theirs, strict=True):
        toy.close(mine, other)


def test_on_several_devices_and_exported_it_is_the_program_it_replaces(monkeypatch):
    interpreted(monkeypatch)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("batch",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    program = jax.jit(jax.vmap(optimize(jax.grad(small), only=ONLY)))
    texts = [program.lower(x).as_text() for x in (SMALL, jax.device_put(SMALL, spread))]
    texts.append(jax.export.export(program)(SMALL).mlir_module())
    # An interpreted kernel is a loop over its programs.
    assert ["stablehlo.while" in text for text in texts] == [True, False, False]


def test_arrays_that_kernels_cannot_address_are_left_to_the_program(monkeypatch):
    interpreted(monkeypatch)
    for most, kernels in ((SMALL.size + 1, True), (SMALL.size, False)):
        monkeypatch.setattr(at_lowering, "ADDRESSED", most)
        program = jax.jit(jax.vmap(optimize(jax.grad(small), only=ONLY)))
        assert ("stablehlo.while" in program.lower(SMALL).as_text()) == kernels


def test_without_a_gpu_that_is_known_it_is_the_program_it_replaces():
    program = jax.jit(jax.vmap(optimize(jax.grad(small), only=ONLY)))
    lowered = program.trace(SMALL).lower(lowering_platforms=("cuda",))
    assert "custom_call" not in lowered.as_text()
