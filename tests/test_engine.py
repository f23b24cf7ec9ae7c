"""What the explainer and the evaluator compute: targets, objectives, dicts, options, keys."""

import copy
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import ShapeDtypeStruct as Abstract

import jaxsal
from jaxsal.compiler.lowering import Lowered
from tests import toy

P = toy.params()


def by_hand(images: np.ndarray, targets: np.ndarray) -> jax.Array:
    gradient = jax.grad(toy.score, argnums=1)
    return jnp.stack([gradient(P, x, int(t)) for x, t in zip(images, targets, strict=True)])


def test_gradient_of_a_linear_model_is_its_weights() -> None:
    weights = jnp.asarray(toy.images(4, shape=(5, 3)).transpose(1, 2, 0))
    maps = jaxsal.explainer(toy.linear, jaxsal.gradient)(weights, toy.images(4, shape=(5, 3)), 2)
    assert maps.dtype == jnp.float32
    toy.close(maps, jnp.broadcast_to(weights[..., 2], (4, 5, 3)))


def test_maps_equal_a_loop_over_single_images() -> None:
    images, targets = toy.images(5), toy.targets(5)
    toy.close(
        jaxsal.explainer(toy.apply, jaxsal.gradient)(P, images, targets), by_hand(images, targets)
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64"])
@pytest.mark.parametrize("host", [True, False])
def test_targets_of_any_integer_dtype_are_one_program(dtype: str, host: bool) -> None:
    images, targets = toy.images(8), toy.targets(8)
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    expected = explain(P, images, targets)
    given = targets.astype(dtype) if host else jnp.asarray(targets.astype(dtype))
    with toy.compilations() as counter:
        toy.close(explain(P, images, given), expected, 0)
        explain(P, images, 1)
        explain(P, images, np.int64(1))
        explain(P, images, list(range(3)) + [0] * 5)
    assert counter.count == 0


def test_no_target_means_the_predicted_class() -> None:
    images = toy.images(6)
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    predicted = np.argmax(toy.apply(P, images), axis=-1)
    assert len(set(predicted.tolist())) > 1
    toy.close(explain(P, images), explain(P, images, predicted))


METHODS = {
    "gradient": jaxsal.gradient,
    "product": jaxsal.input_x_gradient,
    "path": functools.partial(jaxsal.integrated_gradients, steps=2),
    "noisy": jaxsal.smoothgrad(jaxsal.gradient, samples=2),
}


def test_all_targets_agree_with_a_loop_over_classes() -> None:
    images, key = toy.images(2), jax.random.key(0)
    explain = jaxsal.explainer(toy.apply, METHODS)
    loop = [explain(P, images, k, key=key) for k in range(toy.CLASSES)]
    stacked = jax.tree.map(lambda *maps: jnp.stack(maps, axis=1), *loop)
    toy.close(explain(P, images, "all", key=key), stacked)


def convolutions(lowered: Lowered) -> int:
    return lowered.compile().as_text().count(" convolution(")


def test_all_targets_and_predictions_compute_the_forward_pass_once() -> None:
    given = (P, Abstract((4, *toy.SHAPE), jnp.float32))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, rewrite=False)
    assert convolutions(explain.lower(*given, 1)) == 2  # one forwards, one backwards
    assert convolutions(explain.lower(*given)) == 2
    assert convolutions(explain.lower(*given, "all")) == 2


def test_a_dict_agrees_with_its_methods_one_by_one() -> None:
    images, targets, key = toy.images(3), toy.targets(3), jax.random.key(3)
    maps = jaxsal.explainer(toy.apply, METHODS)(P, images, targets, key=key)
    alone = {
        name: jaxsal.explainer(toy.apply, method)(P, images, targets, key=key)
        for name, method in METHODS.items()
    }
    toy.close(maps, alone)


def test_a_dict_keeps_the_order_given() -> None:
    methods = {"z": jaxsal.gradient, "a": jaxsal.input_x_gradient, "m": jaxsal.gradient}
    explain, images, seen = jaxsal.explainer(toy.apply, methods), toy.images(2), []
    jax.jit(lambda images: seen.append(list(explain(P, images, 0))))(images)
    seen.append(list(explain(P, images, 0)))
    seen.append(list(explain.lower(P, images, 0).compile()(P, images, 0)))
    assert seen == [["z", "a", "m"]] * 3


def test_a_dict_shares_its_passes() -> None:
    given = (P, Abstract((4, *toy.SHAPE), jnp.float32), Abstract((4,), jnp.int32))
    both = {name: METHODS[name] for name in ("gradient", "product")}
    shared = jaxsal.explainer(toy.apply, both, rewrite=False).lower(*given)
    assert convolutions(shared) == 2


