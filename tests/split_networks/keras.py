"""In Keras 3 on JAX (`KERAS_BACKEND=jax`), channels last; for `python -m tests.frameworks`."""

from collections.abc import Callable
from typing import Any

import jax
import keras
from jaxtyping import Array
from keras import layers

from tests.split_networks import CLASSES, HEIGHT, WIDTH, Split, drawn, images, networks

Layer = Callable[[Any], Any]


def conv(width: int, size: int = 3, stride: int = 1, *, bias: bool = False) -> Layer:
    return layers.Conv2D(width, size, stride, padding="same", use_bias=bias)


def normed(x: Any, width: int, size: int = 3, stride: int = 1) -> Any:
    """A convolution without bias and its batch norm."""
    return layers.BatchNormalization()(conv(width, size, stride)(x))


def relu(x: Any) -> Any:
    return layers.ReLU()(x)


def swish(x: Any) -> Any:
    return layers.Activation("hard_silu")(x)


def residual(x: Any, width: int, stride: int = 1) -> Any:
    y = normed(relu(normed(x, width, stride=stride)), width)
    return relu(layers.Add()([y, normed(x, width, 1, stride) if stride > 1 else x]))


def resnet(x: Any) -> Any:
    return residual(residual(relu(normed(x, 4, stride=2)), 4), 8, 2)


def dense_block(x: Any) -> Any:
    for _ in range(2):
        y = conv(4)(relu(layers.BatchNormalization()(x)))
        x = layers.Concatenate()([x, y])
    return x


def densenet(x: Any) -> Any:
    x = dense_block(conv(4, stride=2)(x))
    x = conv(6, 1)(relu(layers.BatchNormalization()(x)))
    return relu(layers.BatchNormalization()(dense_block(layers.AveragePooling2D(2)(x))))


def inception(x: Any) -> Any:
    x = relu(conv(6, stride=2, bias=True)(x))
    one = relu(conv(2, 1, bias=True)(x))
    three = relu(conv(4, bias=True)(relu(conv(3, 1, bias=True)(x))))
    pooled = relu(conv(3, 1, bias=True)(layers.MaxPooling2D(3, 1, "same")(x)))
    return layers.Concatenate()([one, three, pooled])


def squeezed(x: Any, gate: str = "sigmoid") -> Any:
    """Channels scaled by a gate: two 1x1 convolutions of their means."""
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = conv(x.shape[-1], 1, bias=True)(relu(conv(2, 1, bias=True)(y)))
    return layers.Multiply()([x, layers.Activation(gate)(y)])


def senet(x: Any) -> Any:
    x = relu(normed(x, 6, stride=2))
    return relu(layers.Add()([x, squeezed(normed(relu(normed(x, 6)), 6))]))


def mobilenet(x: Any) -> Any:
    x = swish(normed(x, 4, stride=2))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(swish(normed(x, 8, 1)))
    y = squeezed(swish(layers.BatchNormalization()(y)), "hard_sigmoid")
    return swish(normed(layers.Add()([x, normed(y, 4, 1)]), 8, 1))


def convnext(x: Any) -> Any:
    x = layers.LayerNormalization()(layers.Conv2D(6, 2, 2)(x))
    for _ in range(2):
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
        y = layers.Dense(6)(layers.Activation("gelu")(layers.Dense(12)(y)))
        x = layers.Add()([x, y])
    return x


def pooled(x: Any) -> Any:
    return layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))


def pointwise(x: Any) -> Any:
    """1x1 convolutions after a mean that keeps its axes."""
    x = swish(conv(8, 1, bias=True)(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    return layers.Flatten()(conv(CLASSES, 1, bias=True)(x))


def normed_mean(x: Any) -> Any:
    x = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))
    return layers.Dense(CLASSES)(x)


def _split(trunk: Layer, top: Layer = pooled) -> Split:
    """One functional model, and its two halves: functional models of the same layers."""
    first = keras.Input((HEIGHT, WIDTH, 3))
    middle = trunk(first)
    last = top(middle)
    whole, features = keras.Model(first, last), keras.Model(first, middle)
    head = keras.Model(middle, last)
    weights = [{_named(variable.path): variable.value} for variable in whole.variables]
    for variable, value in zip(whole.variables, jax.tree.leaves(drawn(weights)), strict=True):
        variable.assign(value)

    def part(model: Any) -> Callable[[Any, Array], Array]:
        trainable = [_index(whole.trainable_variables, v) for v in model.trainable_variables]
        others = [_index(whole.non_trainable_variables, v) for v in model.non_trainable_variables]

        def of_one(params: Any, value: Array) -> Array:
            own = [params[0][i] for i in trainable], [params[1][i] for i in others]
            return model.stateless_call(*own, value[None])[0][0]

        return of_one

    return Split(
        lambda params, x: whole.stateless_call(*params, x)[0],
        (
            [v.value for v in whole.trainable_variables],
            [v.value for v in whole.non_trainable_variables],
        ),
        images(),
        part(features),
        part(head),
    )


def _named(path: str) -> str:
    """A path whose end says what starts at one, as `drawn` has it."""
    return path.replace("gamma", "scale").replace("moving_variance", "var")


def _index(variables: list[Any], one: Any) -> int:
    return next(i for i, variable in enumerate(variables) if variable is one)


NETWORKS = networks(
    _split,
    resnet=resnet,
    densenet=densenet,
    inception=inception,
    squeeze_excite=senet,
    mobilenet=(mobilenet, pointwise),
    convnext=(convnext, normed_mean),
)
