"""Bad input: a ValueError or TypeError that names the argument, before anything is compiled."""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.compiler.placement import place_batch
from tests import toy

P = toy.params()
X = toy.images(4)
KEY = jax.random.key(0)


def explain(*args: object, method: object = jaxsal.gradient, **options: object) -> Callable:
    key = options.pop("key", None)
    return lambda: jaxsal.explainer(toy.apply, method, **options)(P, *args, key=key)


def model(apply: object, **options: object) -> Callable:
    return lambda: jaxsal.explainer(apply, jaxsal.gradient, **options)(P, X, 0)


def evaluate(maps: object) -> Callable:
    metric = lambda score, image, map: jnp.sum(map)  # noqa: E731
    return lambda: jaxsal.evaluator(toy.apply, metric)(P, X, maps, 0)


def evaluate_masked(*, options: dict | None = None, **rows: object) -> Callable:
    def metric(score: object, image: object, map: object, *, mask: object) -> object:
        return jnp.sum(map, where=mask)

    return lambda: jaxsal.evaluator(toy.apply, metric, **(options or {}))(P, X, X, 0, **rows)


WITH_NAN = np.where(np.arange(X.size).reshape(X.shape) == 7, np.nan, X)
NOISY = jaxsal.smoothgrad(jaxsal.gradient)
PATH = jaxsal.integrated_gradients

