"""The programs on which the rewrites are measured: explanations, a training step, an epoch."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxsal
from jaxsal.models import CNN, ResNet
from jaxsal.types import Images, Map, Method, Params, Scalar

CLASSES = 4


class Workload(NamedTuple):
    """A program, its arguments, and whether it reads the affine prefix (`rewrite=`)."""

    fun: Callable[..., Any]
    args: tuple[Any, ...]
    affine_prefix: bool = False


def builders(
    image_size: int, batch: int, steps: int, widths: tuple[int, ...]
) -> dict[str, Callable[[], Workload]]:
    """By name what builds a workload, on random images.

    Args:
        steps: of integrated gradients.
        widths: channels of the CNN's stages; the first is the ResNets' width.
    """
    normal = jax.random.normal(jax.random.key(0), (batch, image_size, image_size, 1))
    images = jnp.maximum(normal, 0.0)
    few = images[: max(1, batch // 4)]
    colours = jnp.repeat(few, 3, axis=-1)
    model = CNN(classes=CLASSES, widths=widths, norm=False)
    deep = ResNet(classes=CLASSES, blocks=(2, 2), width=widths[0])
    # A 7x7 convolution of colours is expensive: the affine prefix, of which it is part, is used.
    stem = ResNet(classes=CLASSES, blocks=(1,), width=widths[0])
    path = functools.partial(jaxsal.integrated_gradients, steps=steps)
    return {
        "logits": lambda: Workload(model.apply, (_init(model, images), images)),
        "gradient": lambda: _explanation(jaxsal.gradient, model, images),
        "gradient, ResNet": lambda: _explanation(jaxsal.gradient, deep, colours),
        "integrated gradients": lambda: _explanation(path, model, few),
        "integrated gradients, 7x7 stem": lambda: _explanation(path, stem, colours)._replace(
            affine_prefix=True
        ),
        "gradient, volumes": lambda: _volumes(image_size, batch, widths),
        "gradient, global maximum": lambda: _global_maximum(images, widths[0]),
        "forward derivative": lambda: _forward_derivative(model, images),
        "training step": lambda: _training_step(model, images),
        "epoch": lambda: _epoch(model, few if len(few) > 1 else images[:2]),
    }


def _init(model: CNN | ResNet, images: Images) -> Params:
    return jax.jit(model.init)(jax.random.key(1), images[:1])


def _explanation(method: Method, model: CNN | ResNet, images: Images) -> Workload:
    apply: Callable[..., Any] = model.apply

    def explain(params: Params, images: Images, *, rewrite: bool = True) -> Map:
        def one(image: Any) -> Map:
            def score(image: Any) -> Scalar:
                return apply(params, image[None])[0, 1]

            score.rewrite = rewrite  # type: ignore[attr-defined]
            return method(score, image)

        return jax.vmap(one)(images)

    return Workload(explain, (_init(model, images), images))


def _volumes(size: int, batch: int, widths: tuple[int, ...]) -> Workload:
    """The gradient of the network of volumes that `jaxsal train --volumes` trains."""
    model = CNN(
        classes=CLASSES, widths=widths, norm=False, stride=2, last_pool=False, axes=3, top="max"
    )
    volumes = jax.random.normal(jax.random.key(0), (batch, size, size, size, 1))
    return _explanation(jaxsal.gradient, model, jnp.maximum(volumes, 0.0))


def _global_maximum(images: Images, width: int) -> Workload:
    """The gradient of a convolution's largest values: the mask of the largest is compared for."""
    shape = (3, 3, images.shape[-1], width)
    kernel = jax.random.normal(jax.random.key(2), shape)

    def score(kernel: Any, image: Any) -> Scalar:
        x = jax.lax.conv_general_dilated(
            image[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.tanh(jax.nn.relu(x).max((1, 2))).sum()

    return Workload(jax.vmap(jax.grad(score, argnums=1), (None, 0)), (kernel, images))


def _forward_derivative(model: CNN, images: Images) -> Workload:
    """The derivative of the logits along the images."""
    apply: Callable[..., Any] = model.apply

    def along(params: Params, images: Images) -> Any:
        return jax.jvp(lambda x: apply(params, x), (images,), (images,))[1]

    return Workload(along, (_init(model, images), images))


def _training_step(model: CNN, images: Images) -> Workload:
    labels = jnp.arange(len(images)) % CLASSES
    return Workload(functools.partial(_step, model), (_init(model, images), images, labels))


def _step(model: CNN, params: Params, images: Images, labels: Any) -> Params:
    """A step of gradient descent on the cross-entropy."""
    apply: Callable[..., Any] = model.apply

    def loss(params: Params) -> Scalar:
        chances = jax.nn.log_softmax(apply(params, images))
        return -jnp.take_along_axis(chances, labels[:, None], 1).mean()

    return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params))


def _epoch(model: CNN, images: Images) -> Workload:
    """Two steps, each on a half of the images, as one `scan`."""

    def epoch(params: Params, batches: Any, labels: Any) -> Params:
        def turn(params: Params, batch: Any) -> tuple[Params, None]:
            return _step(model, params, *batch), None

        return jax.lax.scan(turn, params, (batches, labels))[0]

    halves = images.reshape(2, -1, *images.shape[1:])
    labels = jnp.arange(len(images)).reshape(2, -1) % CLASSES
    return Workload(epoch, (_init(model, images), halves, labels))
