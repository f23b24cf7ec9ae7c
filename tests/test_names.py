"""Methods and metrics by their names; explainers that say what they are; a bar of the chunks."""

import functools
import subprocess
import sys

import numpy as np
import pytest

import jaxsal
from jaxsal import cli
from tests import toy


def test_a_method_and_a_metric_are_had_by_name() -> None:
    params, images, targets = toy.params(), toy.images(2), toy.targets(2)
    named = jaxsal.explainer(toy.apply, "gradient")
    expected = jaxsal.explainer(toy.apply, jaxsal.gradient)(params, images, targets)
    toy.close(named(params, images, targets), expected)
    both = jaxsal.explainer(toy.apply, {"a": "gradient", "b": jaxsal.gradient})
    toy.close(both(params, images, targets), {"a": expected, "b": expected})
    metric = jaxsal.evaluator(toy.apply, "sparseness")
    assert metric(params, images, expected, targets).shape == (2,)


@pytest.mark.parametrize("name", ["gradcam", "Grad-CAM", "grad_camm"])
def test_a_name_that_is_none_comes_with_the_one_that_was_meant(name, tmp_path, capsys) -> None:
    with pytest.raises(ValueError, match=r"method: expected one of .*; did you mean 'grad_cam'"):
        jaxsal.explainer(toy.apply, name)
    with pytest.raises(ValueError, match=r"metric: expected one of .*; did you mean 'deletion'"):
        jaxsal.evaluator(toy.apply, "delete")


class Model:
    def apply(self, params, images):
        return toy.apply(params, images)


def test_an_explainer_reads_as_the_call_that_makes_it() -> None:
    steps = functools.partial(jaxsal.integrated_gradients, steps=3)
    cases = {
        "apply, grad_cam)": ("grad_cam", {}),
        "apply, integrated_gradients, steps=64)": (jaxsal.integrated_gradients, {"steps": 64}),
        "apply, {'a': gradient, 'b': integrated_gradients(steps=3)})": (
            {"a": "gradient", "b": steps},
            {},
        ),
        "apply, smoothgrad(integrated_gradients(steps=3), samples=4, noise=0.15, relative=True), "
        "output='probability', batch_size=3)": (
            jaxsal.smoothgrad(steps, samples=4),
            {"batch_size": 3, "output": "probability"},
        ),
        "apply, expected_gradients, baselines=float32[2, 8, 8, 1])": (
            "expected_gradients",
            {"baselines": toy.images(2)},
        ),
    }
    for text, (method, options) in cases.items():
        assert repr(jaxsal.explainer(toy.apply, method, **options)) == f"jaxsal.explainer({text}"
    made = jaxsal.evaluator(Model().apply, "deletion", steps=3)
    assert repr(made) == "jaxsal.evaluator(Model.apply, deletion, steps=3)"


def test_a_call_of_many_chunks_shows_a_bar(capsys) -> None:
    plain = jaxsal.explainer(toy.apply, "gradient", batch_size=2, mesh=toy_mesh())
    shown = jaxsal.explainer(toy.apply, "gradient", batch_size=2, mesh=toy_mesh(), progress=True)
    images = toy.images(5)
    np.testing.assert_array_equal(shown(toy.params(), images), plain(toy.params(), images))
    told = capsys.readouterr().err
    assert "maps: 100%" in told and "5/5" in told
    shown(toy.params(), images[:2])  # one chunk
    assert capsys.readouterr().err == ""


def toy_mesh():
    import jax

    return jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("devices",))


def test_the_version_is_told(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxsal {jaxsal.__version__}\n"
    done = subprocess.run(
        [sys.executable, "-m", "jaxsal", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"jaxsal {jaxsal.__version__}\n"
