"""What holds of every method and combinator, whichever it is."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy

P = toy.params()
IMAGES = toy.images(8)
TARGETS = toy.targets(8)
KEYS = jax.random.split(jax.random.key(3), 8)
SEGMENTS = np.arange(64).reshape(8, 8, 1) // 16

OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 3},
    "expected_gradients": {"baselines": toy.images(3, seed=5), "samples": 3},
    "deep_lift_shap": {"baselines": toy.images(3, seed=5)},
    "lrp": {"stabilizer": 0.1},  # derivatives of quotients by sums near zero are rounding
    "occlusion": {"window": 4, "stride": 3},
    "feature_ablation": {"segments": SEGMENTS},
    "rise": {"samples": 3, "grid": 2},
    "lime": {"segments": SEGMENTS, "samples": 6},
    "kernel_shap": {"segments": SEGMENTS, "samples": 6},
    "shapley_sampling": {"segments": SEGMENTS, "samples": 2},
    "shapley_values": {"segments": SEGMENTS},
    "sobol": {"grid": 2, "designs": 3},
    "hsic": {"grid": 2, "designs": 6},
    "xrai": {"segments": SEGMENTS, "steps": 2, "min_pixels": 5},
    "smooth_grad_cam_plus_plus": {"samples": 3},
    "idgi": {"steps": 3},
    "guided_integrated_gradients": {"steps": 3},
    "blur_integrated_gradients": {"steps": 3, "max_sigma": 2.0},
    "agi": {"steps": 2},
    "layer_integrated_gradients": {"steps": 3},
    "internal_influence": {"steps": 3},
    "layer_conductance": {"steps": 3},
}
METHODS = {
    name: functools.partial(method, **OPTIONS.get(name, {}))
    for name, method in jaxsal.METHODS.items()
    if name not in ("attention_rollout", "generic_attention")  # of another network
} | {
    name: combinator(jaxsal.gradient, samples=3) for name, combinator in jaxsal.COMBINATORS.items()
}
TOKENS = jax.tree.map(jnp.asarray, toy.token_params())
ATTENTION = {name: m for name, m in jaxsal.METHODS.items() if name not in METHODS}
POINTS = [
    name for name, method in METHODS.items() if "chunk" in inspect.signature(method).parameters
]
PERTURB = {"occlusion", "feature_ablation", "rise", "score_cam"}
PERTURB |= {"lime", "kernel_shap", "shapley_sampling", "shapley_values", "sobol", "hsic"}
PERTURB |= {"xrai"}  # an order of regions
PERTURB |= {"ablation_cam", "agi"}  # of a sure network, agi is a difference of rounding
LAYERS = {"layer_gradient_x_activation", "layer_integrated_gradients", "internal_influence"}
LAYERS |= {"layer_conductance"}
DIFFERENTIABLE = [
    name for name in METHODS if name not in PERTURB and name not in jaxsal.COMBINATORS
]


@functools.cache
def explainer(rewrite: bool = True) -> jaxsal.Explainer:
    """All methods: what holds of each is asked of one program."""
    return jaxsal.explainer(toy.apply, METHODS, rewrite=rewrite)


@functools.cache
def maps() -> dict[str, np.ndarray]:
    """The maps of eight images on eight devices."""
    return jax.device_get(explainer()(P, IMAGES, TARGETS, key=KEYS))


@functools.cache
def of_tokens() -> dict[str, np.ndarray]:
    """The maps of attention, of a network that has it."""
    return jax.device_get(jaxsal.explainer(toy.attended, ATTENTION)(TOKENS, IMAGES, TARGETS))


def one_device() -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("devices",))


@pytest.mark.parametrize("name", METHODS)
def test_shape_dtype_and_finite_values(name: str) -> None:
    spatial = name.endswith(("_cam", "_cam_plus_plus")) or name == "full_grad"
    spatial = spatial and name != "guided_grad_cam"
    found = maps()[name]
    shape = (8, 8, 8) if spatial else (8, 8, 8, 4) if name in LAYERS else IMAGES.shape
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all() and np.abs(found).max() > 0


def test_a_batch_on_eight_devices_equals_single_images_on_one() -> None:
    singles = [
        explainer()(P, IMAGES[i : i + 1], TARGETS[i : i + 1], key=KEYS[i : i + 1]) for i in range(8)
    ]
    assert all(len(map.devices()) == 1 for map in jax.tree.leaves(singles))
    toy.close(jax.tree.map(lambda *each: jnp.concatenate(each), *singles), maps())


def test_no_map_depends_on_the_batch_size() -> None:
    """Three evaluations at a time on one device: chunks of three images, the last one padded."""
    explain = jaxsal.explainer(toy.apply, METHODS, batch_size=3, mesh=one_device())
    toy.close(explain(P, IMAGES, TARGETS, key=KEYS), maps())


def test_permuting_the_batch_permutes_the_maps_and_compiles_nothing() -> None:
    expected, order = maps(), np.random.default_rng(0).permutation(8)
    keys = jax.random.wrap_key_data(np.asarray(jax.random.key_data(KEYS))[order])
    with toy.compilations() as counter:
        permuted = explainer()(P, IMAGES[order], TARGETS[order], key=keys)
    assert counter.count == 0
    toy.close(permuted, {name: map[order] for name, map in expected.items()})


def test_channels_may_come_first() -> None:
    """Which axes are spatial is read in the program: every method's maps are the same."""
    first = lambda x: np.moveaxis(x, -1, -3)  # noqa: E731
    given = {"baselines": first(OPTIONS["expected_gradients"]["baselines"])}
    given |= {"segments": first(SEGMENTS)}
    moved = {
        name: functools.partial(method, **{o: given.get(o, x) for o, x in method.keywords.items()})
        if isinstance(method, functools.partial)
        else method
        for name, method in METHODS.items()
    }
    explain = jaxsal.explainer(toy.channels_first, moved, rewrite=False, mesh=one_device())
    found = explain(P, first(IMAGES[:2]), TARGETS[:2], key=KEYS[:2])
    for name, got in found.items():
        last = got.ndim == 3 or name in LAYERS  # the layer's own axes are the network's
        toy.close(got if last else np.moveaxis(got, 1, -1), maps()[name][:2])