WRONG = {
    "images of integers": (explain(X.astype(np.uint8)), TypeError, "images: .*uint8"),
    "images that are a list": (explain([1.0]), TypeError, "images: .*list"),
    "one image without a batch axis": (explain(X[0, :, 0, 0]), ValueError, r"images: .*\(8,\)"),
    "no images": (explain(X[:0]), ValueError, "images: .*at least one"),
    "an image with a NaN": (explain(WITH_NAN), ValueError, "images: .*finite"),
    "images with infinity": (explain(jnp.asarray(X).at[0].set(jnp.inf)), ValueError, "images: .*"),
    "fewer targets than images": (explain(X, [0, 1]), ValueError, r"targets: .*\(4,\).*\(2,\)"),
    "a class too high": (explain(X, [0, 1, 2, 3]), ValueError, r"targets: .*\[0, 3\), got 3"),
    "a class below zero": (explain(X, -1), ValueError, r"targets: .*\[0, 3\), got -1"),
    "a huge class": (explain(X, 2**32), ValueError, "targets: .*4294967296"),
    "targets that float": (explain(X, np.zeros(4)), TypeError, "targets: .*float64"),
    "targets that are truths": (explain(X, np.zeros(4, bool)), TypeError, "targets: .*bool"),
    "another word": (explain(X, "every"), ValueError, "targets: .*'every'"),
    "no key": (explain(X, 0, method=NOISY), ValueError, "key: .*smoothgrad.*None"),
    "no key in a dict": (explain(X, method={"a": NOISY}), ValueError, "key: .*smoothgrad"),
    "a number as a key": (explain(X, 0, method=NOISY, key=3), TypeError, "key: .*3"),
    "keys of other images": (
        explain(X, 0, method=NOISY, key=jax.random.split(KEY, 3)),
        ValueError,
        r"key: .*\(4\).*\(3,\)",
    ),
    "a key as an option": (
        lambda: jaxsal.explainer(toy.apply, NOISY, **{"key": KEY}),
        TypeError,
        "key: .*call",
    ),
    "an unknown option": (explain(X, step=3, method=PATH), TypeError, "step: .*steps"),
    "the score as an option": (explain(X, score=3), TypeError, "score: gradient .*none"),
    "the image as an option": (explain(X, image=3, method=NOISY), TypeError, "image: .*none"),
    "an option of no inner method": (explain(X, steps=3, method=NOISY), TypeError, "steps: "),
    "a missing option": (explain(X, method=jaxsal.occlusion), TypeError, "window: .*occlusion"),
    "an option beside a dict": (
        explain(X, steps=3, method={"a": PATH}),
        TypeError,
        "steps: .*dict",
    ),
    "an empty dict": (explain(X, method={}), ValueError, "method: .*empty"),
    "no function": (explain(X, method=3), TypeError, "method: .*3"),
    "no such name": (
        explain(X, method="gradiant"),
        ValueError,
        "method: .*did you mean 'gradient'",
    ),
    "a number as a name": (explain(X, method={1: PATH, "a": PATH}), TypeError, "method: .*1"),
    "segments that are no integers": (
        explain(X, method=jaxsal.feature_ablation, segments=np.zeros((8, 8))),
        TypeError,
        "segments: .*integers.*float64",
    ),
    "a metric that is none": (
        lambda: jaxsal.evaluator(toy.apply, 3),
        TypeError,
        "metric: .*3",
    ),
    "no function in a dict": (explain(X, method={"a": 3}), TypeError, "method: .*3"),
    "a method's own error": (explain(X, steps=0, method=PATH), ValueError, "steps: "),
    "a chunk of none": (explain(X, chunk=0, method=PATH), ValueError, "chunk: .*0"),
    "a chunk in words": (explain(X, chunk="a", method=PATH), TypeError, "chunk: .*'a'"),
    "a bound chunk of none": (
        explain(X, method={"a": functools.partial(PATH, chunk=0)}),
        ValueError,
        "chunk: .*0",
    ),
    "batch size zero": (explain(X, batch_size=0), ValueError, "batch_size: .*0"),
    "a fraction of a batch": (explain(X, batch_size=1.5), TypeError, "batch_size: .*1.5"),
    "a batch size in words": (explain(X, batch_size="big"), ValueError, "batch_size: .*'big'"),
    "devices for a mesh": (explain(X, mesh=jax.devices()), TypeError, "mesh: .*Device"),
    "integers as a dtype": (explain(X, dtype=jnp.int8), TypeError, "dtype: .*int8"),
    "no dtype at all": (explain(X, dtype="half-ish"), TypeError, "dtype: .*half-ish"),
    "a dtype of 64 bits": (explain(X, dtype=jnp.float64), ValueError, "dtype: .*x64"),
    "spatial axes in words": (explain(X, spatial_axes="xy"), TypeError, "spatial_axes: .*'xy'"),
    "no spatial axes": (explain(X, spatial_axes=()), ValueError, r"spatial_axes: .*\(\)"),
    "an axis that there is not": (
        explain(X, spatial_axes=(0, 3)),
        ValueError,
        r"spatial_axes: .*3",
    ),
    "an axis twice": (explain(X, spatial_axes=(0, -3)), ValueError, r"spatial_axes: .*-3"),
    "a model that does not say which axes are spatial": (
        lambda: jaxsal.explainer(toy.linear, jaxsal.occlusion, window=2)(
            np.ones((64, 3)), X[..., 0], 0
        ),
        ValueError,
        r"spatial_axes: the model has no convolution.*\(8, 8\)",
    ),
    "an objective that is none": (model(toy.apply, objective=3), TypeError, "objective: .*3"),
    "an objective of logits": (
        model(toy.apply, objective=lambda logits, target: logits),
        ValueError,
        r"objective: .*\[3\]",
    ),
    "a model that is none": (model("model"), TypeError, "apply: .*'model'"),
    "logits without a batch": (
        model(lambda p, x: toy.apply(p, x)[0]),
        ValueError,
        r"apply: .*\[B, K\].*\[3\]",
    ),
    "logits of integers": (
        model(lambda p, x: toy.apply(p, x).astype(jnp.int32)),
        TypeError,
        "apply: .*int32",
    ),
    "a model that fixes its dtype": (
        model(
            lambda p, x: toy.apply(jax.tree.map(jnp.float32, p), jnp.float32(x)),
            dtype=jnp.bfloat16,
        ),
        ValueError,
        "dtype: .*bfloat16",
    ),
    "parameters that are words": (
        lambda: jaxsal.explainer(toy.apply, jaxsal.gradient)({"a": "b"}, X),
        TypeError,
        "params: .*'b'",
    ),
    "maps of other images": (evaluate(X[:3]), ValueError, r"maps: .*\[4, ...\].*\(3, 8"),
    "masks of other images": (
        evaluate_masked(mask=X[:3] > 0),
        ValueError,
        r"mask: .*\[4, .*\(3, 8",
    ),
    "a mask that is a number": (evaluate_masked(mask=1), TypeError, "mask: .*1"),
    "no mask": (evaluate_masked(), TypeError, "mask: metric needs"),
    "an unknown row": (evaluate_masked(mask=X > 0, masks=X), TypeError, "masks: .*metric"),
    "a mask given twice": (
        evaluate_masked(mask=X > 0, options={"mask": X[0] > 0}),
        TypeError,
        "mask: .*again",
    ),
    "maps of nothing": (evaluate({}), ValueError, "maps: expected at least one"),
    "named maps of other images": (
        evaluate({"a": X, "b": X[:3]}),
        ValueError,
        r"maps\['b'\]: .*\[4, ...\].*\(3, 8",
    ),
    "named maps of integers": (evaluate({"a": X.astype(int)}), TypeError, r"maps\['a'\]: .*int"),
    "maps in maps": (evaluate({"a": {"b": X}}), TypeError, r"maps\['a'\]: expected a floating"),
    "maps without names": (evaluate({1: X}), TypeError, "maps: .*strings"),
    "maps of integers": (evaluate(X.astype(int)), TypeError, "maps: .*int"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name: str) -> None:
    call, error, message = WRONG[name]
    with toy.compilations() as counter, pytest.raises(error, match="^" + message):
        call()
    assert counter.count == 0


def test_values_are_not_looked_at_unless_asked() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, check=False)
    maps = explain(P, WITH_NAN.astype(np.float32), [0, 1, 2, 3])
    assert np.isnan(maps[3]).all() and not np.isnan(maps[1]).any()
    with pytest.raises(ValueError, match="targets: "):
        explain(P, X, [0, 1])


