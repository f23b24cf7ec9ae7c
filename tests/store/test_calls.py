"""Several chunks make a call on accelerators, the same ones after a kill."""

import jax
import numpy as np
import pytest
import zarr

import jaxsal
from jaxsal.engine import Explainer
from jaxsal.store.calls import CALL_BYTES, Calls, chunks_a_call
from jaxsal.store.layout import LARGEST_CHUNK, Layout
from tests import toy

P, X = toy.params(), toy.images(11)
PHOTO = 224 * 224 * 3 * 4


@pytest.mark.parametrize(
    ("chunk", "example_bytes", "devices", "platform", "expected"),
    [
        (16, PHOTO, 1, "cpu", 1),
        (16, PHOTO, 8, "cpu", 1),
        (16, PHOTO, 1, "gpu", CALL_BYTES // PHOTO // 16),
        (4, 5 * PHOTO, 8, "tpu", 8 * (CALL_BYTES // (5 * PHOTO) // 4)),
        (1, 128**3 * 4, 8, "tpu", 8 * 8),
        (1, CALL_BYTES + 1, 8, "tpu", 8),
        (LARGEST_CHUNK, 1, 4, "tpu", 4),
        (32, 4, 1, "gpu", LARGEST_CHUNK // 32),
    ],
)
def test_a_call_fills_the_devices(chunk, example_bytes, devices, platform, expected) -> None:
    assert chunks_a_call(chunk, example_bytes, devices, platform) == expected


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_each_chunk_is_in_one_call_of_one_process(processes, size) -> None:
    layout = Layout((), 2, 23)
    every = [Calls(layout, size, index, processes) for index in range(processes)]
    found = [(calls, n, list(calls.chunks(n))) for calls in every for n in range(layout.chunks)]
    assert sorted(chunk for *_, chunks in found for chunk in chunks) == list(range(12))
    for calls, number, chunks in found:
        assert len(chunks) <= size
        assert all(calls.of(chunk) == number for chunk in chunks)


@pytest.fixture
def batches(monkeypatch):
    """How many images each call of an explainer for a store has."""
    seen: list[int] = []
    dispatch = Explainer.dispatch

    def watched(self, params, images, *args, **options):
        seen.append(len(images))
        return dispatch(self, params, images, *args, **options)

    monkeypatch.setattr(Explainer, "dispatch", watched)
    return seen


@pytest.fixture
def eight(monkeypatch):
    """Eight chunks a call, as on accelerators."""
    monkeypatch.setattr("jaxsal.store.stream.chunks_a_call", lambda *given: 8)


def test_eight_small_chunks_are_explained_at_once(eight, batches, tmp_path) -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    stored = jaxsal.explain_dataset(explain, P, X, tmp_path / "m", chunk=1)
    assert batches == [8, 3] and stored.explained == 11
    toy.close(zarr.open(str(tmp_path / "m"), mode="r")["maps"][:], explain(P, X))


def test_on_a_cpu_a_call_is_a_chunk(batches, tmp_path) -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    jaxsal.explain_dataset(explain, P, X, tmp_path / "m", chunk=4)
    assert batches == [4, 4, 3]


@pytest.mark.parametrize("targets", [None, "label", "given"])
def test_after_a_kill_a_call_is_of_the_same_chunks(targets, eight, batches, tmp_path) -> None:
    """Finished chunks are blank there, and neither read nor written again."""
    noisy = jaxsal.explainer(toy.apply, jaxsal.smoothgrad(jaxsal.gradient, samples=2))
    labels = np.arange(11) % 3
    source = [{"image": x, "label": int(k)} for x, k in zip(X, labels, strict=True)]
    wanted = labels if targets == "given" else targets
    options = {"targets": wanted, "key": jax.random.key(0), "chunk": 2}
    jaxsal.explain_dataset(noisy, P, source, tmp_path / "m", **options)
    whole = zarr.open(str(tmp_path / "m"), mode="r")["maps"][:]
    for chunk in (0, 3):
        (tmp_path / f"m/status/c/{chunk}").unlink()
        (tmp_path / f"m/maps/c/{chunk}/0/0/0").unlink()
    source[2] = source[2] | {"image": np.full_like(X[0], np.nan)}  # finished: not looked at
    again = jaxsal.explain_dataset(noisy, P, source, tmp_path / "m", **options)
    assert batches == [11, 11] and again.resumed == 7 and again.explained == 11
    np.testing.assert_array_equal(zarr.open(str(tmp_path / "m"), mode="r")["maps"][:], whole)
