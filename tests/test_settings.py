"""What users set of JAX: every method and metric gives the same under it, and none raises."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy

RNG = np.random.default_rng(0)
PARAMS = {
    "conv": RNG.normal(size=(3, 3, 1, 2)).astype(np.float32),
    "dense": RNG.normal(size=(18, 2)).astype(np.float32),
} | toy.token_params()
WIDE = jax.tree.map(np.float64, PARAMS)
IMAGE, MAP, BASELINE = RNG.normal(size=(3, 1, 6, 6, 1)).astype(np.float32)
MASK = RNG.random((1, 6, 6)) < 0.4
KEY = jax.random.key(3)

SEGMENTS = np.arange(36).reshape(6, 6) // 18
OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 2},
    "expected_gradients": {"baselines": BASELINE, "samples": 2},
    "deep_lift_shap": {"baselines": BASELINE},
    "occlusion": {"window": 3},
    "feature_ablation": {"segments": SEGMENTS},
    "rise": {"samples": 2, "grid": 2},
    "lime": {"segments": SEGMENTS, "samples": 3},
    "kernel_shap": {"segments": SEGMENTS, "samples": 3},
    "shapley_sampling": {"segments": SEGMENTS, "samples": 2},
    "shapley_values": {"segments": SEGMENTS},
    "sobol": {"grid": 2, "designs": 2},
    "hsic": {"grid": 2, "designs": 3},
    "xrai": {"segments": SEGMENTS, "steps": 2, "min_pixels": 5},
    "idgi": {"steps": 2},
    "guided_integrated_gradients": {"steps": 2},
    "blur_integrated_gradients": {"steps": 2, "max_sigma": 2.0},
    "layer_integrated_gradients": {"steps": 2},
    "internal_influence": {"steps": 2},
    "layer_conductance": {"steps": 2},
    "smooth_grad_cam_plus_plus": {"samples": 2},
    "top_k_intersection": {"k": 7},
    "insertion": {"steps": 2},
    "insertion_curve": {"steps": 2},
    "deletion": {"steps": 2},
    "deletion_curve": {"steps": 2},
    "road": {"removed": (0.3,)},
    "road_curve": {"removed": (0.3,)},
    "infidelity": {"samples": 2},
    "sensitivity_max": {"samples": 2, "method": jaxsal.gradient, "radius": 1.0},
    "sensitivity_n": {"samples": 3, "shares": (0.5,)},
    "faithfulness_correlation": {"samples": 3, "subset": 9},
    "region_perturbation": {"patch": 3},
    "selectivity": {"patch": 3},
    "monotonicity": {"steps": 3},
    "sic": {"thresholds": (0.3,), "points": 10},
    "aic": {"thresholds": (0.3,), "points": 10},
    "local_lipschitz": {"samples": 2, "method": jaxsal.gradient},
    "relative_input_stability": {"samples": 2, "method": jaxsal.gradient},
}


def _bound(table: dict[str, Any]) -> dict[str, Any]:
    return {name: functools.partial(f, **OPTIONS.get(name, {})) for name, f in table.items()}


OF_TOKENS = ("attention_rollout", "generic_attention")  # of another network, `toy.attended`
METHODS = _bound({k: v for k, v in jaxsal.METHODS.items() if k not in OF_TOKENS}) | {
    name: combinator(jaxsal.gradient, samples=2) for name, combinator in jaxsal.COMBINATORS.items()
}
ATTENTION = {name: jaxsal.METHODS[name] for name in OF_TOKENS}
ALL_METRICS = _bound(jaxsal.METRICS)
# Of this network a picture is no less correct for being blurred, and aic not defined.
METRICS = {k: v for k, v in ALL_METRICS.items() if k != "aic"}

SETTINGS: dict[str, Callable[[], Any]] = {
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "nans": lambda: jax.debug_nans(True),
    "infs": lambda: jax.debug_infs(True),
    "transfers": lambda: jax.transfer_guard("disallow"),
    "generator": lambda: jax.default_prng_impl("rbg"),
    "cache misses": lambda: jax.explain_cache_misses(True),
}
"""Those under which the program is what it is without them."""


def apply(params: dict, images: jax.Array) -> jax.Array:
    """Convolution, ReLU, max pool, dense: [B, 6, 6, 1] -> [B, 2]."""
    layout, images = ("NHWC", "HWIO", "NHWC"), images.astype(params["conv"].dtype)
    x = jax.lax.conv_general_dilated(
        images, params["conv"], (1, 1), "SAME", dimension_numbers=layout
    )
    x = jax.nn.relu(x)
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(x.shape[0], -1) @ params["dense"]


def explained(params: Any = PARAMS, image: Any = IMAGE, model: Any = apply) -> Any:
    """The maps of every method, from one program."""
    return jaxsal.explainer(model, METHODS)(params, image, 1, key=KEY)


def attended(params: Any = PARAMS, image: Any = IMAGE, model: Any = toy.attended) -> Any:
    """The maps of attention, of a network that has it."""
    return jaxsal.explainer(model, ATTENTION)(params, image, 1)


def measured(
    params: Any = PARAMS, image: Any = IMAGE, model: Any = apply, metrics: Any = METRICS
) -> Any:
    """The values of every metric, from one program."""
    evaluate = jaxsal.evaluator(model, metrics)
    return evaluate(params, image, MAP.astype(image.dtype), 1, key=KEY, mask=MASK)


EVERY = {"methods": explained, "attention": attended, "metrics": measured}
all_measured = functools.partial(measured, metrics=ALL_METRICS)
every = pytest.mark.parametrize("what", EVERY)


@functools.cache
def expected(what: str) -> Any:
    found = jax.device_get(EVERY[what]())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
    return found


@every
@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_under_a_setting(name: str, what: str) -> None:
    before = expected(what)
    with SETTINGS[name]():
        found = EVERY[what]()
    toy.close(jax.device_get(found), before, 5e-5)


@every
def test_the_same_in_double_precision(what: str) -> None:
    """Scores are float64, draws what they are without; maps and values are float32."""
    before = expected(what)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found = EVERY[what](WIDE)
    assert {x.dtype for x in jax.tree.leaves(found)} == {np.dtype("float32")}
    toy.close(jax.device_get(found), before, 1e-4)


@every
def test_double_precision_is_promoted_to_nothing_by_itself(what: str) -> None:
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        jax.eval_shape((EVERY | {"metrics": all_measured})[what], WIDE, np.float64(IMAGE))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_images_of_any_width_are_promoted_to_nothing_by_themselves(dtype: str) -> None:
    """Of methods and metrics called directly: what they would mix, they cast."""

    def all_of(params: Any, image: jax.Array, map: jax.Array) -> tuple[Any, Any]:
        def score(image: jax.Array) -> jax.Array:
            return apply(params, image[None])[0, 1]

        def tokens(image: jax.Array) -> jax.Array:
            return toy.attended(params, image[None])[0, 1]

        score.class_logits = lambda image: apply(params, image[None])[0]
        score.target = jnp.int32(1)
        given = {"key": KEY, "mask": jnp.asarray(MASK[0])}
        maps = {name: f(score, image, **_taken(f, given)) for name, f in METHODS.items()}
        maps |= {name: f(tokens, image) for name, f in ATTENTION.items()}
        values = {n: f(score, image, map, **_taken(f, given)) for n, f in ALL_METRICS.items()}
        return maps, values

    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), (PARAMS, IMAGE[0]))
        found = jax.eval_shape(all_of, *shapes, MAP[0])
    assert all(jnp.finfo(each.dtype).bits >= 32 for each in jax.tree.leaves(found))


def _taken(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Those options that the function has."""
    return {name: x for name, x in given.items() if name in inspect.signature(function).parameters}


def test_no_tracer_leaks() -> None:
    """Of methods from a trace of their own, and of metrics from a user's.

    The model is one that was not traced before.
    """

    def model(params: dict, images: jax.Array) -> jax.Array:
        return apply(params, images)

    def of_tokens(params: dict, images: jax.Array) -> jax.Array:
        return toy.attended(params, images)

    with jax.check_tracer_leaks(True):
        jaxsal.explainer(model, METHODS).lower(PARAMS, IMAGE, 1, key=KEY)
        jaxsal.explainer(of_tokens, ATTENTION).lower(PARAMS, IMAGE, 1)
        jax.eval_shape(functools.partial(all_measured, model=model), PARAMS, IMAGE)


@every
def test_the_same_without_jit(what: str) -> None:
    before = expected(what)
    with jax.disable_jit(True):
        found = EVERY[what]()
    toy.close(jax.device_get(found), before, 5e-5)
