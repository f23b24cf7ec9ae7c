"""A call takes its program from the last one, but never where anything has changed in between."""

import concurrent.futures
import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxsal
from jaxsal.compiler import memory, programs
from tests import toy

P, X = toy.params(), toy.images(2)
KEY = jax.random.key(0)
NOISY = jaxsal.smoothgrad(jaxsal.gradient, samples=2)


def apply(params: dict, images: jax.Array) -> jax.Array:
    """A model that reads one of JAX's settings, as a user's may."""
    factor = 2.0 if jax.config.jax_default_matmul_precision == "bfloat16" else 1.0
    return factor * toy.apply(params, images.astype(jnp.float32))


def warm(method: jaxsal.Method = jaxsal.gradient, **options: Any) -> jaxsal.Explainer:
    """An explainer whose last call's program the next one takes."""
    explain = jaxsal.explainer(apply, method, **options)
    for _ in range(3):
        explain(P, X, 0, **({"key": KEY} if explain.keyed else {}))
    assert explain._execute._last is not None
    return explain


def moved(tree: object) -> object:
    return jax.device_put(tree, jax.devices()[3])


CHANGES: dict[str, tuple[tuple, dict, Callable[[], contextlib.AbstractContextManager]]] = {
    "parameters": ((toy.params(5), X, 0), {}, contextlib.nullcontext),
    "parameters of NumPy": ((jax.tree.map(np.asarray, P), X, 0), {}, contextlib.nullcontext),
    "parameters elsewhere": ((moved(P), moved(X), 0), {}, contextlib.nullcontext),
    "more parameters": ((P | {"more": jnp.ones(3)}, X, 0), {}, contextlib.nullcontext),
    "images": ((P, -X, 0), {}, contextlib.nullcontext),
    "more images": ((P, toy.images(3, 8), 0), {}, contextlib.nullcontext),
    "images of JAX": ((P, jnp.asarray(-X), 0), {}, contextlib.nullcontext),
    "images elsewhere": ((P, moved(-X), 0), {}, contextlib.nullcontext),
    "narrow images": ((P, jnp.bfloat16(X), 0), {}, contextlib.nullcontext),
    "another target": ((P, X, 1), {}, contextlib.nullcontext),
    "targets": ((P, X, jnp.array([1, 2])), {}, contextlib.nullcontext),
    "wide targets": ((P, X, np.array([1, 2], np.int64)), {}, contextlib.nullcontext),
    "predicted targets": ((P, X, None), {}, contextlib.nullcontext),
    "all targets": ((P, X, "all"), {}, contextlib.nullcontext),
    "a setting": ((P, X, 0), {}, lambda: jax.default_matmul_precision("bfloat16")),
    "64 bits": ((P, X.astype(np.float64), 0), {}, jax.enable_x64),
    "the default device": ((P, X, 0), {}, lambda: jax.default_device(jax.devices()[5])),
    "a mesh": ((P, X, 0), {}, lambda: jax.set_mesh(jax.make_mesh((2,), ("b",)))),
    "one device's mesh": (
        (P, X, 0),
        {},
        lambda: jax.set_mesh(jax.make_mesh((1,), ("b",), axis_types=(AxisType.Explicit,))),
    ),
    "a transfer guard": ((P, X, 2), {}, lambda: jax.transfer_guard_host_to_device("disallow")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_calls_is_seen(change: str) -> None:
    (params, images, targets), options, context = CHANGES[change]
    one = jax.make_mesh((1,), ("b",), devices=jax.devices()[:1])
    for mesh in (None, one):
        explain = warm(mesh=mesh)
        with context():
            got = explain(params, images, targets, **options)
            expected = jaxsal.explainer(apply, jaxsal.gradient, mesh=mesh)(params, images, targets)
        assert got.sharding == expected.sharding and got.dtype == expected.dtype
        toy.close(got, expected, 1e-6)


def test_a_setting_changes_the_maps() -> None:
    """Else the case above would pass whatever the program was compiled with."""
    explain = warm()
    with jax.default_matmul_precision("bfloat16"):
        doubled = explain(P, X, 0)
    toy.close(doubled, 2 * explain(P, X, 0), 1e-2)
    assert np.abs(doubled).max() > 1.5 * np.abs(explain(P, X, 0)).max()


def test_a_dict_of_parameters_that_holds_others_now() -> None:
    params = dict(P)
    explain = jaxsal.explainer(apply, jaxsal.gradient)
    for _ in range(3):
        explain(params, X, 0)
    params["dense"] = toy.params(4)["dense"]
    toy.close(explain(params, X, 0), jaxsal.explainer(apply, jaxsal.gradient)(params, X, 0), 0)


def test_parameters_of_numpy_that_are_written_to() -> None:
    params, expected = jax.tree.map(np.array, P), warm()(P, X, 0)
    explain = jaxsal.explainer(apply, jaxsal.gradient)
    for factor in (1.0, 2.0, 3.0, 4.0):
        params["dense"][:] = factor * np.asarray(P["dense"])
        toy.close(explain(params, X, 0), factor * expected)


def test_parameters_of_numpy_that_were_locked_and_are_written_to() -> None:
    """An array that nobody could write to is compared once somebody can.

    Of float64 JAX makes a copy of its own; float32 it may share with NumPy.
    """
    dense = np.array(P["dense"], np.float64)
    params, expected = P | {"dense": dense}, warm()(P, X, 0)
    explain = jaxsal.explainer(apply, jaxsal.gradient)
    dense.flags.writeable = False
    toy.close(explain(params, X, 0), expected)
    dense.flags.writeable = True
    for factor in (2.0, 3.0):
        dense[:] = factor * np.asarray(P["dense"])
        toy.close(explain(params, X, 0), factor * expected)


def widths(score: jaxsal.types.ScoreFn, image: jax.Array, *, option: jax.Array) -> jax.Array:
    """The gradient times the bytes of a number of the option."""
    return jaxsal.gradient(score, image) * option.dtype.itemsize


def test_arrays_of_numpy_are_as_wide_as_jax_has_them_now() -> None:
    """Parameters and options that were placed under another `jax_enable_x64` are placed anew."""

    def apply(weights: jax.Array, images: jax.Array) -> jax.Array:
        return weights.dtype.itemsize * toy.linear(weights.astype(images.dtype), images)

    weights, images = np.float64(toy.images(3, shape=(4,)).T), np.float64(toy.images(2, shape=(4,)))
    explain = jaxsal.explainer(apply, widths, option=np.ones(2))
    for wide in (False, True, False, True):
        with jax.enable_x64(wide):
            maps = explain(weights, images, 1)
        toy.close(maps, (64 if wide else 16) * np.stack([weights[:, 1]] * 2))


def precisions(score: jaxsal.types.ScoreFn, image: jax.Array) -> jax.Array:
    """The gradient times the bytes of a number that the score computes in."""
    return jaxsal.gradient(score, image) * score.dtype.itemsize


def test_a_score_tells_what_it_computes_in_now() -> None:
    weights, images = np.float64(toy.images(3, shape=(4,)).T), np.float64(toy.images(2, shape=(4,)))
    explain = jaxsal.explainer(toy.linear, precisions)
    for wide in (False, True, False):
        with jax.enable_x64(wide):
            maps = explain(weights, images, 1)
        toy.close(maps, (8 if wide else 4) * np.stack([weights[:, 1]] * 2))


def test_memory_is_measured_anew_under_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of NumPy's float64, as many images fit as a new explainer finds: half of those of float32."""
    monkeypatch.setattr(memory, "free_bytes", lambda devices: 1e5)
    params, mesh = jax.tree.map(np.float64, P), jax.sharding.Mesh(jax.devices()[:1], ("batch",))

    def taken(explain: jaxsal.Explainer) -> int:
        call = explain._prepare(params, {"image": np.float64(toy.images(64))}, 0, None)
        return explain._execute.plan(call)[0].images

    explain, other = (jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh) for _ in range(2))
    narrow = taken(explain)
    with jax.enable_x64(True):
        assert narrow > taken(other) == taken(explain)


def test_a_key_and_what_is_recorded() -> None:
    explain, cold = warm(NOISY), jaxsal.explainer(apply, NOISY)
    other = jax.random.key(7)
    for key in (other, jax.random.split(other, 2)):
        toy.close(explain(P, X, 0, key=key), cold(P, X, 0, key=key), 0)
    assert explain.record(P, X, None, key=other).targets.shape == (2,)
    with pytest.raises(ValueError, match="needs a key"):
        explain(P, X, 0)


def test_inside_a_trace() -> None:
    explain = warm()
    expected = explain(P, X, 0)
    toy.close(jax.jit(explain)(P, X, 0), expected)
    toy.close(jax.jit(lambda: explain(P, X, 0))(), expected)  # of constants alone
    slope = jax.grad(lambda params: (explain(params, X, 0) ** 2).sum())(P)
    cold = jaxsal.explainer(apply, jaxsal.gradient)
    toy.close(slope, jax.grad(lambda params: (cold(params, X, 0) ** 2).sum())(P))
    toy.close(explain(P, X, 0), expected, 0)


def test_values_are_checked_in_every_call() -> None:
    explain = warm()
    broken = P | {"bias": jnp.full(4, jnp.nan)}
    with pytest.warns(RuntimeWarning, match="params: 1 of 3 arrays"):
        explain(broken, X, 0)
    with pytest.raises(ValueError, match="images: expected finite"):
        explain(P, np.full_like(X, np.nan), 0)
    for wrong in (toy.CLASSES, -1, np.array([0, toy.CLASSES])):
        with pytest.raises(ValueError, match="targets: expected classes"):
            explain(P, X, wrong)
    with pytest.raises(TypeError, match="images"):
        explain(P, X.astype(np.int32), 0)


def test_other_threads_call_too() -> None:
    explain, cold = warm(), jaxsal.explainer(apply, jaxsal.gradient)
    cases = [(n, t, seed) for n in (1, 2) for t in (0, 1, None) for seed in (0, 1)]
    expected = {case: cold(toy.params(case[2]), toy.images(case[0]), case[1]) for case in cases}

    def called(case: tuple) -> tuple[tuple, jax.Array]:
        return case, explain(toy.params(case[2]), toy.images(case[0]), case[1])

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for case, maps in pool.map(called, cases * 4):
            toy.close(maps, expected[case], 0)


def test_a_program_that_was_forgotten_is_not_kept() -> None:
    explain = warm()
    run = explain._execute._last.run
    expected = explain(P, X, 0)
    assert run() is not None
    programs._PROGRAMS.clear()
    assert run() is None
    toy.close(explain(P, X, 0), expected, 0)


def test_where_rows_lie_on_one_device_compiles_nothing_more() -> None:
    """Committed to it or not, of JAX or NumPy: as `jax.jit` alone would for each of them."""
    explain, device, image = jaxsal.explainer(apply, jaxsal.gradient), jax.devices()[0], X[:1]
    params = jax.device_put(P, device)
    expected = explain(params, image, 0)
    others = [jnp.asarray(image), jax.device_put(image, device)]
    with toy.compilations() as counter:
        for images in (image, *others):
            for targets in (0, np.int32([0]), jax.device_put(np.int32([0]), device)):
                for given in (params, P):
                    toy.close(explain(given, images, targets), expected, 0)
    assert counter.count == 0


def test_rows_may_be_written_to_as_soon_as_a_call_returns() -> None:
    explain, images, targets = warm(check=False), X[:1].copy(), np.zeros(1, np.int32)
    expected = np.asarray(explain(P, X[:1], 0))
    for _ in range(20):
        maps = explain(P, images, targets)
        images[:], targets[:] = 0, 1
        toy.close(maps, expected, 0)
        images[:], targets[:] = X[:1], 0