def test_a_second_call_is_one_dispatch() -> None:
    """What is on its devices already goes to one program, and that is all that runs."""
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, check=False)
    images = jnp.asarray(toy.images(8))
    maps = explain(P, images, toy.targets(8))
    placed = jax.device_put(images, maps.sharding)
    targets = jax.device_put(toy.targets(8), maps.sharding)
    explain(P, placed, targets)
    with jax.transfer_guard("disallow"), toy.compilations() as counter:
        explain(P, placed, targets)
    assert counter.count == 0


def test_bound_options_count() -> None:
    window = functools.partial(jaxsal.occlusion, window=4)
    assert jaxsal.explainer(toy.apply, {"a": window})(P, X, 0)["a"].shape == X.shape


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_computing_in_a_narrower_dtype(dtype: object) -> None:
    explain = jaxsal.explainer(toy.apply, {"a": jaxsal.gradient}, dtype=dtype)
    maps = explain(P, X, 0)["a"]
    exact = jaxsal.explainer(toy.apply, {"a": jaxsal.gradient})(P, X, 0)["a"]
    assert maps.dtype == jnp.float32
    error = float(jnp.linalg.norm(maps - exact) / jnp.linalg.norm(exact))
    assert 1e-5 < error < 0.2  # it did compute in less, and not in much less
    narrow = "bf16" if dtype == jnp.bfloat16 else "f16"
    assert f"{narrow}[" in explain.lower(P, X, 0).compile().as_text()


def test_sums_stay_in_float32() -> None:
    """Steps of a path in bfloat16: a hundred times the same gradient sum to it without loss."""
    weights = jnp.asarray(toy.images(2, shape=(16,)).T)
    explain = jaxsal.explainer(
        toy.linear, jaxsal.integrated_gradients, steps=100, rule="riemann_left", dtype=jnp.bfloat16
    )
    images = toy.images(3, shape=(16,))
    rounded = weights[:, 1].astype(jnp.bfloat16).astype(jnp.float32)
    toy.close(explain(weights, images, 1), images * jnp.broadcast_to(rounded, images.shape), 1e-6)


class Lazy:
    """An array as other libraries have them: what it holds is had by `np.asarray` alone."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, str(values.dtype)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.values


def test_arrays_of_other_libraries_are_taken_for_what_they_hold() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    params = jax.tree.map(lambda leaf: Lazy(np.asarray(leaf)), P)
    toy.close(explain(params, Lazy(X), 0), explain(P, X, 0))
    with pytest.raises(ValueError, match="images: expected finite"):
        explain(P, Lazy(WITH_NAN), 0)
    metric = lambda score, image, map: jnp.sum(map)  # noqa: E731
    evaluate = jaxsal.evaluator(toy.apply, metric)
    toy.close(evaluate(P, X, Lazy(X), 0), X.sum((1, 2, 3)))


def test_numpys_scalars_are_checked_as_pythons() -> None:
    for keep in (np.float64(0), np.float32(1.5), 0.0):
        with pytest.raises(ValueError, match="keep"):
            jaxsal.explainer(toy.apply, jaxsal.rise, keep=keep)(P, X, 0, key=KEY)
    rule = np.str_("riemann_left")
    explain = jaxsal.explainer(toy.apply, jaxsal.integrated_gradients, steps=4, rule=rule)
    assert explain(P, X, 0).shape == X.shape


def test_a_program_compiled_for_labels_wants_labels() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    compiled = explain.lower(P, X, np.zeros(4, int)).compile()
    toy.close(compiled(P, X, np.ones(4, int)), explain(P, X, 1))
    with pytest.raises(ValueError, match="targets: compiled for given targets"):
        compiled(P, X)


def test_a_callable_dataclass_of_ones_own_stays_whole() -> None:
    @dataclasses.dataclass
    class Scaled:
        inner: Callable
        mean: float

        def __post_init__(self) -> None:
            self.offset = self.mean / 2

        def __call__(self, params: object, images: object) -> object:
            return self.inner(params, images) - self.offset

    maps = jaxsal.explainer(Scaled(toy.apply, 0.5), jaxsal.gradient)(P, X, 0)
    toy.close(maps, explain(X, 0)())


def test_progress_without_tqdm_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match="progress: needs tqdm; pip install tqdm"):
        jaxsal.explainer(toy.apply, jaxsal.gradient, progress=True)


def test_types_are_checked_at_run_time_in_every_room_but_the_engine(
    request: pytest.FixtureRequest,
) -> None:
    """The engine's own errors, which users see, would otherwise never be raised by a test.

    Of rewrite/ the rules and kernels are checked, which hold arrays; the rest reads programs.
    """
    checked = request.config.getoption("--jaxtyping-packages").split(",")
    room = Path(jaxsal.__file__).parent
    rooms = {path.stem for path in room.iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__main__", "__pycache__", "engine", "rewrite"}
    rooms |= {"rewrite.kernels", "rewrite.rules"}
    assert set(checked) == {*(f"jaxsal.{name}" for name in rooms), "beartype.beartype"}
    assert not hasattr(jaxsal.explainer, "__wrapped__")
    assert hasattr(place_batch, "__wrapped__")