def test_one_logit_is_binary() -> None:
    weights = jnp.asarray(toy.images(1, shape=(4, 4)).transpose(1, 2, 0))
    images = toy.images(6, shape=(4, 4))
    explain = jaxsal.explainer(toy.linear, jaxsal.gradient)
    positive = jnp.broadcast_to(weights[..., 0], images.shape)
    toy.close(explain(weights, images, 1), positive)
    toy.close(explain(weights, images, 0), -positive)
    toy.close(explain(weights, images, "all"), jnp.stack([-positive, positive], axis=1))
    sign = np.where(toy.linear(weights, images)[:, 0] > 0, 1.0, -1.0).reshape(-1, 1, 1)
    sign = sign.astype(np.float32)
    assert len(set(sign.ravel().tolist())) == 2
    toy.close(explain(weights, images), sign * positive)


def test_an_objective_is_explained_in_the_logits_place() -> None:
    weights = jnp.asarray(toy.images(3, shape=(4,)).T)
    images, targets = toy.images(3, shape=(4,)), toy.targets(3)

    def contrast(logits: jax.Array, target: jax.Array) -> jax.Array:
        return logits[target] - logits[0]

    def probability(logits: jax.Array, target: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits)[target]

    maps = jaxsal.explainer(toy.linear, jaxsal.gradient, objective=contrast)(
        weights, images, targets
    )
    toy.close(maps, (weights[:, targets] - weights[:, :1]).T)
    maps = jaxsal.explainer(toy.linear, jaxsal.gradient, objective=probability)(
        weights, images, "all"
    )
    assert float(jnp.max(jnp.abs(jnp.sum(maps, axis=1)))) < 1e-6  # probabilities sum to one
    assert float(jnp.max(jnp.abs(maps))) > 1e-3


def test_options_go_to_the_innermost_method() -> None:
    images, key = toy.images(1), jax.random.key(0)
    outer = jaxsal.smoothgrad(jaxsal.integrated_gradients, samples=1)
    bound = jaxsal.smoothgrad(functools.partial(jaxsal.integrated_gradients, steps=3), samples=1)
    toy.close(
        jaxsal.explainer(toy.apply, outer, steps=3)(P, images, key=key),
        jaxsal.explainer(toy.apply, bound)(P, images, key=key),
    )


def baseline_option(baseline: object) -> jaxsal.Explainer:
    return jaxsal.explainer(toy.apply, jaxsal.integrated_gradients, steps=2, baseline=baseline)


def baseline_in_a_partial(baseline: object) -> jaxsal.Explainer:
    method = functools.partial(jaxsal.integrated_gradients, steps=2, baseline=baseline)
    return jaxsal.explainer(toy.apply, {"a": jaxsal.smoothgrad(method, samples=1, noise=0.0)})


@pytest.mark.parametrize(
    ("make", "dtype"),
    [(baseline_option, "float32"), (baseline_option, "uint8"), (baseline_in_a_partial, "float32")],
)
def test_array_options_are_arguments_of_a_shared_program(make: object, dtype: str) -> None:
    images, key = toy.images(2), jax.random.key(0)
    first = make(np.zeros(toy.SHAPE, dtype))(P, images, key=key)
    with toy.compilations() as counter:
        second = make(np.ones(toy.SHAPE, dtype))(P, images, key=key)
    assert counter.count == 0
    ones = make(lambda image: jnp.ones_like(image))(P, images, key=key)
    toy.close(second, ones)
    assert not np.allclose(*map(np.asarray, (jax.tree.leaves(first)[0], jax.tree.leaves(ones)[0])))


def test_array_options_are_no_constants_of_a_lowered_program() -> None:
    explain = baseline_option(np.full(toy.SHAPE, 0.123, np.float32))
    images = toy.images(2)
    lowered = explain.lower(P, Abstract(images.shape, jnp.float32))
    assert "0.123" not in lowered.as_text()
    toy.close(lowered.compile()(P, images), explain(P, images))


def test_later_changes_to_the_callers_array_change_nothing() -> None:
    baseline, images = np.zeros(toy.SHAPE, np.float32), toy.images(2)
    explain = baseline_option(baseline)
    baseline += 1
    toy.close(explain(P, images), baseline_option(0.0)(P, images))


def drawn(score: jaxsal.ScoreFn, image: jax.Array, *, key: jax.Array) -> jax.Array:
    """A method that is nothing but its key."""
    return jnp.zeros_like(image) + jnp.sum(jax.random.key_data(key) >> 8) / 2**26