def test_a_rewritten_program_equals_the_plain_one() -> None:
    toy.close(maps(), explainer(rewrite=False)(P, IMAGES, TARGETS, key=KEYS))


def test_no_map_depends_on_the_chunk() -> None:
    """One point at a time, two (which leaves a remainder), and all, as the explainer does."""
    chunks = {
        (name, size): functools.partial(METHODS[name], chunk=size)
        for name in POINTS
        for size in (1, 2)
    }
    named = {f"{name} by {size}": method for (name, size), method in chunks.items()}
    found = jaxsal.explainer(toy.apply, named)(P, IMAGES[:1], TARGETS[:1], key=KEYS[:1])
    toy.close(found, {f"{name} by {size}": maps()[name][:1] for name, size in chunks})


def test_attention_of_other_batches_devices_and_layouts_is_the_same() -> None:
    """As of the methods above, in one test: alone, by three, in another order, channels first."""
    expected, order = of_tokens(), np.random.default_rng(0).permutation(8)
    assert all(map.shape == (8, 8, 8) and map.any() for map in expected.values())
    explain = jaxsal.explainer(toy.attended, ATTENTION)
    alone = explain(TOKENS, IMAGES[3:4], TARGETS[3:4])
    toy.close(alone, {name: map[3:4] for name, map in expected.items()})
    with toy.compilations() as counter:
        permuted = explain(TOKENS, IMAGES[order], TARGETS[order])
    assert counter.count == 0
    toy.close(permuted, {name: map[order] for name, map in expected.items()})
    first = lambda params, x: toy.attended(params, jnp.moveaxis(x, 1, -1))  # noqa: E731
    for apply, images in ((toy.attended, IMAGES), (first, np.moveaxis(IMAGES, -1, 1))):
        few = jaxsal.explainer(apply, ATTENTION, rewrite=False, batch_size=3, mesh=one_device())
        toy.close(few(TOKENS, images, TARGETS), expected)


DIFFERENTIATED = {
    "convolutions": (toy.apply, P, {name: METHODS[name] for name in DIFFERENTIABLE}, maps),
    "attention": (toy.attended, TOKENS, ATTENTION, of_tokens),
}


@pytest.mark.parametrize("network", DIFFERENTIATED)
def test_derivatives_of_the_maps_survive_the_rewrite(network: str) -> None:
    """Of a weighted sum of each method's map, with respect to parameters and images.

    Without YNNPACK, whose sums in jax 0.10 give NaN for ten rows of DeepLIFT's Jacobian at once.
    """
    apply, params, methods, found = DIFFERENTIATED[network]
    weights = {name: toy.images(2, seed=8, shape=found()[name].shape[1:]) for name in methods}
    given = (params, jnp.asarray(IMAGES[:2]))
    along = jax.tree.map(jnp.cos, given)  # by their own size, no scaled map would change

    def derivatives(rewrite: bool) -> Any:
        explain = jaxsal.explainer(apply, methods, rewrite=rewrite)

        def totals(given: Any) -> dict[str, jax.Array]:
            found = explain(*given, TARGETS[:2], key=KEYS[:2])
            return jax.tree.map(jnp.vdot, found, weights)

        def both(given: Any) -> Any:
            return jax.jacrev(totals)(given), jax.jvp(totals, (given,), (along,))[1]

        return jax.jit(both, compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""})(given)

    rewritten, plain = derivatives(True), derivatives(False)
    toy.close(rewritten, plain)
    for name, (params, images) in plain[0].items():
        backward = sum(map(jnp.vdot, jax.tree.leaves((params, images)), jax.tree.leaves(along)))
        toy.close(plain[1][name], backward, 1e-4)  # forwards and backwards agree
