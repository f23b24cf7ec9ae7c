"""Plain JAX's forms of a method are the same maps: it is compared with at its fastest."""

import jax
import numpy as np
import pytest

from benchmarks import jax_worker, peers, plain, problems, throughput

OPTIONS = {
    "integrated_gradients": {"steps": 5},
    "smoothgrad": {**throughput.SMOOTH, "samples": 3},
    "occlusion": throughput.options("cnn-toy", "occlusion"),
}
FORMS = ("plain jax", "plain jax, loop", *peers.STEPS)


def test_every_sum_has_every_form() -> None:
    assert set(OPTIONS) == set(plain.SUMS) == set(plain.AT_ONCE)
    assert all(set(FORMS) <= set(peers.PEERS[name]) for name in OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_forms_of_a_sum_are_one_map(name, tmp_path) -> None:
    problem = problems.PROBLEMS["cnn-toy"]
    problems.save(problem, jax_worker.weights(problem), 3, tmp_path)
    loaded = problems.load(tmp_path, 3)
    as_there = jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow")
    with as_there[0], as_there[1]:  # as the worker has it
        scanned, *others = (
            np.asarray(jax_worker.CONTENDERS[form](loaded, name, OPTIONS[name])()) for form in FORMS
        )
    assert np.ptp(scanned) > 0
    for maps in others:
        np.testing.assert_allclose(maps, scanned, rtol=1e-4, atol=1e-5 * np.abs(scanned).max())
