"""Prediction in batches gives what the network gives."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.models import CNN
from jaxsal.training.predict import make_predict


def test_prediction_ignores_padding() -> None:
    model = CNN(classes=3, widths=(4,))
    images = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    variables = model.init(jax.random.key(0), jnp.asarray(images[:1]))
    expected = model.apply(variables, jnp.asarray(images))
    logits = make_predict(model.apply, batch_size=6)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
