"""Class activation maps: closed forms, shapes in one to three dimensions, and what is refused."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import jaxsal
from jaxsal.methods.ablation_cam import ablation_cam
from jaxsal.methods.cam import (
    eigen_cam,
    element_wise_grad_cam,
    grad_cam,
    grad_cam_from,
    grad_cam_plus_plus,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    x_grad_cam,
)
from jaxsal.methods.kpca_cam import kpca_cam
from jaxsal.methods.score_cam import score_cam
from jaxsal.methods.shapley_cam import shapley_cam
from tests.zoo import ZOO

METHODS = (grad_cam, grad_cam_plus_plus, hires_cam, layer_cam, x_grad_cam, eigen_cam, score_cam)
METHODS += (element_wise_grad_cam, kpca_cam, shapley_cam, ablation_cam)
RNG = np.random.default_rng(0)
IMAGE = jnp.asarray(RNG.normal(size=(6, 4, 3)).astype(np.float32))
G = RNG.normal(size=(6, 4, 3)).astype(np.float32)
RAW = {"relu": False, "resize": False, "layer": "features"}


def _linear(image):
    """A score whose layer is the image and whose gradient is G everywhere."""
    return (checkpoint_name(image[None], "features") * G[None].astype(image.dtype)).sum()


def _by_hand():
    a, g = np.asarray(IMAGE), G
    alpha = g**2 / (2 * g**2 + a.sum((0, 1)) * g**3 + 1e-6)
    return {
        "grad_cam": a @ g.mean((0, 1)),
        "grad_cam_plus_plus": a @ (np.maximum(g, 0) * alpha).sum((0, 1)),
        "hires_cam": (a * g).sum(-1),
        "layer_cam": (a * np.maximum(g, 0)).sum(-1),
        "x_grad_cam": a @ ((g * a).sum((0, 1)) / (a.sum((0, 1)) + 1e-7)),
    }


@pytest.mark.parametrize("method", METHODS[:5], ids=lambda method: method.__name__)
def test_closed_forms_and_options(method):
    expected = _by_hand()[method.__name__]

    def compute(image):
        raw = method(_linear, image, **RAW)
        return raw, method(_linear, image, layer="features", resize=False), image

    raw, positive, _ = jax.jit(compute)(IMAGE)
    np.testing.assert_allclose(raw, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(positive, np.maximum(raw, 0))


def _two_layers(image):
    """Two tagged layers of different sizes, and a curved score with two classes."""
    first = checkpoint_name(jnp.tanh(image[None] * G[None]), "first")
    second = checkpoint_name(jnp.tanh(first.reshape(1, 3, 2, 2, 2, 3).max((2, 4))), "second")
    return (second * G[None, :3, :2]).sum() + (first**3).sum()


def test_a_list_of_layers_gives_the_mean_of_their_resized_maps():
    names = ("grad_cam", "score_cam", "ablation_cam", "smooth_grad_cam_plus_plus")
    cams = {name: jaxsal.METHODS[name] for name in names}
    cams["guided_grad_cam"] = lambda score, image, layer: jaxsal.guided_grad_cam(
        lambda x: jax.nn.relu(score(x) + 9), image, layer=layer
    )
    key = {"smooth_grad_cam_plus_plus": {"key": jax.random.key(0)}}

    def compute(image):
        return {
            name: [
                cam(_two_layers, image, layer=layer, **key.get(name, {}))
                for layer in (["first", "second"], "first", ["second"])
            ]
            for name, cam in cams.items()
        }

    for name, (both, first, second) in jax.jit(compute)(IMAGE).items():
        np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.abs(first - second).max() > 0.01
    with pytest.raises(ValueError, match=r"resize: maps of the shapes \[\(6, 4\), \(3, 2\)\]"):
        grad_cam(_two_layers, IMAGE, layer=["first", "second"], resize=False)
    with pytest.raises(ValueError, match="layer: expected a layer or a list of layers, got an em"):
        grad_cam(_two_layers, IMAGE, layer=[])


def test_hires_cam_completes_a_linear_head():
    raw = hires_cam(_linear, IMAGE, **RAW)
    assert float(raw.sum()) == pytest.approx(float(_linear(IMAGE)), rel=1e-4)


@pytest.mark.parametrize("shape", [(6, 4, 3), (2, 2, 9)])
def test_eigen_cam_is_the_first_component_whichever_side_is_the_longer(shape):
    image = RNG.normal(size=shape).astype(np.float32)
    rows = image.reshape(-1, shape[-1])
    centred = rows - rows.mean(0)
    expected = centred @ np.linalg.svd(centred)[2][0]
    expected *= np.sign(expected @ centred.mean(1))
    score = lambda image: checkpoint_name(image, "features").sum()  # noqa: E731
    found = eigen_cam(score, jnp.asarray(image)[None], **RAW)
    np.testing.assert_allclose(found.reshape(-1), expected, rtol=1e-3, atol=1e-4)


def test_score_cam_weighs_channels_by_the_score_seen_through_them():
    image = np.asarray(IMAGE)
    masks = (image - image.min((0, 1))) / (np.ptp(image, axis=(0, 1)) + 1e-8)
    scores = np.stack([(image * masks[..., c : c + 1] * G).sum() for c in range(3)])
    weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    for chunk in (1, 2, 3):
        found = jax.jit(lambda x, chunk=chunk: score_cam(_linear, x, chunk=chunk, **RAW))(IMAGE)
        np.testing.assert_allclose(found, image @ weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_images_and_dead_layers_give_no_nan(method, value):
    """Neither in the map nor in its derivative."""
    score = lambda image: jax.nn.relu(_linear(image) - 1e6)  # noqa: E731
    total = lambda image: method(score, image, layer="features").sum()  # noqa: E731
    found = jax.jit(jax.value_and_grad(total))(jnp.full_like(IMAGE, value))
    assert all(np.all(np.isfinite(each)) for each in found)


@pytest.mark.parametrize("name", ["linen", "equinox", "vit", "volume", "signal", "unet"])
def test_maps_have_the_images_spatial_shape_or_the_layers(name):
    animal = ZOO[name]()
    known = {"layer": animal.layer, "spatial": animal.spatial}
    for method in (grad_cam, eigen_cam, score_cam):
        shapes = jax.eval_shape(
            lambda image, method=method: [
                method(animal.score(), image, resize=resize, **known)
                for resize in ("nearest", False)
            ],
            animal.images(1)[0],
        )
        whole = animal.shape[1:] if name == "equinox" else animal.shape[:-1]
        assert [each.shape for each in shapes] == [whole, animal.grid]
        assert all(each.dtype == jnp.float32 for each in shapes)


def test_guided_grad_cam_is_the_product_over_the_image():
    animal = ZOO["equinox"]()
    found = jax.eval_shape(lambda x: guided_grad_cam(animal.score(), x), animal.images(1)[0])
    assert found.shape == animal.shape
    with pytest.raises(ValueError, match="resize: expected True, 'bilinear' or 'nearest'"):
        guided_grad_cam(animal.score(), animal.images(1)[0], resize=False)


def _convolved(x, out, size, spec="NCHW", groups=1):
    """One image through a convolution without padding: of electrodes, of steps, of slices."""
    lead, kernel = x[None], {"NCHW": "OIHW", "NWC": "WIO", "NDHWC": "DHWIO"}[spec]
    channels = lead.shape[spec.index("C")]
    sizes = {"O": out, "I": channels // groups, **dict(zip(spec.strip("NC"), size, strict=True))}
    weights = np.random.default_rng(7).normal(size=[sizes[axis] for axis in kernel])
    return jax.lax.conv_general_dilated(
        lead,
        jnp.asarray(weights, jnp.float32),
        (1,) * len(size),
        "VALID",
        feature_group_count=groups,
        dimension_numbers=(spec, kernel, spec),
    )[0]


# Features of one image, the axes of their channels-last form, and the image's shape.
_THIN = {
    "all electrodes": (
        lambda x: jax.nn.elu(_convolved(_convolved(x, 2, (1, 3)), 4, (5, 1), groups=2)),
        lambda z: jnp.moveaxis(z, 0, -1),
        (1, 5, 8),
    ),
    "one electrode from the start": (
        lambda x: jnp.tanh(_convolved(x, 4, (1, 3))),
        lambda z: jnp.moveaxis(z, 0, -1),
        (1, 1, 8),
    ),
    "one slice": (
        lambda x: jax.nn.elu(_convolved(x, 4, (3, 2, 2), "NDHWC")),
        lambda z: z,
        (3, 4, 5, 1),
    ),
    "squeezed, then activated": (
        lambda x: jnp.tanh(_convolved(x, 4, (5, 1))[:, 0]),
        lambda z: jnp.moveaxis(z, 0, -1)[None],
        (1, 5, 8),
    ),
    "squeezed and back": (
        lambda x: jnp.tanh(jnp.expand_dims(_convolved(x, 4, (5, 1)).squeeze(1), 1)),
        lambda z: jnp.moveaxis(z, 0, -1),
        (1, 5, 8),
    ),
}


@pytest.mark.parametrize("name", _THIN)
def test_a_layer_with_an_axis_of_length_one_under_vmap(name):
    """The activated value, with all of the image's spatial axes."""
    features, last, shape = _THIN[name]
    image = jnp.asarray(RNG.normal(size=shape), jnp.float32)
    value = features(image)
    weights = jnp.asarray(RNG.normal(size=(value.size, 2)), jnp.float32)
    head = lambda z: z.reshape(-1) @ weights  # noqa: E731
    apply = jax.vmap(lambda x: head(features(x)))
    a, g = last(value), last(jax.grad(lambda z: head(z)[1])(value))
    expected = a @ g.mean(tuple(range(g.ndim - 1)))
    score = lambda x: apply(x[None])[0, 1]  # noqa: E731
    found = jax.jit(lambda x: grad_cam(score, x, relu=False, resize=False))(image)
    assert found.shape == expected.shape == last(value).shape[:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).max() > 0.05


