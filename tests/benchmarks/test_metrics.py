"""The memory of deletion does not grow with the number of steps, as the compiler has it."""

import numpy as np

from benchmarks import jax_metrics, jax_worker, problems


def test_memory_is_flat_in_the_number_of_steps(tmp_path):
    problem = problems.PROBLEMS["cnn-toy"]
    problems.save(problem, jax_worker.weights(problem), 4, tmp_path)
    few, many = (
        jax_metrics.program(str(tmp_path), 4, "deletion", {"steps": steps, "baseline": "black"})
        for steps in (10, 1000)
    )
    # The curve is kept, and how many pixels each step takes; no image or activation is.
    bytes_of_a_step = (many["bytes"] - few["bytes"]) / 990
    assert 0 < bytes_of_a_step < 4 * 16 * 16 * 4 / 16  # of four images of 16x16 pixels


def test_metrics_of_several_maps_are_those_of_each(tmp_path):
    """Eleven: by name "10" comes before "2"."""
    problem = problems.PROBLEMS["cnn-toy"]
    problems.save(problem, jax_worker.weights(problem), 2, tmp_path)
    loaded = problems.load(tmp_path, 2)
    for name, options in (("faithfulness_correlation", {"samples": 4}), ("deletion", {"steps": 3})):
        asked = {**options, "baseline": "black", "maps": 11}
        together, apart = (
            np.asarray(jax_metrics.of_several(loaded, name, asked, together=kind)())
            for kind in (True, False)
        )
        np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)
        assert len(np.unique(apart.round(4))) > 11


def test_no_two_pixels_of_a_map_are_alike(tmp_path):
    problem = problems.PROBLEMS["cnn-toy"]
    problems.save(problem, {}, 2, tmp_path)
    for map in problems.maps(problems.load(tmp_path, 2)):
        assert len(set(map.ravel().tolist())) == map.size
