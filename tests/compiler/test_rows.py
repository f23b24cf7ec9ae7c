"""Options with an entry an image: as a loop of single explanations, in one compilation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.compiler.signatures import _rounded
from tests import toy

P, X = jnp.asarray(toy.images(3, seed=9).transpose(1, 2, 3, 0) / 8), toy.images(3)
KEY = jax.random.key(0)
LABELS = np.stack([np.arange(64).reshape(8, 8) // 2**k for k in (5, 3, 6)]) * 7 - 20
"""2, 8 and 1 segments, none of them counted from 0."""
BASELINES = toy.images(3, seed=4)
ABLATION = jaxsal.feature_ablation
PATH = functools.partial(jaxsal.integrated_gradients, steps=3)


def model(weights: jax.Array, images: jax.Array) -> jax.Array:
    return jnp.tanh(toy.linear(weights, images))


def alone(method: object, targets: object, **rows: np.ndarray) -> np.ndarray:
    """A loop: the options of each image are those of an explainer of its own."""
    maps = [
        jaxsal.explainer(model, method, rewrite=False, **{k: v[i] for k, v in rows.items()})(
            P, X[i : i + 1], targets
        )[0]
        for i in range(len(X))
    ]
    return np.stack(maps)


@functools.cache
def ablated() -> np.ndarray:
    """Of each image by its own segments, for all classes."""
    return alone(ABLATION, "all", segments=LABELS)


@pytest.mark.parametrize("targets", [None, "all"])
def test_segments_of_each_image(targets: object) -> None:
    explain = jaxsal.explainer(model, ABLATION)
    found = explain.record(P, X, targets, segments=jnp.asarray(LABELS)[..., None])
    expected = ablated() if targets == "all" else ablated()[np.arange(3), found.targets]
    toy.close(found.maps, expected)


def test_baselines_of_each_image() -> None:
    explain = jaxsal.explainer(model, PATH)
    for rows in (BASELINES, X.mean((1, 2, 3))):
        toy.close(explain(P, X, 1, baseline=rows), alone(PATH, 1, baseline=rows))


def test_a_set_of_baselines_of_each_image() -> None:
    sets = toy.images(6, seed=5).reshape(3, 2, *toy.SHAPE)
    method = functools.partial(jaxsal.expected_gradients, samples=2)
    keys = jax.random.split(KEY, 3)
    maps = jaxsal.explainer(model, method)(P, X, 0, key=keys, baselines=sets)
    for i in (0, 2):
        one = jaxsal.explainer(model, method, baselines=sets[i])
        toy.close(maps[i], one(P, X[i : i + 1], 0, key=keys[i : i + 1])[0])


def test_of_several_methods_each_gets_what_it_takes() -> None:
    methods = {
        "parts": functools.partial(ABLATION, baseline=0.0),
        "fixed": functools.partial(ABLATION, segments=LABELS[0], baseline=0.0),
        "path": PATH,
        "plain": jaxsal.gradient,
    }
    rows = {"segments": LABELS, "baseline": BASELINES}
    maps = jaxsal.explainer(model, methods)(P, X, 2, **rows)
    toy.close(maps["parts"], ablated()[:, 2])
    toy.close(maps["path"], alone(PATH, 2, baseline=BASELINES))
    for name in ("fixed", "plain"):
        toy.close(maps[name], jaxsal.explainer(model, methods[name])(P, X, 2))


def test_a_combinator_hands_them_on() -> None:
    method = jaxsal.smoothgrad(ABLATION, samples=2)
    keys = jax.random.split(KEY, 3)
    maps = jaxsal.explainer(model, method)(P, X, 0, key=keys, segments=LABELS)
    one = jaxsal.explainer(model, method, segments=LABELS[1])
    toy.close(maps[1], one(P, X[1:2], 0, key=keys[1:2])[0])


def test_a_metric_s_rows_are_the_same_thing() -> None:
    deletion = functools.partial(jaxsal.METRICS["deletion"], steps=4)
    values = jaxsal.evaluator(model, deletion)(P, X, X, 0, baseline=BASELINES)
    for i in (0, 2):
        one = jaxsal.evaluator(model, deletion, baseline=BASELINES[i])
        toy.close(values[i], one(P, X[i : i + 1], X[i : i + 1], 0)[0])


def test_other_segments_are_one_program() -> None:
    explain = jaxsal.explainer(model, ABLATION, batch_size=2)
    explain(P, X, 0, segments=LABELS)
    with toy.compilations() as counter:
        explain(P, X, 1, segments=LABELS[::-1] + 3)
        explain(P, X, [2, 1, 0], segments=toy.images(3).argsort(1).argsort(2)[..., 0])
    assert counter.count == 0


def test_counts_are_rounded_to_few_with_little_padding() -> None:
    sizes = {n: _rounded(n) for n in range(1, 257)}
    assert all(n <= size <= 1.25 * n for n, size in sizes.items())
    assert {size for n, size in sizes.items() if n > 128} == {160, 192, 224, 256}


def test_images_are_padded_and_spread_with_their_rows() -> None:
    images, labels = toy.images(11), np.tile(LABELS, (4, 1, 1))[:11]
    on = [jax.sharding.Mesh(jax.devices()[:n], ("batch",)) for n in (1, 8)]
    one, eight = (
        jaxsal.explainer(model, ABLATION, batch_size=size, mesh=mesh)(P, images, 0, segments=labels)
        for size, mesh in zip((3, 16), on, strict=True)
    )
    toy.close(one, eight)
    same = jaxsal.explainer(model, ABLATION, mesh=on[0])(P, images[3:6], 0, segments=LABELS)
    toy.close(one[3:6], same)


def test_in_a_program_of_the_user_s_own_the_number_is_said() -> None:
    expected = ablated()[:, 0]
    counted = jaxsal.explainer(model, ABLATION, n_segments=8)
    traced = jax.jit(lambda labels: counted(P, X, 0, segments=labels))
    toy.close(traced(LABELS), expected)
    more = np.where(np.arange(3).reshape(3, 1, 1) == 2, np.arange(64).reshape(8, 8), LABELS)
    found = np.asarray(traced(more))
    toy.close(found[:2], expected[:2])
    assert np.isnan(found[2].ravel()[8:]).all() and np.isfinite(found[2].ravel()[:8]).all()
    explain = jaxsal.explainer(model, ABLATION)
    with pytest.raises(TypeError, match="segments: expected concrete integers, or n_segments="):
        jax.jit(lambda labels: explain(P, X, 0, segments=labels))(LABELS)


def test_ahead_of_time_and_by_its_identity() -> None:
    explain = jaxsal.explainer(model, ABLATION)
    compiled = explain.lower(P, X, 0, segments=LABELS).compile()
    toy.close(compiled(P, X, 0, segments=LABELS), explain(P, X, 0, segments=LABELS))
    few = np.minimum(LABELS, -13)
    toy.close(compiled(P, X, 0, segments=few), explain(P, X, 0, segments=few))
    with pytest.raises(ValueError, match="n_segments: compiled for 8 at most"):
        compiled(P, X, 0, segments=np.arange(3 * 64).reshape(3, 8, 8))
    with pytest.raises(ValueError, match="baseline: compiled without"):
        compiled(P, X, 0, segments=LABELS, baseline=BASELINES)
    first, second = (explain.identity(P, X, 0, segments=labels) for labels in (LABELS, few))
    assert first == second
    assert explain.describe(P, X, 0, segments=LABELS)["flops"] > 0
    exported = jax.export.export(jaxsal.explainer(model, ABLATION, n_segments=8))(
        P, X, 0, segments=LABELS
    )
    toy.close(exported.call(P, X, 0, segments=LABELS), explain(P, X, 0, segments=LABELS))


def test_the_maps_are_differentiable() -> None:
    def loss(params: jax.Array, explain: jaxsal.Explainer, **rows: object) -> jax.Array:
        return jnp.sum(jnp.square(explain(params, X[:1], 0, **rows)))

    given = jaxsal.explainer(model, ABLATION, segments=LABELS[0])
    counted = jaxsal.explainer(model, ABLATION, n_segments=2)
    toy.close(jax.grad(loss)(P, counted, segments=LABELS[:1]), jax.grad(loss)(P, given), 1e-4)


def explain(method: object = ABLATION, options: dict | None = None, **rows: object) -> object:
    return jaxsal.explainer(model, method, **(options or {}))(P, X, 0, **rows)


WRONG = {
    "segments of other images": (
        lambda: explain(segments=LABELS[:2]),
        ValueError,
        r"segments: .*\[3, .*\(2, 8, 8\)",
    ),
    "segments of another shape": (
        lambda: explain(segments=LABELS[:, :4]),
        ValueError,
        r"segments: .*\(8, 8\).*\(4, 8\)",
    ),
    "segments of none": (lambda: explain(), TypeError, "segments: feature_ablation needs"),
    "segments that float": (
        lambda: explain(segments=LABELS / 2),
        TypeError,
        "segments: expected integers, got float32",
    ),
    "segments of 64 bits": (
        lambda: explain(segments=LABELS * 2**40),
        ValueError,
        "segments: .*32 bits",
    ),
    "segments given twice": (
        lambda: explain(options={"segments": LABELS[0]}, segments=LABELS),
        TypeError,
        "segments: .*again",
    ),
    "too few segments": (
        lambda: explain(options={"segments": LABELS[1], "n_segments": 4}),
        ValueError,
        "segments: expected 4 .*at most, got 8",
    ),
    "a window an image": (
        lambda: explain(jaxsal.occlusion, {"window": 4}, stride=np.ones(3, int)),
        TypeError,
        "stride: is the same for all images",
    ),
    "no option": (
        lambda: explain(jaxsal.gradient, segments=LABELS),
        TypeError,
        "segments: no such",
    ),
    "a chunk an image": (
        lambda: explain(PATH, chunk=np.ones(3, int)),
        TypeError,
        "chunk: no such option",
    ),
    "a baseline of other images": (
        lambda: explain(PATH, baseline=BASELINES[:2]),
        ValueError,
        r"baseline: .*\[3, ",
    ),
    "a number for all": (lambda: explain(PATH, baseline=0.5), TypeError, "baseline: .*an image"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rows_are_named(name: str) -> None:
    call, error, message = WRONG[name]
    with toy.compilations() as counter, pytest.raises(error, match="^" + message):
        call()
    assert counter.count == 0
