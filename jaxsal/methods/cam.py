"""Class activation maps: what a layer's channels say, weighted by what the score makes of them.

A `[*s, C]` is the layer's value with its spatial axes first, and G = dscore/dA its gradient. Every
method makes a map `[*s]` of the two, keeps its positive part and brings it to the image's size.
Called as `method(score, image, *, layer=None, relu=True, resize=True, spatial=None)`.

Args:
    score: image -> scalar.
    image: `[...]` float.
    layer: which layer, see `jaxsal.rewrite.split_at_layer`; `None` = the last feature map that
        every path from the image to the score passes, after norm and activation, before the pools
        that follow.
    relu: whether to keep the positive part only.
    resize: `True` = `"bilinear"`, `"nearest"`, or `False`: the map keeps the layer's spatial shape.
    spatial: for a layer without spatial axes (a ViT's tokens, a Swin's windows): a function from
        its value, without its batch axis, to `[*s, C]`, by reshaping and selecting; the gradient
        goes the same way. Needed where the program does not tell which axes are the image's.

Returns:
    A float32 map of the image's spatial shape, see `jaxsal.rewrite.axes.spatial`.

Raises:
    ValueError: the layer is unknown, ambiguous, of one position, or without spatial axes and
        without `spatial`; it is `None`, and there is no such feature map or attention comes after
        it; the image's spatial axes cannot be read.
"""

import functools
import inspect
from collections.abc import Callable

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsal.methods._featuremaps import (
    Resize,
    Spatial,
    channels_last,
    finished,
    over_image,
    weighted,
)
from jaxsal.methods._principal import principal_projection
from jaxsal.methods.backprop import guided_backprop
from jaxsal.rewrite.layers.find import LayerName
from jaxsal.rewrite.split_at_layer import SplitScore, split_at_layer
from jaxsal.types import Image, Map, ScoreFn

_Rule = Callable[[Float[Array, "*s C"], Float[Array, "*s C"]], Float[Array, "*s"]]
_CUT = "jaxsal.grad_cam_from"


def _method(rule: _Rule) -> Callable[..., Map]:
    """The method whose raw map is `rule(A, G)`, with the rule's name and docstring."""

    def method(
        score: ScoreFn,
        image: Image,
        *,
        layer: LayerName = None,
        relu: bool = True,
        resize: Resize = True,
        spatial: Spatial | None = None,
    ) -> Map:
        parts = split_at_layer(score, image, layer)
        return finished(_raw(rule, parts, spatial), image, parts, relu, resize)

    signature, annotations = inspect.signature(method), method.__annotations__
    functools.update_wrapper(method, rule)
    method.__annotations__ = annotations
    del method.__wrapped__  # type: ignore[attr-defined]
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


def _raw(rule: _Rule, parts: SplitScore, spatial: Spatial | None) -> Float[Array, "*s"]:
    gradient = jax.grad(parts.head)(parts.value)
    value, gradient = (channels_last(x, parts, spatial) for x in (parts.value, gradient))
    return rule(value, gradient)


def _space(values: Float[Array, "*s C"]) -> tuple[int, ...]:
    return tuple(range(values.ndim - 1))


def _over_space(values: Float[Array, "*s C"]) -> Float[Array, " C"]:
    return values.sum(axis=_space(values))


def _by_mean_gradient(
    values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]
) -> Float[Array, "*s"]:
    return weighted(values, gradients.mean(axis=_space(values)))


@_method
def grad_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Channels weighted by their mean gradient: `Σ_c mean_s(G)_c A_c`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep
        Networks via Gradient-based Localization", ICCV 2017, https://arxiv.org/abs/1610.02391
    """
    return _by_mean_gradient(values, gradients)


@_method
def grad_cam_plus_plus(
    values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]
) -> Float[Array, "*s"]:
    """Channels weighted by their positive gradients, a small pattern's as much as a large one's.

    `Σ_c w_c A_c` with `w = Σ_s relu(G) a` and `a = G² / (2 G² + Σ_s(A) G³ + 1e-6)`, 0 where G = 0.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Chattopadhay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-Based
        Visual Explanations for Deep Convolutional Networks", WACV 2018,
        https://arxiv.org/abs/1710.11063
    """
    square = gradients**2
    total = jnp.expand_dims(_over_space(values), _space(values))
    below = 2 * square + total * square * gradients + 1e-6
    defined = (gradients != 0) & (below != 0)
    alphas = jnp.where(defined, square / jnp.where(defined, below, 1), 0)
    return weighted(values, _over_space(jax.nn.relu(gradients) * alphas))


@_method
def hires_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Activation times gradient, summed over channels: `Σ_c G_c A_c`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Draelos, Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
        neural networks", 2020, https://arxiv.org/abs/2011.08891
    """
    return (values * gradients).sum(axis=-1)


