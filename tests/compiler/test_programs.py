"""Explainers share a program where `jax.jit` would, and keep nothing alive that it would not."""

import copy
import ctypes
import dataclasses
import functools
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsal
from jaxsal.compiler import programs
from jaxsal.compiler.memory import mappings_taken
from tests import toy

P = toy.params()
X = toy.images(2)


class Scaled:
    """A model that is an object, and may be changed."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def apply(self, params: dict, images: jax.Array) -> jax.Array:
        return toy.apply(params, images) * self.scale


class Module(nnx.Module):
    def __init__(self) -> None:
        self.scale = nnx.Param(jnp.ones(()))

    def apply(self, params: dict, images: jax.Array) -> jax.Array:
        return toy.apply(params, images) * self.scale[...]


def set_scale(model: Scaled, scale: float) -> None:
    model.scale = scale


def set_parameter(model: Module, scale: float) -> None:
    model.scale[...] = jnp.asarray(scale)


@dataclasses.dataclass(frozen=True)
class Equal:
    """Equal to all others of its kind."""

    scale: jax.Array = dataclasses.field(compare=False)

    def __call__(self, params: dict, images: jax.Array) -> jax.Array:
        return toy.apply(params, images) * self.scale

    def objective(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return logits[target] * self.scale

    def method(self, score: jaxsal.ScoreFn, image: jax.Array) -> jax.Array:
        return jax.grad(score)(image) * self.scale


def gradient(apply: Callable, method: Callable = jaxsal.gradient, **options: object) -> jax.Array:
    return jaxsal.explainer(apply, method, **options)(P, X, 0)


@pytest.fixture(scope="module")
def expected() -> jax.Array:
    return gradient(toy.apply)


@pytest.mark.parametrize(
    ("model", "change"), [(lambda: Scaled(1.0), set_scale), (Module, set_parameter)]
)
def test_a_new_explainer_of_a_changed_model_sees_the_change(
    model: Callable, change: Callable, expected: jax.Array
) -> None:
    changing = model()
    toy.close(gradient(changing.apply), expected)
    change(changing, 5.0)
    toy.close(gradient(changing.apply), 5 * expected)


def test_models_methods_and_objectives_that_compare_equal_have_their_own_programs(
    expected: jax.Array,
) -> None:
    for scale in (1.0, 3.0):
        equal = Equal(jnp.asarray(scale))
        toy.close(gradient(equal), scale * expected)
        toy.close(gradient(toy.apply, equal.method), scale * expected)
        toy.close(gradient(toy.apply, objective=equal.objective), scale * expected)


def ordered(table: dict, params: dict, images: jax.Array) -> jax.Array:
    """Layers in the order of a table."""
    for layer in table.values():
        images = layer(images)
    return toy.apply(params, images)


def chosen(weight: np.ndarray, factor: object, params: dict, images: jax.Array) -> jax.Array:
    """A model that decides in Python by an array that it is bound to."""
    images = images * (2.0 if weight[0] > 0 else 1.0)
    assert type(factor) is np.float32
    return toy.apply(params, images * factor)


def test_what_a_partial_binds_reaches_the_model_as_it_is(expected: jax.Array) -> None:
    table = {"b": lambda x: x + 1, "a": lambda x: x * 2}
    toy.close(
        gradient(functools.partial(ordered, table)),
        gradient(lambda params, images: toy.apply(params, (images + 1) * 2)),
    )
    model = functools.partial(chosen, np.ones(3, np.float32), np.float32(0.5))
    toy.close(gradient(model), expected)


def by_table(score: jaxsal.ScoreFn, image: jax.Array, *, table: np.ndarray) -> jax.Array:
    return jax.grad(score)(image) * (2.0 if table[0] > 0 else 1.0)


def test_what_a_partial_binds_reaches_a_users_method_as_it_is(expected: jax.Array) -> None:
    method = functools.partial(by_table, table=np.ones(2))
    toy.close(gradient(toy.apply, method), 2 * expected)
    maps = jaxsal.explainer(toy.apply, {"a": jaxsal.smoothgrad(method, samples=1, noise=0.0)})(
        P, X, 0, key=jax.random.key(0)
    )
    toy.close(maps["a"], 2 * expected)


class Settings:
    """An option that may be changed, and says that it is equal to any other."""

    factor = 1.0

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def times(score: jaxsal.ScoreFn, image: jax.Array, *, settings: Settings) -> jax.Array:
    return jax.grad(score)(image) * settings.factor


def test_a_new_explainer_sees_that_an_option_has_changed(expected: jax.Array) -> None:
    settings = Settings()
    toy.close(gradient(toy.apply, times, settings=settings), expected)
    settings.factor = 3.0
    toy.close(gradient(toy.apply, times, settings=settings), 3 * expected)


class Doubled:
    """A user's own combinator."""

    def __init__(self, inner: Callable) -> None:
        self.inner = inner

    def __call__(self, score: jaxsal.ScoreFn, image: jax.Array, *, flag: object) -> jax.Array:
        return self.inner(score, image) * (2.0 if flag[0] else 1.0)


@functools.wraps(jaxsal.gradient)
def wrapped(score: jaxsal.ScoreFn, image: jax.Array, *, flag: object = None) -> jax.Array:
    return Doubled(jaxsal.gradient)(score, image, flag=flag)


