"""Keras 3 on JAX, and Hugging Face's Flax models: their rows in README, their errors, their CAMs.

    pip install keras "transformers<5" flax pytest      # neither TensorFlow nor PyTorch is needed
    python -m tests.frameworks                          # a minute

Keras's default CAM is held against the halves of `tests/split_networks/keras.py`.
"""

import os
import re
import warnings
from collections.abc import Callable
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import keras
import numpy as np
import transformers as hf

import jaxsal
from tests.frameworks import LABELS, Case, check
from tests.split_networks import Split
from tests.split_networks import keras as split_keras


def of_keras() -> Case:
    """With batch norm, dropout and two activations."""
    first = keras.Input((6, 8, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(first))
    x = keras.layers.Dropout(0.5)(keras.layers.Activation("gelu")(keras.layers.ReLU()(x)))
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model, draw = keras.Model(first, x), np.random.default_rng(0)
    trained = [w + draw.uniform(0.1, 0.5, w.shape) for w in model.get_weights()]
    model.set_weights(trained)  # no scale is 1 now, no mean 0
    return Case({"keras_model": model}, images((6, 8, 2)), lambda x: model(x))


def of_vit() -> Case:
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = hf.ViTConfig(**small, intermediate_size=32, image_size=16, patch_size=4, num_labels=3)
    return _of(hf.FlaxViTForImageClassification(config, input_shape=(1, 16, 16, 3)))


def of_resnet() -> Case:
    """With batch norm, whose statistics are among the params."""
    small = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    config = hf.ResNetConfig(**small, layer_type="basic", num_labels=3)
    return _of(hf.FlaxResNetForImageClassification(config, input_shape=(1, 16, 16, 3)))


def _of(model: Any) -> Case:
    """The wrapper turns images that come channels first; the module that it wraps does not."""
    variables = model.params if "batch_stats" in model.params else {"params": model.params}

    def logits(x: Any) -> Any:
        return model.module.apply(variables, jnp.moveaxis(x, 1, -1)).logits

    return Case({"model": model}, images((3, 16, 16)), logits)


def images(shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(jax.random.key(0), (2, *shape))


def follows_new_weights(case: Case) -> None:
    """Trained on, the model is explained as it is then, by the same program."""
    model = case.names["keras_model"]
    explain = jaxsal.explainer(lambda p, x: model.stateless_call(*p, x)[0], jaxsal.gradient)
    before = explain(
        (model.trainable_variables, model.non_trainable_variables), case.images, LABELS
    )
    model.set_weights([1.5 * w for w in model.get_weights()])
    after = explain((model.trainable_variables, model.non_trainable_variables), case.images, LABELS)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()
    check("Keras", case)


def says(expected: str, apply: Any, params: Any, images: Any) -> None:
    try:
        jaxsal.explainer(apply, jaxsal.gradient)(params, images, LABELS)
    except (TypeError, ValueError) as error:
        assert re.search(expected, str(error)) and len(str(error)) < 800, str(error)
    else:
        raise AssertionError(f"no error; expected {expected}")


def keras_errors(case: Case) -> None:
    model, images = case.names["keras_model"], case.images
    pair = model.trainable_variables, model.non_trainable_variables
    write = r"write .*model\.stateless_call\(\*params, x\)\[0\].*model\.non_trainable_variables"
    says(f"apply is a Keras model .*{write}", model, pair, images)
    says(f"apply is a Keras model .*{write}", model.stateless_call, pair, images)
    says(f"params: .* got a Keras model .*{write}", lambda m, x: m(x), model, images)
    says(f"params: .* got a Keras model .*{write}", lambda p, x: p[1](x), ([1.0], model), images)
    whole = lambda p, x: model.stateless_call(*p, x)  # noqa: E731
    says(r"tuple of 2 \(float32\[1, 3\], list\); return its \[0\]$", whole, pair, images)
    says("write jax.numpy in it.*stateless_call", lambda p, x: model.predict(x), pair, images)
    # The last one: Keras writes what it traces to the model.
    training = lambda p, x: model(x, training=True)  # noqa: E731
    says("training mode: write .*stateless_call.* without training=True", training, pair, images)


def hugging_face_errors(case: Case) -> None:
    model, images = case.names["model"], case.images
    write = r"write .*lambda params, x: model\(x, params=params\)\.logits.*model\.params"
    says(f"apply is a Flax model of Hugging Face .*{write}", model, model.params, images)
    says(f"params: .* got a Flax model .*{write}", lambda m, x: m(x).logits, model, images)
    whole = lambda p, x: model(x, params=p)  # noqa: E731
    says(r"Output of 1 \(logits: .*; return its \.logits$", whole, model.params, images)
    several = lambda p, x: model(x, params=p, return_dict=False)  # noqa: E731
    says(r"tuple of 1 \(float32\[1, 3\]\); return its \[0\]$", several, model.params, images)


def halves_are_the_whole(network: Split) -> None:
    logits = network.apply(network.params, network.images)
    for image, whole in zip(network.images, logits, strict=True):
        part = network.head(network.params, network.features(network.params, image))
        np.testing.assert_allclose(part, whole, atol=1e-5)


def default_layer_is_the_last_with_space(network: Split) -> None:
    """Grad-CAM without `layer` is `Σ_c mean(G)_c A_c` of the features that were split by hand."""
    explain = jaxsal.explainer(network.apply, jaxsal.grad_cam, relu=False, resize=False)
    maps = explain(network.params, network.images, LABELS)

    @jax.jit
    def by_hand(params: Any, image: Any, label: Any) -> Any:
        value = network.features(params, image)
        slopes = jax.grad(lambda value: network.head(params, value)[label])(value)
        return value @ slopes.mean((0, 1))

    for found, image, label in zip(maps, network.images, LABELS, strict=True):
        expected = by_hand(network.params, image, label)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def tried(name: str, proof: Callable[[], None]) -> bool:
    """Whether a proof holds; says so, in a line."""
    try:
        proof()
    except Exception as error:
        print(f"FAILED  {name}: {type(error).__name__}: {str(error)[:400]}", flush=True)
        return False
    print(f"ok      {name}", flush=True)
    return True


def main() -> int:
    jax.config.update("jax_default_matmul_precision", "highest")
    keras_case, vit, resnet = of_keras(), of_vit(), of_resnet()
    proofs: dict[str, Callable[[], None]] = {
        "Keras: the two lines": lambda: check("Keras", keras_case),
        "Keras: errors": lambda: keras_errors(of_keras()),
        "Keras: new weights": lambda: follows_new_weights(keras_case),
        "Hugging Face ViT: the two lines": lambda: check("Hugging Face", vit),
        "Hugging Face ResNet: the two lines": lambda: check("Hugging Face", resnet),
        "Hugging Face: errors": lambda: hugging_face_errors(vit),
    }
    for name, make in split_keras.NETWORKS.items():
        network = make()
        proofs[f"Keras {name}: halves"] = lambda n=network: halves_are_the_whole(n)
        proofs[f"Keras {name}: CAM"] = lambda n=network: default_layer_is_the_last_with_space(n)
    print(f"jax {jax.__version__}, keras {keras.__version__}, transformers {hf.__version__}")
    failed = [name for name, proof in proofs.items() if not tried(name, proof)]
    print(f"{len(proofs) - len(failed)} of {len(proofs)}")
    return len(failed)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    raise SystemExit(bool(main()))
