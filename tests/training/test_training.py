"""Training gives the same numbers however it is spread, and goes on where it was stopped."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.utils.class_weight import compute_class_weight

from jaxsal.compiler import processes
from jaxsal.models import CNN
from jaxsal.training import in_memory, loop, step
from jaxsal.training.devices import MODES, Parallel

RECIPE = step.Recipe(epochs=3, batch_size=12)
MODEL = CNN(classes=3, widths=(4, 8), dropout=0.5)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(20, 16, 16, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20).astype(np.int32)
STEPS = 6  # two an epoch


@functools.cache
def fresh() -> step.TrainState:
    variables = jax.jit(MODEL.init)(jax.random.key(0), IMAGES[:1])
    return step.init_state(variables, step.make_optimizer(RECIPE, STEPS))


@functools.cache
def spread(mode: str, devices: int, fading: float = 0.5) -> Parallel:
    step = in_memory.make_step(
        MODEL,
        recipe=RECIPE,
        augmentation=in_memory.Augmentation(sharpness=0.5, noise=0.05),
        fading=in_memory.Fading(fading),
        steps=STEPS,
        class_weight=np.ones(3, np.float32),
        seed=0,
    )
    return MODES[mode](step, processes.local_devices(devices))


def trained(run: Parallel, recipe: step.Recipe = RECIPE, **options: object) -> loop.Fitted:
    batches = functools.partial(in_memory.select, len(LABELS), RECIPE.batch_size, 0)
    return loop.fit(fresh(), (IMAGES, LABELS), run=run, batches=batches, recipe=recipe, **options)


@pytest.mark.parametrize(("mode", "devices"), [("jit", 8), ("pmap", 1), ("pmap", 8)])
def test_same_parameters_on_any_devices(mode: str, devices: int) -> None:
    # 12 images over 8 devices: four devices hold padding.
    one, many = trained(spread("jit", 1)), trained(spread(mode, devices))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5),
        many.variables,
        one.variables,
    )


def test_an_interrupted_run_ends_the_same(tmp_path) -> None:
    whole, run = trained(spread("jit", 1)), spread("jit", 1)
    half = dataclasses.replace(RECIPE, epochs=2)
    trained(run, half, checkpoints=tmp_path / "c", identity={"seed": 0})
    resumed = trained(run, checkpoints=tmp_path / "c", identity={"seed": 0})
    assert resumed.resumed == 2
    assert resumed.history == whole.history
    jax.tree.map(np.testing.assert_array_equal, resumed.variables, whole.variables)


def test_a_checkpoint_of_another_run_is_refused(tmp_path) -> None:
    short, run = dataclasses.replace(RECIPE, epochs=1), spread("jit", 1)
    trained(run, short, checkpoints=tmp_path / "c", identity={"widths": [4, 8]})
    with pytest.raises(ValueError, match=r"holds a run with widths=\[4, 8\], this run has"):
        trained(run, short, checkpoints=tmp_path / "c", identity={"widths": [8, 8]})


def test_an_infinite_loss_stops_and_keeps_the_last_checkpoint(tmp_path) -> None:
    run, short = spread("jit", 1), dataclasses.replace(RECIPE, epochs=1)
    trained(run, short, checkpoints=tmp_path / "c")
    broken = run._replace(
        step=lambda state, data, selection: (state, {"loss": jnp.nan, "accuracy": jnp.float32(0)})
    )
    with pytest.raises(loop.DivergedError, match="loss is nan at epoch 2, step 1"):
        trained(broken, checkpoints=tmp_path / "c")
    assert trained(run, short, checkpoints=tmp_path / "c").resumed == 1


def test_patience_stops_and_the_best_epoch_is_kept() -> None:
    losses = iter([3.0, 1.0, 2.0, 2.5, 0.1])
    seen = []

    def validate(variables: object) -> dict[str, float]:
        seen.append(variables)
        return {"loss": next(losses), "accuracy": 0.5}

    recipe = dataclasses.replace(RECIPE, epochs=5, patience=2)
    fitted = trained(spread("jit", 1), recipe, validate=validate)
    assert fitted.history["validation_loss"] == [3.0, 1.0, 2.0, 2.5]
    jax.tree.map(np.testing.assert_array_equal, fitted.variables, seen[1])


def test_loss_of_uniform_logits_is_log_classes() -> None:
    weights = jnp.array([1.0, 1.0, 0.0])
    loss = step.cross_entropy(jnp.zeros((3, 4)), jnp.array([0, 3, 1]), weights, smoothing=0.1)
    np.testing.assert_allclose(loss, 2 * np.log(4), rtol=1e-6)


def test_labels_of_no_certainty_ask_for_uniform_chances() -> None:
    logits, labels = jnp.array([[2.0, 0.0, -1.0]]), jnp.array([0])
    loss = step.cross_entropy(logits, labels, jnp.ones(1), smoothing=0.0, certainty=jnp.zeros(1))
    np.testing.assert_allclose(loss, -jax.nn.log_softmax(logits).mean(), rtol=1e-6)


def test_fading_darkens_its_share_and_says_how_much() -> None:
    keys = jax.random.split(jax.random.key(0), 400)
    image = jnp.full((2, 2, 1), 0.5)
    faded, certainty = jax.vmap(in_memory.Fading(0.25), (0, None))(keys, image)
    np.testing.assert_allclose(faded, certainty[:, None, None, None] * image[None], atol=1e-6)
    assert 0.18 < np.mean(certainty < 1) < 0.32


def test_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2], np.int32)
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(step.class_weights(labels, 3), balanced, rtol=1e-6)
    np.testing.assert_array_equal(step.class_weights(labels, 4)[3], 0)


def test_training_lowers_the_loss_and_statistics_are_not_trained_by_gradient() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=15, average=0.0)
    fitted = trained(spread("jit", 1, fading=0.0), recipe)
    assert fitted.history["train_loss"][-1] < fitted.history["train_loss"][0]
    assert float(optax.tree.norm(fitted.variables["batch_stats"])) > 0


def test_prediction_ignores_padding() -> None:
    variables = fresh().variables
    predict = step.make_predict(MODEL.apply, batch_size=6)
    expected = MODEL.apply(variables, jnp.asarray(IMAGES))
    np.testing.assert_allclose(predict(variables, IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [0, 99])
def test_devices_that_are_not_there(count: int) -> None:
    with pytest.raises(ValueError, match=f"devices: asked for {count}, this process has 8"):
        processes.local_devices(count)