@pytest.mark.parametrize("method", [Doubled(jaxsal.gradient), wrapped])
def test_what_goes_through_a_users_code_reaches_it_as_it_is(
    method: Callable, expected: jax.Array
) -> None:
    toy.close(gradient(toy.apply, functools.partial(method, flag=np.ones(1))), 2 * expected)


def test_a_function_object_is_compiled_for_once() -> None:
    bound = Scaled(2.0).apply
    window = {"window": 4}
    for apply in (toy.apply, bound, functools.partial(toy.apply)):
        gradient(apply, jaxsal.occlusion, **window)
        with toy.compilations() as counter:
            gradient(apply, functools.partial(jaxsal.occlusion, window=4))
            gradient(apply, jaxsal.occlusion, **window)
        assert counter.count <= 1  # the partial is another method than the function
    gradient(Scaled(2.0).apply)
    with toy.compilations() as counter:
        gradient(Scaled(2.0).apply)
    assert counter.count == 1  # another model, as far as anybody can tell


def test_the_program_goes_with_the_model() -> None:
    def closure(index: int) -> tuple[Callable, weakref.ref]:
        constant = jnp.full((2**21,), index, jnp.float32)

        def apply(params: dict, images: jax.Array) -> jax.Array:
            return toy.apply(params, images) + constant[0]

        return apply, weakref.ref(apply)

    def explained(index: int) -> list[weakref.ref]:
        apply, model = closure(index)
        objective = lambda logits, target: logits[target] + index  # noqa: E731
        maps = jaxsal.explainer(apply, jaxsal.gradient, objective=objective, batch_size=2)(P, X, 0)
        return [model, weakref.ref(objective), weakref.ref(maps)]

    explained(0)
    before, memory = _live_bytes(), _resident_bytes()
    gone = [ref for index in range(12) for ref in explained(index)]
    gc.collect()
    assert all(ref() is None for ref in gone)
    assert _live_bytes() - before < 2**21
    assert _resident_bytes() - memory < 50 * 2**20  # 12 closures hold 96 MiB


def _live_bytes() -> int:
    return sum(array.nbytes for array in jax.live_arrays())


def _resident_bytes() -> int:
    """Of this process, less what the allocator holds back."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def test_clearing_the_caches_of_jax_clears_the_programs() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    maps = explain(P, X, 0)
    jax.clear_caches()
    with toy.compilations() as counter:
        toy.close(explain(P, X, 0), maps)
    assert counter.count >= 1


@pytest.mark.skipif(not mappings_taken(), reason="only Linux counts memory mappings")
def test_programs_are_dropped_before_the_process_has_no_mapping_left(monkeypatch, caplog) -> None:
    """XLA ends the process there: a few dozen programs of a real network are enough on a CPU."""
    jax.clear_caches()
    monkeypatch.setattr(programs, "_PROGRAMS", {})
    first, second, third, fourth = (
        jaxsal.explainer(toy.apply, functools.partial(jaxsal.integrated_gradients, steps=steps))
        for steps in (2, 3, 4, 5)
    )
    maps = first(P, X, 0)
    second(P, X, 0)
    taken = mappings_taken()
    monkeypatch.setattr(programs, "CROWDED", 0.0)
    third.lower(P, X, 0)  # the newest few stay: it may be others' that take the mappings
    assert mappings_taken() >= taken
    monkeypatch.setattr(programs, "KEPT", 2)
    fourth.lower(P, X, 0)
    assert "1 of 3 older compiled programs are dropped, and compiled again" in caplog.text
    assert mappings_taken() < taken  # that of the first is gone
    with toy.compilations() as counter:
        toy.close(first(P, X, 0), maps)
    assert counter.count >= 1


def linear_loss(score: jaxsal.ScoreFn, image: jax.Array, map: jax.Array) -> jax.Array:
    return jnp.sum(map * image) - score(image)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_called_explainer_can_be_copied_and_pickled(copied: Callable) -> None:
    baseline = np.ones(toy.SHAPE, np.float32)
    method = functools.partial(jaxsal.integrated_gradients, steps=2, baseline=baseline)
    explain = jaxsal.explainer(toy.apply, {"z": method, "a": jaxsal.gradient}, batch_size=3)
    maps = explain(P, X, 0)
    baseline[:] = 7  # the explainer's is a copy
    again = copied(explain)(P, X, 0)
    assert list(again) == ["z", "a"]
    toy.close(again, maps, 0)
    evaluate = jaxsal.evaluator(toy.apply, linear_loss)
    toy.close(copied(evaluate)(P, X, maps["a"], 0), evaluate(P, X, maps["a"], 0), 0)


def test_no_tracer_outlives_its_trace() -> None:
    """With a model and a method made inside, as in a training step with a penalty."""

    def penalty(params: dict, images: jax.Array) -> jax.Array:
        explain = jaxsal.explainer(
            lambda _, x: toy.apply(params, x),
            jaxsal.integrated_gradients,
            steps=2,
            baseline=images[0],
        )
        return jnp.sum(jnp.square(explain(params, images, 0)))

    with jax.checking_leaks():
        leaky = jax.jit(jax.grad(penalty))(P, X)
    toy.close(leaky, jax.grad(penalty)(P, X), 1e-4)