def test_example_i_draws_from_the_key_folded_with_i() -> None:
    key, images = jax.random.key(7), toy.images(5)
    expected = jnp.stack(
        [drawn(None, x, key=jax.random.fold_in(key, i)) for i, x in enumerate(images)]
    )
    for batch_size in (2, "auto"):
        explain = jaxsal.explainer(toy.apply, drawn, batch_size=batch_size)
        toy.close(explain(P, images, key=key), expected, 0)
        toy.close(explain(P, images, key=jax.random.key_data(key)), expected, 0)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(5))
        toy.close(explain(P, images, key=keys), expected, 0)
        toy.close(explain(P, images, key=jax.random.key_data(keys)), expected, 0)


def test_methods_and_classes_see_the_same_key() -> None:
    key, images = jax.random.key(7), toy.images(3)
    maps = jaxsal.explainer(toy.apply, {"a": drawn, "b": drawn})(P, images, "all", key=key)
    assert len(np.unique(maps["a"])) == 3
    toy.close(maps["a"], maps["b"], 0)
    toy.close(maps["a"], jnp.broadcast_to(maps["a"][:, :1], maps["a"].shape), 0)


def test_the_score_carries_the_rewrite_flag() -> None:
    def flag(score: jaxsal.ScoreFn, image: jax.Array) -> jax.Array:
        return jnp.full_like(image, score.rewrite)

    for rewrite in (True, False):
        maps = jaxsal.explainer(toy.apply, flag, rewrite=rewrite)(P, toy.images(1))
        assert bool(jnp.all(maps == float(rewrite)))


def agreement(score: object, image: object, map: object, *, power: int = 1) -> jax.Array:
    """How the score changes along the map, and a vector, to be told apart."""
    return jnp.stack([score(image + map) - score(image), jnp.sum(map) ** power])


def test_the_evaluator_runs_a_metric_on_each_example() -> None:
    weights = jnp.asarray(toy.images(3, shape=(4,)).T)
    images, maps = toy.images(5, shape=(4,)), toy.images(5, seed=2, shape=(4,))
    targets = toy.targets(5)
    values = jaxsal.evaluator(toy.linear, agreement, power=2, batch_size=2)(
        weights, images, maps, targets
    )
    expected = np.stack([(maps @ np.asarray(weights))[np.arange(5), targets], maps.sum(1) ** 2], 1)
    toy.close(values, expected)
    every = jnp.broadcast_to(maps[:, None], (5, 3, 4))
    values = jaxsal.evaluator(toy.linear, {"a": agreement})(weights, images, every, "all")
    toy.close(values["a"][..., 0], maps @ np.asarray(weights))


def overlap(score: object, image: object, map: jax.Array, *, mask: jax.Array) -> jax.Array:
    """How much of a map lies in a mask."""
    return jnp.sum(map, where=mask)


def test_the_evaluator_gives_each_example_its_own_options() -> None:
    weights, images = jnp.asarray(toy.images(3, shape=(4,)).T), toy.images(5, shape=(4,))
    masks = images > 0
    metrics = {"overlap": overlap, "agreement": agreement}
    expected = {
        "overlap": (images * masks).sum(1),
        "agreement": jaxsal.evaluator(toy.linear, agreement)(weights, images, images, 1),
    }
    for batch_size in (2, "auto"):
        evaluate = jaxsal.evaluator(toy.linear, metrics, batch_size=batch_size)
        toy.close(evaluate(weights, images, images, 1, mask=masks), expected)
    every = jnp.broadcast_to(images[:, None], (5, 3, 4))
    values = jaxsal.evaluator(toy.linear, overlap)(weights, images, every, "all", mask=masks)
    toy.close(values, np.broadcast_to(expected["overlap"][:, None], (5, 3)))