@_method
def layer_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Activation times positive gradient, summed over channels: `Σ_c relu(G_c) A_c`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for
        Localization", IEEE TIP 30, 2021, https://doi.org/10.1109/TIP.2021.3089943
    """
    return (values * jax.nn.relu(gradients)).sum(axis=-1)


@_method
def x_grad_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Channels weighted by activation-weighted gradients: `w = Σ_s(G A) / (Σ_s(A) + 1e-7)`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Fu, Hu, Dong, Guo, Gao, Li, "Axiom-based Grad-CAM: Towards Accurate Visualization and
        Explanation of CNNs", BMVC 2020, https://arxiv.org/abs/2008.02312
    """
    return weighted(values, _over_space(gradients * values) / (_over_space(values) + 1e-7))


@_method
def eigen_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """The first principal component of the activations, whatever the class.

    `Ā v`: Ā is A less its mean over positions, v its first right-singular vector, with the sign
    that correlates positively with the mean activation.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Muhammad, Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", IJCNN 2020,
        https://arxiv.org/abs/2008.00299
    """
    del gradients
    return principal_projection(values)


def guided_grad_cam(
    score: ScoreFn, image: Image, *, layer: LayerName = None, resize: Resize = "nearest"
) -> Map:
    """Guided backpropagation times Grad-CAM: fine detail where the class is.

    `guided_backprop(x) · up(relu(grad_cam(x)))`, float32, of the image's own shape.

    Arguments, options and errors: `jaxsal.methods.cam`; `resize` cannot be `False`.

    References:
        Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep
        Networks via Gradient-based Localization", ICCV 2017, https://arxiv.org/abs/1610.02391
    """
    if not resize:
        raise ValueError(f"resize: expected True, 'bilinear' or 'nearest', got {resize!r}")
    parts = split_at_layer(score, image, layer)
    cam = finished(_raw(_by_mean_gradient, parts, None), image, parts, True, resize)
    return guided_backprop(score, image).astype(jnp.float32) * over_image(cam, image, parts)


guided_grad_cam.of_image = True  # type: ignore[attr-defined]  # a derivative of it, not of a layer


def grad_cam_from(
    features: Callable[[Image], Array] | Array,
    head: Callable[[Array], Float[Array, ""]],
    image: Image,
    *,
    relu: bool = True,
    resize: Resize = True,
    spatial: Spatial | None = None,
) -> Map:
    """Grad-CAM for those who hold the two halves of a score: `score(x) = head(features(x))`.

    Args:
        features: image -> the layer's value; or that value itself, channels last, with a batch axis
            of one or without.
        head: the layer's value -> scalar.
        image: `[...]` float; channels last where `features` is a value.
        relu, resize, spatial: see `jaxsal.methods.cam`.

    Returns:
        As `grad_cam`.

    Raises:
        ValueError: the value has no spatial axes and `spatial` is not given.
    """
    if callable(features):

        def score(image: Image) -> Float[Array, ""]:
            return head(jax.ad_checkpoint.checkpoint_name(features(image), _CUT))

        return grad_cam(score, image, layer=_CUT, relu=relu, resize=resize, spatial=spatial)
    rank = max(image.ndim - 1, 1)
    first = features.ndim - rank - 1
    held = first == 0 or (first == 1 and features.shape[0] == 1)
    axes = tuple(range(first, first + rank)) if held else None
    parts = SplitScore(features, head, axes, tuple(range(rank)))
    return finished(_raw(_by_mean_gradient, parts, spatial), image, parts, relu, resize)
