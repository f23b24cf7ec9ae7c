"""Class activation maps: what a layer's channels say, weighted by what the score makes of them.

A `[*s, C]` is the layer's value with its spatial axes first, and G = dscore/dA its gradient. Every
method makes a map `[*s]` of the two, keeps its positive part and brings it to the image's size.
Called as `method(score, image, *, layer=None, relu=True, resize=True, spatial=None)`.

Args:
    score: image -> scalar.
    image: `[...]` float.
    layer: which layer, see `jaxsal.rewrite.split_at_layer`; `None` = the last feature map that
        every path from the image to the score passes, after norm and activation, before the pools
        that follow. A list of layers: the mean of their maps, each after `relu` and `resize`, so
        that the layer of the largest values decides; pytorch-grad-cam scales each to [0, 1] first.
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
        it; a list of layers is empty, or `resize` is False and their maps differ in shape; the
        image's spatial axes cannot be read.
"""

import functools
from collections.abc import Callable

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsal.common.options import over_image
from jaxsal.methods._cam_method import by_mean_gradient, cam_method, over_space, raw_map, space
from jaxsal.methods._featuremaps import Layers, Resize, Spatial, finished, over_layers, weighted
from jaxsal.methods._principal import principal_projection
from jaxsal.methods.backprop import guided_backprop
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.rewrite.split_at_layer import SplitScore
from jaxsal.types import Image, Map, ScoreFn

_CUT = "jaxsal.grad_cam_from"


@cam_method
def grad_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Channels weighted by their mean gradient: `Σ_c mean_s(G)_c A_c`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep
        Networks via Gradient-based Localization", ICCV 2017, https://arxiv.org/abs/1610.02391
    """
    return by_mean_gradient(values, gradients)


@cam_method
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
    total = jnp.expand_dims(over_space(values), space(values))
    below = 2 * square + total * square * gradients + 1e-6
    defined = (gradients != 0) & (below != 0)
    alphas = jnp.where(defined, square / jnp.where(defined, below, 1), 0)
    return weighted(values, over_space(jax.nn.relu(gradients) * alphas))


@cam_method
def hires_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Activation times gradient, summed over channels: `Σ_c G_c A_c`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Draelos, Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
        neural networks", 2020, https://arxiv.org/abs/2011.08891
    """
    return (values * gradients).sum(axis=-1)


@cam_method
def layer_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Activation times positive gradient, summed over channels: `Σ_c relu(G_c) A_c`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for
        Localization", IEEE TIP 30, 2021, https://doi.org/10.1109/TIP.2021.3089943
    """
    return (values * jax.nn.relu(gradients)).sum(axis=-1)


@cam_method
def element_wise_grad_cam(
    values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]
) -> Float[Array, "*s"]:
    """The positive part of activation times gradient, summed over channels: `Σ_c relu(G_c A_c)`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Gildenblat and contributors, "PyTorch library for CAM methods" (`GradCAMElementWise`), 2021,
        https://github.com/jacobgil/pytorch-grad-cam
    """
    return jax.nn.relu(values * gradients).sum(axis=-1)


@cam_method
def x_grad_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """Channels weighted by activation-weighted gradients: `w = Σ_s(G A) / (Σ_s(A) + 1e-7)`.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Fu, Hu, Dong, Guo, Gao, Li, "Axiom-based Grad-CAM: Towards Accurate Visualization and
        Explanation of CNNs", BMVC 2020, https://arxiv.org/abs/2008.02312
    """
    return weighted(values, over_space(gradients * values) / (over_space(values) + 1e-7))


@cam_method
def eigen_cam(values: Float[Array, "*s C"], gradients: Float[Array, "*s C"]) -> Float[Array, "*s"]:
    """The first principal component of the activations, whatever the class.

    `Ā v`: Ā is A less its mean over positions, v its first right-singular vector, with the sign
    that correlates positively with the mean activation. The centring is pytorch-grad-cam's: without
    it a map of activations that are not negative is of one sign.

    Arguments, options, result and errors: `jaxsal.methods.cam`.

    References:
        Muhammad, Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", IJCNN 2020,
        https://arxiv.org/abs/2008.00299
    """
    del gradients
    return principal_projection(values)


def guided_grad_cam(
    score: ScoreFn, image: Image, *, layer: Layers = None, resize: Resize = "nearest"
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
    raw = functools.partial(raw_map, by_mean_gradient)
    cam = over_layers(raw, score, image, layer, True, resize)
    guided = guided_backprop(score, image).astype(jnp.float32)
    return guided * over_image(cam, image, spatial_axes(score, image))


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
        relu, resize, spatial: as of `grad_cam`.

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
    return finished(raw_map(by_mean_gradient, parts, spatial), image, parts, relu, resize)
