"""One step of training, pure: a batch is drawn on the device, augmented, and descended on."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree, Shaped

from jaxsal.data.augment import augment
from jaxsal.models import Network
from jaxsal.rewrite.optimize import optimize
from jaxsal.training.config import TrainConfig
from jaxsal.types import Image, Key, Params, Scalar

Metrics = dict[str, Scalar]

Data = tuple[Float[Array, "examples *space channels"], Int[Array, " examples"]]
"""The images and labels of the training set."""


class Selection(NamedTuple):
    """Which examples make a batch.

    Attributes:
        rows: of the training set.
        weights: 0 for padding.
        positions: in the batch; they decide an example's random numbers, on whatever device it is.
    """

    rows: Int[Array, " batch"] | Int[np.ndarray, " batch"]
    weights: Float[Array, " batch"] | Float[np.ndarray, " batch"]
    positions: Int[Array, " batch"] | Int[np.ndarray, " batch"]


class Batch(NamedTuple):
    """What a step sees: B examples, some of which may be padding.

    Attributes:
        weights: 0 for padding.
        keys: one an example, for dropout.
    """

    images: Float[Array, "batch *space channels"]
    labels: Int[Array, " batch"]
    weights: Float[Array, " batch"]
    keys: Shaped[Array, "batch ..."]


class TrainState(NamedTuple):
    """Everything that a step changes; a pytree of arrays, so that a checkpoint of it is the run."""

    step: Int[Array, ""]
    variables: Params
    optimizer: optax.OptState
    average: Params


Step = Callable[[TrainState, PyTree, PyTree], tuple[TrainState, Metrics]]
"""`step(state, data, selection) -> (state, metrics)`.

Under `pmap` state and data have a leading axis of devices; `selection` always has one of the batch.
"""

Augment = Callable[[Key, Image], Image]
"""`augment(key, image) -> image`: one image, varied at random."""

TrainApply = Callable[[Params, Batch], tuple[Float[Array, "batch classes"], Params]]
"""`apply(variables, batch) -> (logits, changed variables)`: the forward pass in training mode."""


def make_step(
    model: Network,
    config: TrainConfig,
    *,
    steps: int,
    class_weight: Float[np.ndarray, " classes"],
    augment: Augment = augment,
) -> Callable[[str | None], Step]:
    """`make_step(...)(axis_name)` is the step, for `jaxsal.training.devices` to compile.

    Args:
        steps: of the whole training.
        class_weight: by which the losses of each class are multiplied.
        augment: how an image is varied.
    """

    def on_axis(axis_name: str | None) -> Step:
        descend = functools.partial(
            train_step,
            apply=linen(model.clone(axis_name=axis_name)),
            optimizer=make_optimizer(config, steps),
            config=config,
            class_weight=jnp.asarray(class_weight),
            axis_name=axis_name,
        )

        def step(state: TrainState, data: Data, selection: Selection) -> tuple[TrainState, Metrics]:
            key = jax.random.fold_in(jax.random.key(config.seed), state.step)
            return descend(state, draw_batch(key, data, selection, augment=augment))

        return step

    return on_axis


def draw_batch(key: Key, data: Data, selection: Selection, *, augment: Augment) -> Batch:
    """The selected examples, each varied by `augment`."""
    images, labels = (column[selection.rows] for column in data)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(selection.positions)
    vary, drop = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    varied = jax.vmap(augment)(vary, images)
    return Batch(varied, labels, jnp.asarray(selection.weights), drop)


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    apply: TrainApply,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    class_weight: Float[Array, " classes"],
    axis_name: str | None = None,
    transform: Callable[[Callable[..., Any]], Callable[..., Any]] = optimize,
) -> tuple[TrainState, Metrics]:
    """One step of gradient descent on the weighted mean loss of a batch.

    Args:
        axis_name: under `pmap`, the axis over which gradients and metrics are summed.
        transform: what makes the differentiated loss faster; the identity leaves it as written.

    Returns:
        The next state, and the scalars loss, accuracy and gradient norm of the whole batch.
    """

    def total(tree: PyTree) -> PyTree:
        return tree if axis_name is None else jax.lax.psum(tree, axis_name)

    count = total(jnp.sum(batch.weights))

    def loss_fn(params: Params) -> tuple[Scalar, tuple[Array, Params]]:
        logits, changed = apply({**state.variables, "params": params}, batch)
        weights = batch.weights * class_weight[batch.labels]
        loss = cross_entropy(logits, batch.labels, weights, smoothing=config.label_smoothing)
        return loss / count, (logits, changed)

    differentiated = transform(jax.value_and_grad(loss_fn, has_aux=True))
    (loss, (logits, changed)), grads = differentiated(state.variables["params"])
    loss, grads = total((loss, grads))
    # Optax mixes its count of steps with floats, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(grads, state.optimizer, state.variables["params"])
    params = optax.apply_updates(state.variables["params"], updates)
    variables = {**state.variables, **changed, "params": params}
    average = _moving_average(state.average, variables, config.average, state.step)
    hits = total(jnp.sum(batch.weights, where=jnp.argmax(logits, -1) == batch.labels))
    metrics = {"loss": loss, "accuracy": hits / count, "gradient_norm": optax.tree.norm(grads)}
    return TrainState(state.step + 1, variables, opt_state, average), metrics


def _moving_average(average: Params, new: Params, decay: float, step: Array) -> Params:
    # A decay that grows from 1/10 forgets the random initialisation.
    done = step.astype(jnp.float32)
    rate = jnp.minimum(decay, (1.0 + done) / (10.0 + done))
    return jax.tree.map(lambda old, now: rate * old + (1 - rate) * now, average, new)


def cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    weights: Float[Array, " batch"],
    *,
    smoothing: float,
) -> Scalar:
    """`sum_i w_i CE(softmax(z_i), (1 - s) onehot(t_i) + s / K)`: a sum; the caller divides."""
    classes = logits.shape[-1]
    targets = optax.smooth_labels(jax.nn.one_hot(labels, classes), smoothing)
    return jnp.sum(weights * optax.softmax_cross_entropy(logits, targets))


def class_weights(labels: Int[np.ndarray, " n"], classes: int) -> Float[np.ndarray, " classes"]:
    """Inverse class frequencies [K], float32, of weighted mean one; 0 for an absent class."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.divide(1.0, counts, out=np.zeros(classes), where=counts > 0)
    return (weights * len(labels) / max((counts > 0).sum(), 1)).astype(np.float32)


def linen(model: nn.Module) -> TrainApply:
    """A Linen module's forward pass in training mode; running statistics come back changed."""

    def apply(variables: Params, batch: Batch) -> tuple[Array, Params]:
        logits, changed = model.apply(
            variables,
            batch.images,
            weights=batch.weights,
            keys=batch.keys,
            mutable=["batch_stats"],
        )
        return logits, changed

    return apply


def make_schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up to the peak, then cosine decay to zero at `steps`."""
    return optax.warmup_cosine_decay_schedule(
        config.learning_rate / 25,
        config.learning_rate,
        warmup_steps=round(config.warmup * steps),
        decay_steps=max(steps, 1),
    )


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """AdamW under global-norm clipping, on the schedule of `steps` steps."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            make_schedule(config, steps),
            weight_decay=config.weight_decay,
            mask=lambda params: jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params),
        ),
    )


def init_state(variables: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; `variables` has "params" and may have running statistics."""
    copy = jax.tree.map(jnp.array, variables)
    return TrainState(jnp.int32(0), variables, optimizer.init(variables["params"]), copy)