def test_a_layer_of_one_position_is_refused():
    """By number, by name, by `spatial`, and where nothing else was found."""
    weights = jnp.asarray(RNG.normal(size=(2, 4)), jnp.float32)

    def score(x):
        one = checkpoint_name(jnp.tanh(_convolved(x, 4, (8,), "NWC")), "one")
        return (one @ weights.T).sum()

    signal = jnp.ones((8, 2))
    for layer in (-1, "one"):
        with pytest.raises(ValueError, match=r"layer: .* has one position, a map of it is one con"):
            grad_cam(score, signal, layer=layer)
    with pytest.raises(ValueError, match="has one position"):
        grad_cam(score, signal, layer="one", spatial=lambda value: value[None])
    with pytest.raises(ValueError, match=r"layer: no value that every path .* lies over"):
        grad_cam(score, signal)


def _tokens_and_back(x):
    """A convolution, attention over all its positions, a transposition."""
    y = _convolved(x.transpose(2, 0, 1), 5, (3, 3))
    tokens = y.reshape(5, -1).T
    mixed = jax.nn.softmax(tokens @ tokens.T) @ tokens
    return jnp.tanh(mixed.reshape(6, 8, 5).transpose(1, 0, 2))[None]


def _pooled_by_reshape(x):
    y = _convolved(x.transpose(2, 0, 1), 5, (3, 3))[None]
    y = y.reshape(1, 5, 3, 2, 4, 2).max((3, 5))
    return jnp.tanh(_convolved(y[0], 4, (1, 2)))[None]


