"""The path methods of `golden2.npz`, a row an array, their axioms, and what peers get wrong."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.methods.agi import agi
from jaxsal.methods.blur_path import blur_integrated_gradients
from jaxsal.methods.guided_path import guided_integrated_gradients
from jaxsal.methods.idgi import idgi, idgi_over
from tests.golden2 import PARAMS, ROWS, apply, channels_last

IMAGE = jnp.asarray(ROWS["pair/image"])
TARGET = int(ROWS["pair/target"])
POINTS = ROWS["idgi/guided_ig_points"]
logits = lambda image: apply(PARAMS, image[None])[0]  # noqa: E731
score = lambda image: logits(image)[TARGET]  # noqa: E731
chance = lambda image: jax.nn.softmax(logits(image))[TARGET]  # noqa: E731
blur, guided = blur_integrated_gradients, guided_integrated_gradients

FIGURES = {
    "pair/blur_ig_100_s50": (1e-4, lambda x: blur(score, x)),
    "pair/blur_ig_25_s8": (1e-4, lambda x: blur(score, x, max_sigma=8, steps=25, chunk=7)),
    "pair/blur_ig_25_s8_sqrt": (1e-4, lambda x: blur(score, x, max_sigma=8, steps=25, sqrt=True)),
    "pair/guided_ig_200_f0.25_d0.02": (1e-3, lambda x: guided(score, x)),
    "pair/guided_ig_50_f0.25_d0.0": (1e-3, lambda x: guided(score, x, steps=50, max_dist=0.0)),
    "pair/guided_ig_50_f0.25_d1.0": (1e-3, lambda x: guided(score, x, steps=50, max_dist=1.0)),
    "idgi/ig_20_logit": (1e-5, lambda x: idgi(score, x, steps=20)),
    "idgi/ig_20_softmax": (1e-5, lambda x: idgi(chance, x, steps=20, chunk=4)),
}


@pytest.mark.parametrize("row", FIGURES)
def test_row(row):
    tolerance, compute = FIGURES[row]
    close(jax.jit(compute)(IMAGE), ROWS[row], tolerance)


def test_idgi_along_another_path_sums_to_the_peers_sum():
    """The peer's map was made of more points of that path than are recorded."""
    found = jax.jit(lambda p: idgi_over(score, lambda x: x, p, whole=p[-1] - p[0], chunk=4))(POINTS)
    np.testing.assert_allclose(found.sum(), ROWS["idgi/guided_ig"].sum(), rtol=1e-5)
    assert np.corrcoef(found.ravel(), ROWS["idgi/guided_ig"].ravel())[0, 1] > 0.95


@hypothesis.given(steps=st.integers(1, 9), chunk=st.integers(1, 4), seed=st.integers(0, 99))
@hypothesis.settings(max_examples=6, deadline=None)
def test_idgi_is_complete_for_every_number_of_steps(steps, chunk, seed):
    """Where the gradient vanishes on the way, too: a ReLU is dead at the baseline."""
    weights = jax.random.normal(jax.random.key(seed), (6,))
    scored = lambda x: jax.nn.relu(x @ weights - 0.5) ** 2 + jnp.maximum(x[0], 0.25)  # noqa: E731
    image = jnp.abs(weights) * jnp.sign(weights) + 0.1
    found = idgi(scored, image, steps=steps, chunk=chunk)
    expected = scored(image) - scored(jnp.zeros(6))
    np.testing.assert_allclose(found.sum(), expected, rtol=1e-5)


def test_idgi_of_the_baseline_itself_is_zero():
    np.testing.assert_array_equal(idgi(score, IMAGE, baseline=IMAGE, steps=3), 0 * IMAGE)


def test_blur_path_does_not_depend_on_the_chunk_and_ends_at_a_blurred_image():
    """PAIR's square-root steps depend on its batch; no image is black at the end of the path."""
    options = {"max_sigma": 8.0, "steps": 25, "sqrt": True}
    found = jax.jit(lambda x: blur(score, x, chunk=5, **options))(IMAGE)
    close(found, ROWS["pair/blur_ig_25_s8_sqrt"], 1e-4)
    assert apart(found, ROWS["pair/trap_blur_ig_25_s8_sqrt_batch5"]) > 0.3
    bright = jnp.ones((8, 8, 1))
    near = blur(lambda x: x.sum(), bright, max_sigma=2.0, steps=400, chunk=50)
    ended = 64 - _filtered(np.ones((8, 8)), 2.0).sum()
    np.testing.assert_allclose(near.sum(), ended, rtol=0.03)
    assert ended < 40


