"""Training: a state, a loss, one pure step, evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Shaped

from jaxsal.compiler import processes
from jaxsal.rewrite.optimize import optimize
from jaxsal.training.devices import over_batch, pad
from jaxsal.types import ApplyFn, Params, Scalar

Metrics = dict[str, Scalar]

TrainApply = Callable[[Params, "Batch"], tuple[Float[Array, "batch classes"], Params]]
"""`apply(variables, batch) -> (logits, changed variables)`: the forward pass in training mode."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    epochs: int = 60
    """Passes over the training images."""
    batch_size: int = 64
    """Images a step, over all devices."""
    learning_rate: float = 4e-3
    """Peak of the one-cycle schedule (warm-up, then cosine to zero)."""
    warmup: float = 0.1
    """Share of the steps spent warming up."""
    weight_decay: float = 1e-2
    """Decoupled (AdamW), on kernels only."""
    label_smoothing: float = 0.1
    """Probability mass spread over all classes."""
    clip: float = 1.0
    """Largest global norm of the gradient."""
    average: float = 0.995
    """Decay of the moving average of parameters and statistics that is evaluated; 0 = none."""
    class_weights: bool = True
    """Weigh classes by the inverse of their frequency."""
    patience: int = 0
    """Stop after so many epochs without a lower validation loss; 0 = never."""


class Batch(NamedTuple):
    """What a step sees: B examples, some of which may be padding.

    Attributes:
        weights: 0 for padding.
        keys: one an example, for dropout.
        certainty: in [0, 1], of the labels: what is missing to 1 is spread over all classes.
    """

    images: Float[Array, "batch height width channels"]
    labels: Int[Array, " batch"]
    weights: Float[Array, " batch"]
    keys: Shaped[Array, "batch ..."]
    certainty: Float[Array, " batch"] | float = 1.0


class TrainState(NamedTuple):
    """Everything that a step changes; a pytree of arrays, so that a checkpoint of it is the run."""

    step: Int[Array, ""]
    variables: Params
    optimizer: optax.OptState
    average: Params


def make_schedule(recipe: Recipe, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up to the peak, then cosine decay to zero at `steps`."""
    return optax.warmup_cosine_decay_schedule(
        recipe.learning_rate / 25,
        recipe.learning_rate,
        warmup_steps=round(recipe.warmup * steps),
        decay_steps=max(steps, 1),
    )


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """AdamW under global-norm clipping, on the schedule of `steps` steps."""
    return optax.chain(
        optax.clip_by_global_norm(recipe.clip),
        optax.adamw(
            make_schedule(recipe, steps),
            weight_decay=recipe.weight_decay,
            mask=lambda params: jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params),
        ),
    )


def init_state(variables: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; `variables` has "params" and may have running statistics."""
    copy = jax.tree.map(jnp.array, variables)
    return TrainState(jnp.int32(0), variables, optimizer.init(variables["params"]), copy)


def linen(model: Any) -> TrainApply:
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


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Inverse class frequencies [K], float32, of weighted mean one; 0 for an absent class."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.divide(1.0, counts, out=np.zeros(classes), where=counts > 0)
    return (weights * len(labels) / max((counts > 0).sum(), 1)).astype(np.float32)


def cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    weights: Float[Array, " batch"],
    *,
    smoothing: float,
    certainty: Float[Array, " batch"] | float = 1.0,
) -> Scalar:
    """`sum_i w_i CE(softmax(z_i), c_i onehot(t_i) + (1 - c_i) / K)`: a sum; the caller divides.

    c_i is the label's certainty times 1 - `smoothing`.
    """
    classes = logits.shape[-1]
    sure = jnp.broadcast_to((1 - smoothing) * certainty, labels.shape)[:, None]
    targets = sure * jax.nn.one_hot(labels, classes) + (1 - sure) / classes
    return jnp.sum(weights * optax.softmax_cross_entropy(logits, targets))


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    apply: TrainApply,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
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

    def total(tree: Any) -> Any:
        return tree if axis_name is None else jax.lax.psum(tree, axis_name)

    count = total(jnp.sum(batch.weights))

    def loss_fn(params: Params) -> tuple[Scalar, tuple[Array, Params]]:
        logits, changed = apply({**state.variables, "params": params}, batch)
        weights = batch.weights * class_weight[batch.labels]
        loss = cross_entropy(
            logits,
            batch.labels,
            weights,
            smoothing=recipe.label_smoothing,
            certainty=batch.certainty,
        )
        return loss / count, (logits, changed)

    differentiated = transform(jax.value_and_grad(loss_fn, has_aux=True))
    (loss, (logits, changed)), grads = differentiated(state.variables["params"])
    loss, grads = total((loss, grads))
    # Optax mixes its count of steps with floats: its own part alone is no part of strictness.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(grads, state.optimizer, state.variables["params"])
    params = optax.apply_updates(state.variables["params"], updates)
    variables = {**state.variables, **changed, "params": params}
    average = _moving_average(state.average, variables, recipe.average, state.step)
    hits = total(jnp.sum(batch.weights, where=jnp.argmax(logits, -1) == batch.labels))
    metrics = {"loss": loss, "accuracy": hits / count, "gradient_norm": optax.tree.norm(grads)}
    return TrainState(state.step + 1, variables, opt_state, average), metrics


def _moving_average(average: Params, new: Params, decay: float, step: Array) -> Params:
    # A decay that grows from 1/10 forgets the random initialisation.
    done = step.astype(jnp.float32)
    rate = jnp.minimum(decay, (1.0 + done) / (10.0 + done))
    return jax.tree.map(lambda old, now: rate * old + (1 - rate) * now, average, new)


def make_predict(
    apply: ApplyFn, *, batch_size: int, devices: Any = None
) -> Callable[[Params, np.ndarray], np.ndarray]:
    """`predict(variables, images [N, ...]) -> logits [N, K]`, NumPy, in batches of one shape."""
    forward = over_batch(apply, devices or processes.local_devices())

    def predict(variables: Params, images: np.ndarray) -> np.ndarray:
        padded = pad(images, batch_size)
        chunks = [
            forward(variables, padded[start : start + batch_size])
            for start in range(0, len(padded), batch_size)
        ]
        return np.concatenate(chunks)[: len(images)]

    return predict


def evaluate(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy and accuracy of logits [N, K] against labels [N]."""
    losses = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), labels)
    return {
        "loss": float(jnp.mean(losses)),
        "accuracy": float(np.mean(np.argmax(logits, -1) == labels)),
    }