def test_of_a_dict_of_maps_each_gets_what_it_gets_alone() -> None:
    """Of other shapes among them (a CAM), in the order given, under each kind of targets."""
    images, targets, key = toy.images(5), toy.targets(5), jax.random.key(3)
    mesh = jax.make_mesh((8,), ("batch",))
    maps = {
        "z": toy.images(5, seed=1),
        "cam": toy.images(5, seed=2)[..., 0],
        "a": toy.images(5, seed=3),
    }
    drawn = {
        "random": functools.partial(
            jaxsal.metrics.faithfulness_correlation, subset=9, samples=8, baseline=0.0
        ),
        "ordered": functools.partial(jaxsal.metrics.deletion, steps=5),
    }
    evaluate = jaxsal.evaluator(toy.apply, drawn)
    together = evaluate(P, images, maps, targets, key=key)
    assert list(together) == list(maps) and list(together["z"]) == ["random", "ordered"]
    for name, one in maps.items():
        toy.close(together[name], evaluate(P, images, one, targets, key=key))
    spread = jaxsal.evaluator(toy.apply, drawn, batch_size=2, mesh=mesh)
    toy.close(spread(P, images, maps, targets, key=key), together)
    few = jaxsal.evaluator(toy.apply, jaxsal.metrics.deletion, steps=5, batch_size=2)
    ordered = {name: values["ordered"] for name, values in together.items()}
    toy.close(few(P, images, maps, targets), ordered)
    toy.close(jax.jit(few)(P, images, maps, targets), ordered)
    predicted = np.asarray(toy.apply(P, images).argmax(1), np.int32)
    toy.close(few(P, images, maps), few(P, images, maps, predicted))
    every = {name: np.stack([one] * toy.CLASSES, 1) for name, one in maps.items()}
    of_classes = few(P, images, every, "all")
    for name, values in of_classes.items():
        own = np.take_along_axis(np.asarray(values), np.asarray(targets)[:, None], 1)[:, 0]
        toy.close(own, ordered[name])


def test_what_does_not_depend_on_the_map_is_computed_once_for_all() -> None:
    """The scores of random sets of pixels are those of any map; unshared, eight times as many."""
    images, samples = toy.images(1), 16
    metric = functools.partial(
        jaxsal.metrics.faithfulness_correlation,
        subset=9,
        samples=samples,
        baseline=0.0,
        chunk=samples,  # no loop: what a loop does is counted once
    )
    evaluate = jaxsal.evaluator(toy.apply, metric, rewrite=False)

    def flops(names: str) -> float:
        maps = {name: toy.images(1, seed=ord(name)) for name in names}
        call = jax.jit(lambda maps: evaluate(P, images, maps, 0, key=jax.random.key(0)))
        return float(call.lower(maps).compile().cost_analysis()["flops"])  # type: ignore[index]

    forward = jax.jit(toy.apply).lower(P, images).compile().cost_analysis()["flops"]  # type: ignore[index]
    one, eight = flops("a"), flops("abcdefgh")
    assert one > samples * forward
    assert eight - one < samples * forward


def test_values_that_are_not_finite_are_counted_in_a_dict_of_maps() -> None:
    def broken(score: object, image: object, map: jax.Array) -> jax.Array:
        return jnp.log(jnp.sum(map))

    images = np.abs(toy.images(3)) + 1
    maps = {"fine": images, "wrong": np.where(np.arange(3)[:, None, None, None] == 1, -1, images)}
    said = r"values of map 'wrong': 1 of 3 images' are not finite \(image 1\)"
    for metric in (broken, {"broken": broken, "flat": jaxsal.metrics.completeness}):
        with pytest.warns(RuntimeWarning, match=said):
            values = jaxsal.evaluator(toy.apply, metric)(P, images, maps, 0)
    assert np.isfinite(values["fine"]["broken"]).all()
    with warnings.catch_warnings():  # NaN by definition
        warnings.simplefilter("error")
        flat = jaxsal.evaluator(lambda p, x: 0 * toy.apply(p, x), {"c": "completeness"}, check=True)
        assert np.isnan(flat(P, images, maps, 0)["fine"]["c"]).all()


def test_spatial_axes_are_the_options_or_the_models_and_decide_the_maps() -> None:
    weights, images = np.ones((64, 3), np.float32), toy.images(2, shape=(4, 4, 4))
    unread, first, last = (
        jaxsal.explainer(toy.linear, jaxsal.occlusion, window=2, spatial_axes=axes)
        for axes in (None, (1, -1), (0, 1))
    )
    read = jaxsal.explainer(toy.channels_first, jaxsal.gradient)
    assert read.describe(toy.params(), np.moveaxis(toy.images(2), -1, 1))["spatial_axes"] == (1, 2)
    assert unread.spatial_axes(weights, images) is None
    assert copy.copy(first).spatial_axes(weights, images) == (1, 2)
    blocks = np.asarray(images).reshape(2, 4, 2, 2, 2, 2).sum((1, 3, 5))  # [B, h, w]
    expected = np.repeat(np.repeat(blocks, 2, 1), 2, 2)[:, None]
    toy.close(first(weights, images, 0), np.broadcast_to(expected, images.shape))
    one, other = (explain.identity(weights, images, 0) for explain in (first, last))
    assert one["method"] != other["method"] and one["model"] == other["model"]