def _upsampled(x):
    y = jnp.tanh(_convolved(x.transpose(2, 0, 1), 5, (3, 3)))
    return jnp.repeat(jnp.repeat(y, 2, 1), 3, 2)[None]


def _unshuffled(x):
    y = x.transpose(2, 0, 1).reshape(2, 4, 2, 5, 2).transpose(0, 2, 4, 1, 3)
    return jnp.tanh(_convolved(y.reshape(8, 4, 5), 3, (2, 2)))[None]


def _windows(x):
    """Attention in shifted windows of 2 x 2, as a Swin's, and channels first after it."""
    y = jnp.roll(x, (-1, -1), (0, 1)).reshape(4, 2, 5, 2, 2).transpose(0, 2, 1, 3, 4)
    tokens = y.reshape(20, 4, 2)
    mixed = jax.nn.softmax(tokens @ tokens.transpose(0, 2, 1)) @ tokens
    y = mixed.reshape(4, 5, 2, 2, 2).transpose(0, 2, 1, 3, 4).reshape(8, 10, 2)
    return jnp.tanh(jnp.roll(y, (1, 1), (0, 1))).transpose(2, 0, 1)[None]


def _shuffled(x):
    """Depth to space and a convolution, which says that its axes are the image's."""
    y = _convolved(x.transpose(2, 0, 1), 8, (3, 3)).reshape(2, 2, 2, 6, 8)
    y = y.transpose(0, 3, 1, 4, 2).reshape(2, 12, 16)
    return jnp.tanh(_convolved(y, 3, (2, 2)))[None]


def _mirrored(x):
    """A value that lies over the image's mirror image: the map is mirrored back."""
    return jnp.flip(jnp.tanh(_convolved(x.transpose(2, 0, 1), 3, (3, 3))), 2)[None]


