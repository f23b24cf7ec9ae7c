"""Chunks of a batch: what is taken out and concatenated are the rows themselves."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

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


OTHERS = {"no mesh": None, "the same mesh": (2, 2), "another mesh": (3,)}


def made(shape: tuple[int, ...], kind: AxisType) -> Mesh:
    return jax.make_mesh(shape, ("a", "b")[: len(shape)], axis_types=(kind,) * len(shape))


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto])
@pytest.mark.parametrize("current", OTHERS)
def test_rows_that_are_spread_over_a_mesh(memory: str, kind: AxisType, current: str) -> None:
    """JAX indexes no axis that is explicitly sharded, nor arrays beside the mesh that is set."""
    spread = NamedSharding(made((2, 2), kind), Spec(("a", "b")))
    rows = {"image": ROWS[:4], "key": jax.random.split(jax.random.key(0), 4)}
    placed = {**jax.device_put(rows, spread), "map": jax.device_put(ROWS[:4], jax.devices()[7])}
    shape = OTHERS[current]
    with jax.set_mesh(made(shape, kind)) if shape else contextlib.nullcontext():
        parts = [chunks.take(placed, start, 3) for start in (0, 3)]
    for part, taken in zip(parts, ([0, 1, 2], [3, 3, 3]), strict=True):
        for name in ("image", "map"):
            np.testing.assert_array_equal(part[name], ROWS[taken])
        found, words = (jax.random.key_data(each["key"]) for each in (part, rows))
        np.testing.assert_array_equal(found, np.asarray(words)[taken])