def _filtered(image, sigma):
    distance = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    taps = np.exp(-0.5 * (np.arange(-8, 9) / sigma) ** 2)
    kernel = np.exp(-0.5 * (distance / sigma) ** 2) / taps.sum()
    return kernel @ image @ kernel.T


def test_guided_path_is_the_straight_one_where_it_may_not_leave_it():
    straight = jaxsal.integrated_gradients(score, IMAGE, steps=9, rule="riemann_left")
    close(guided(score, IMAGE, steps=9, max_dist=0), np.asarray(straight))


def test_guided_path_moves_the_smallest_gradients_first_and_ends_at_the_image():
    """Of a linear score any path gives input times gradient; what moves first is seen in a bend."""
    weights = jnp.arange(1.0, 9.0)
    image = jnp.ones(8)
    linear = guided(lambda x: x @ weights, image, steps=7, max_dist=1, fraction=0.3)
    np.testing.assert_allclose(linear, weights, rtol=1e-5)
    bent = lambda x: x[0] * x[1] + 2 * x[1]  # noqa: E731 - at (0, 0) its gradient is (0, 2)
    found = guided(bent, jnp.ones(2), steps=8, max_dist=1.0, fraction=0.01)
    np.testing.assert_allclose(found, [0, 3], atol=1e-5)


def test_agi_runs_on_from_where_the_last_step_ended():
    """The authors' code steps from the image each time, and never leaves a ball around it."""
    images = channels_last(ROWS["agi/x01"])

    def explain(image):
        scored = lambda x: logits(x)[0]  # noqa: E731
        scored.class_logits, scored.target = logits, jnp.argmax(logits(image))
        return agi(scored, image, chunk=2)

    found = jax.jit(jax.vmap(explain))(images)
    close(found, channels_last(ROWS["own/agi_running_eps0.05_iter15"]), 1e-3)
    assert apart(found, channels_last(ROWS["agi/reference_code_eps0.05_iter15"])) > 0.5


def test_agi_is_a_sum_over_classes_without_the_target():
    image = channels_last(ROWS["agi/x01"])[0]
    target = int(np.argmax(logits(image)))
    scored = lambda x: logits(x)[target]  # noqa: E731
    scored.class_logits, scored.target = logits, target
    one, two = [c for c in range(5) if c != target][:2]
    chosen = ([one, two], [one], [two], [target], [two, target, one])
    compute = lambda x: [agi(scored, x, targets=np.asarray(c), steps=4) for c in chosen]  # noqa: E731
    both, first, second, own, more = map(np.asarray, jax.jit(compute)(image))
    assert first.any() and second.any() and not own.any()
    close(both, first + second)
    close(more, both)


WRONG = [
    (lambda x: guided(score, x, fraction=0), r"fraction: expected a number in \(0, 1\], got 0"),
    (lambda x: guided(score, x, max_dist=2.0), r"max_dist: expected a number in \[0, 1\], got 2"),
    (lambda x: blur(score, x, max_sigma=0.0), "max_sigma: expected a positive number, got 0.0"),
    (lambda x: blur(score, x, grad_step=-1.0), "grad_step: expected a positive number, got -1.0"),
    (lambda x: idgi(score, x, steps=0), "steps: expected an integer >= 1, got 0"),
    (lambda x: agi(score, x), "score: agi compares classes; expected a score with"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:16] for _, message in WRONG])
def test_wrong_options(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(IMAGE)


def test_agi_refuses_targets_that_are_no_classes():
    scored = lambda x: logits(x)[0]  # noqa: E731
    scored.class_logits, scored.target = logits, 0
    for targets, message in (
        (np.asarray([5]), "targets: expected classes from 0 to 4, got"),
        (
            np.zeros((2, 1), int),
            r"targets: expected integers \[n\], n >= 1, got the shape",
        ),
        (np.asarray([0.5]), r"targets: expected integers \[n\], got float64"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            agi(scored, IMAGE, targets=targets)


def apart(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


def close(got, expected, tolerance=1e-5):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())
