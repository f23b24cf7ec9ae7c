"""Chunks of a batch: what is taken out and concatenated are the rows themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.compiler import chunks

ROWS = np.arange(7 * 2, dtype=np.float32).reshape(7, 2)
HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


@pytest.fixture(params=["host", "device"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where rows lie; "device" is a stand-in for memory that NumPy cannot read."""
    if request.param == "device":
        monkeypatch.setattr(chunks, "on_host", lambda array: None)
    return request.param


def test_chunks_put_together_again_are_the_rows(memory: str) -> None:
    """Three chunks of three of seven rows: the last one is filled with its last row, and cut."""
    rows = {"a": jnp.asarray(ROWS), "b": jnp.arange(7)}
    parts = [jax.device_put(chunks.take(rows, start, 3)) for start in (0, 3, 6)]
    assert [part["b"].tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    found = chunks.concatenate(parts, 7, HERE)
    np.testing.assert_array_equal(found["a"], ROWS)
    np.testing.assert_array_equal(found["b"], np.arange(7))


def test_one_padded_chunk_is_cut(memory: str) -> None:
    part = jax.device_put(chunks.take(jnp.asarray(ROWS), 5, 4))
    np.testing.assert_array_equal(chunks.concatenate([part], 2, HERE), ROWS[5:])
