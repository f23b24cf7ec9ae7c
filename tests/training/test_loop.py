"""Training gives the same numbers however it is spread, and goes on where it was stopped."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsal.compiler import processes
from jaxsal.data.augment import augment
from jaxsal.data.examples import Examples
from jaxsal.data.splits import take
from jaxsal.models import CNN
from jaxsal.training import loop, step
from jaxsal.training.config import TrainConfig

CONFIG = TrainConfig(epochs=3, batch_size=12, image_size=16, widths=(4, 8))
MODEL = CNN(classes=3, widths=(4, 8), dropout=0.5)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(20, 16, 16, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20).astype(np.int32)
NONE = np.zeros(20, np.int32)
EXAMPLES = Examples(IMAGES, LABELS, IMAGES[..., 0] > 0, NONE, NONE.astype(str), NONE.astype(str))


@functools.cache
def run(mode: str, devices: int, rate: float = 4e-3) -> loop.Run:
    """Two steps an epoch, on images that vary in every way."""
    config = replace(CONFIG, parallel=mode, devices=devices, learning_rate=rate)
    vary = functools.partial(augment, sharpness=0.5, noise=0.05)
    return loop.prepare(config, MODEL, EXAMPLES, take(EXAMPLES, NONE[:0]), augment=vary)


@pytest.mark.parametrize(("mode", "devices"), [("jit", 8), ("pmap", 1), ("pmap", 8)])
def test_same_parameters_on_any_devices(mode: str, devices: int) -> None:
    # 12 images over 8 devices: four devices hold padding.
    one, many = loop.train(CONFIG, run("jit", 1)), loop.train(CONFIG, run(mode, devices))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5),
        many.variables,
        one.variables,
    )


def test_an_interrupted_run_ends_the_same(tmp_path) -> None:
    ready = run("jit", 1)
    whole = loop.train(CONFIG, ready)
    loop.train(replace(CONFIG, epochs=2), ready, checkpoints=tmp_path / "c")
    resumed = loop.train(CONFIG, ready, checkpoints=tmp_path / "c")
    assert resumed.resumed == 2
    assert resumed.history == whole.history
    jax.tree.map(np.testing.assert_array_equal, resumed.variables, whole.variables)


def test_a_checkpoint_of_another_run_is_refused(tmp_path) -> None:
    short, ready = replace(CONFIG, epochs=1), run("jit", 1)
    loop.train(short, ready, checkpoints=tmp_path / "c")
    other = ready._replace(identity=ready.identity | {"widths": (8, 8)})
    with pytest.raises(ValueError, match=r"holds a run with widths=\[4, 8\], this run has"):
        loop.train(short, other, checkpoints=tmp_path / "c")


def test_what_decides_the_parameters_is_the_identity() -> None:
    one, spread, other = (
        run(*each).identity for each in (("jit", 1), ("pmap", 8), ("jit", 1, 1e-3))
    )
    assert one == spread != other
    assert {"seed", "learning_rate", "test_fold", "dtype", "training images"} < set(one)
    assert one["training images"] == other["training images"]


def diverging(ready: loop.Run) -> loop.Run:
    """The same training, of which every loss is NaN."""

    def diverge(state: step.TrainState, data: object, selection: object) -> tuple:
        return state, {"loss": jnp.nan, "accuracy": jnp.float32(0)}

    return ready._replace(parallel=ready.parallel._replace(step=diverge))


def test_an_infinite_loss_stops_and_keeps_the_last_checkpoint(tmp_path) -> None:
    ready, short = run("jit", 1), replace(CONFIG, epochs=1)
    loop.train(short, ready, checkpoints=tmp_path / "c")
    told = "loss is nan at epoch 2, step 1; the last good checkpoint is that of epoch 1"
    with pytest.raises(loop.DivergedError, match=told):
        loop.train(CONFIG, diverging(ready), checkpoints=tmp_path / "c")
    assert loop.train(short, ready, checkpoints=tmp_path / "c").resumed == 1


def test_an_infinite_loss_names_no_checkpoint_that_is_not_there(tmp_path) -> None:
    ready = diverging(run("jit", 1))
    for folder, told in ((tmp_path / "c", "no epoch is finished"), (None, "no checkpoint is kept")):
        with pytest.raises(loop.DivergedError, match=f"at epoch 1, step 1; {told}. Try a lower"):
            loop.train(CONFIG, ready, checkpoints=folder)


def test_patience_stops_and_the_best_epoch_is_kept() -> None:
    losses = iter([3.0, 1.0, 2.0, 2.5, 0.1])
    seen = []

    def validate(variables: object) -> dict[str, float]:
        seen.append(variables)
        return {"loss": next(losses), "accuracy": 0.5}

    ready = run("jit", 1)._replace(validate=validate)
    found = loop.train(replace(CONFIG, epochs=5, patience=2), ready)
    assert found.history["validation_loss"] == [3.0, 1.0, 2.0, 2.5]
    jax.tree.map(np.testing.assert_array_equal, found.variables, seen[1])


def test_the_learning_rate_of_each_epoch_is_in_the_history() -> None:
    rates = loop.train(CONFIG, run("jit", 1)).history["learning_rate"]
    schedule = step.make_schedule(CONFIG, 6)
    np.testing.assert_allclose(rates, [schedule(0), schedule(2), schedule(4)], rtol=1e-6)


def test_training_lowers_the_loss_and_statistics_are_not_trained_by_gradient() -> None:
    found = loop.train(replace(CONFIG, epochs=15), run("jit", 1))
    assert found.history["train_loss"][-1] < found.history["train_loss"][0]
    assert float(optax.tree.norm(found.variables["batch_stats"])) > 0


@pytest.mark.parametrize("count", [0, 99])
def test_devices_that_are_not_there(count: int) -> None:
    with pytest.raises(ValueError, match=f"devices: asked for {count}, this process has 8"):
        processes.local_devices(count)


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        ({"validation_accuracy": [0.4, 0.7, 0.6], "validation_loss": [1.0, 1.4, 1.2]}, 2),
        ({"validation_accuracy": [0.5, 0.7, 0.7, 0.7], "validation_loss": [1, 1.4, 1.2, 1.2]}, 3),
        ({"train_loss": [3.0, 2.0]}, 2),
    ],
)
def test_the_most_accurate_epoch_is_kept_then_that_of_the_lowest_loss(history, kept) -> None:
    # A loss is lowest before the network has learned to be sure of anything.
    assert loop.kept_epoch(history) == kept


def test_patience_waits_for_the_learning_rate_to_fall() -> None:
    flat = {"validation_accuracy": [0.5] * 6, "validation_loss": [1.0] * 6}
    losses = {"train_loss": [1.0] * 6}
    config = replace(CONFIG, epochs=20, patience=2)
    assert not loop.Progress(None, None, flat | losses).finished(config)
    assert loop.Progress(None, None, flat | losses).finished(replace(config, epochs=12))
    assert not loop.Progress(None, None, flat | losses).finished(replace(config, patience=0))


@pytest.mark.parametrize("size", [128, 254])
def test_the_stride_of_large_images_counts_as_a_stage(size: int) -> None:
    """Else the mean would be over no pixels at all, and every logit NaN."""
    config = TrainConfig(image_size=size, widths=(1,) * 7)
    with pytest.raises(ValueError, match=f"widths: 7 stages .* images of {size} pixels, of which"):
        loop.make_model(config, 2)
    image = jnp.ones((1, 255, 255, 1))
    model = loop.make_model(replace(config, image_size=255), 2)
    logits, _ = jax.jit(model.init_with_output)(jax.random.key(0), image)
    assert jnp.isfinite(logits).all()
    # Of volumes the last stage has no pool.
    volume = jax.ShapeDtypeStruct((1, 128, 128, 128, 1), jnp.float32)
    jax.eval_shape(loop.make_model(config, 2, axes=3).init, jax.random.key(0), volume)
