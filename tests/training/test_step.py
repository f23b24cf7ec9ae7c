"""The loss and its weights, by their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from jaxsal.training import step


def test_loss_of_uniform_logits_is_log_classes() -> None:
    weights = jnp.array([1.0, 1.0, 0.0])
    loss = step.cross_entropy(jnp.zeros((3, 4)), jnp.array([0, 3, 1]), weights, smoothing=0.1)
    np.testing.assert_allclose(loss, 2 * np.log(4), rtol=1e-6)


def test_labels_wholly_smoothed_ask_for_uniform_chances() -> None:
    logits, labels = jnp.array([[2.0, 0.0, -1.0]]), jnp.array([0])
    loss = step.cross_entropy(logits, labels, jnp.ones(1), smoothing=1.0)
    np.testing.assert_allclose(loss, -jax.nn.log_softmax(logits).mean(), rtol=1e-6)


def test_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2], np.int32)
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(step.class_weights(labels, 3), balanced, rtol=1e-6)
    np.testing.assert_array_equal(step.class_weights(labels, 4)[3], 0)