def _rows(x):
    """A recurrent layer over the image's rows."""
    turn = lambda state, row: (0.5 * state + row, jnp.tanh(state - row))  # noqa: E731
    return jax.lax.scan(turn, jnp.zeros((10, 2)), x)[1].transpose(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("features", "last"),
    [
        (_tokens_and_back, (2, 1, 3)),
        (_pooled_by_reshape, (2, 3, 1)),
        (_upsampled, (2, 3, 1)),
        (_unshuffled, (2, 3, 1)),
        (_windows, (2, 3, 1)),
        (_shuffled, (2, 3, 1)),
        (_rows, (2, 3, 1)),
        (_mirrored, (2, 3, 1)),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_maps_of_values_whose_axes_were_merged_and_split(features, last):
    image = jnp.asarray(RNG.normal(size=(8, 10, 2)), jnp.float32)
    order = (0, *last)
    weights = jnp.asarray(RNG.normal(size=features(image).shape), jnp.float32)
    head = lambda value: jnp.sin(value * weights).sum()  # noqa: E731

    def compute(image):
        score = lambda x: head(checkpoint_name(features(x), "f"))  # noqa: E731
        found = grad_cam(score, image, layer="f", relu=False)
        turn = [2] if features is _mirrored else []
        value = jnp.flip(features(image).transpose(order), turn)
        back = lambda y: head(jnp.flip(y, turn).transpose(np.argsort(order)))  # noqa: E731
        return found, grad_cam_from(value, back, image, relu=False)

    found, expected = jax.jit(compute)(image)
    assert found.shape == (8, 10) and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_values_that_lie_nowhere_need_to_be_told():
    """A ViT's queries are tokens by heads, Swin's windows are rows of tokens."""
    query = "block_0/MultiHeadDotProductAttention_0/query"
    animal = ZOO["vit"]()
    told = (
        r"shape \(1, 7, 2, 4\) has no spatial axes; give spatial=.* lost at f32\[1,6,8\] by reshape"
    )
    with pytest.raises(ValueError, match=told):
        jax.eval_shape(lambda x: grad_cam(animal.score(), x, layer=query), animal.images(1)[0])
    parted = lambda x: x.reshape(3, 2, 2, 2, 3).transpose(0, 2, 1, 3, 4)  # noqa: E731
    tagged = lambda x: checkpoint_name(parted(x), "windows").sum()  # noqa: E731
    with pytest.raises(ValueError, match=r"\(3, 2, 2, 2, 3\) has no spatial axes; give spatial="):
        grad_cam(tagged, IMAGE, layer="windows")


def test_tokens_need_to_be_told_where_they_lie():
    animal = ZOO["vit"]()
    for method in (grad_cam, eigen_cam, score_cam, ablation_cam):
        with pytest.raises(
            ValueError, match=r"shape \(1, 7, 8\) has no spatial axes; give spatial="
        ):
            jax.eval_shape(
                lambda x, method=method: method(animal.score(), x, layer=animal.layer),
                animal.images(1)[0],
            )
    flat = lambda tokens: tokens[1:]  # noqa: E731
    with pytest.raises(
        ValueError, match=r"spatial: expected it to return 2 spatial axes.*\(6, 8\)"
    ):
        grad_cam(animal.score(), animal.images(1)[0], layer=animal.layer, spatial=flat)
    with pytest.raises(ValueError, match=r"spatial: expected it to return .* got None"):
        grad_cam(
            animal.score(), animal.images(1)[0], layer=animal.layer, spatial=lambda tokens: None
        )


def test_unknown_resize():
    with pytest.raises(ValueError, match=r"resize: expected True, .* got 'bicubic'"):
        grad_cam(_linear, IMAGE, layer="features", resize="bicubic")


@pytest.mark.parametrize("batch", [True, False])
def test_from_two_halves(batch):
    def features(image):
        return jnp.sin(image[None] if batch else image)

    def head(value):
        return (value * G.reshape(value.shape)).sum()

    def compute(image):
        whole = grad_cam(lambda x: head(checkpoint_name(features(x), "f")), image, layer="f")
        return (
            whole,
            grad_cam_from(features, head, image),
            grad_cam_from(features(image), head, image),
        )

    whole, from_function, from_value = jax.jit(compute)(IMAGE)
    np.testing.assert_allclose(from_function, whole, rtol=1e-6)
    np.testing.assert_allclose(from_value, whole, rtol=1e-6)
    assert whole.shape == (6, 4) and whole.max() > 0


def test_bfloat16_scores_give_float32_maps():
    half = lambda image: _linear(image.astype(jnp.bfloat16)).astype(jnp.float32)  # noqa: E731
    found = jax.jit(lambda x: grad_cam(half, x, **RAW))(IMAGE)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, _by_hand()["grad_cam"], atol=0.05)


def test_options_are_readable_from_outside():
    for method in METHODS:
        options = list(inspect.signature(method).parameters)[:6]
        assert options == ["score", "image", "layer", "relu", "resize", "spatial"]
        assert method.__doc__ and method.__module__.startswith("jaxsal.methods.")
