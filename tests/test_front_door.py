"""What `import jaxsal` gives, and what it asks for."""

import json
import subprocess
import sys

import pytest

import jaxsal
from jaxsal import methods
from tests import public_names

NAMES = {
    "ApplyFn",
    "COMBINATORS",
    "Evaluator",
    "Explainer",
    "METHODS",
    "METRICS",
    "Method",
    "Metric",
    "ScoreFn",
    "cut",
    "evaluator",
    "explainer",
    "full_gradients",
    "grad_cam_from",
    "segments",
    "neuron",
    *methods.METHODS,
    *methods.COMBINATORS,
}

LATER = {"explain_dataset", "show"}
"""Imported when asked for: they need TensorStore, and matplotlib."""


def test_the_front_door_holds_these_names_and_no_others() -> None:
    modules = {name for name, value in vars(jaxsal).items() if isinstance(value, type(sys))}
    public = {name for name in vars(jaxsal) if not name.startswith("_")} - modules
    assert public - LATER == NAMES
    assert set(dir(jaxsal)) >= LATER
    assert all(callable(getattr(jaxsal, name)) for name in LATER)
    with pytest.raises(AttributeError, match="explain_all"):
        _ = jaxsal.explain_all


def test_public_names_and_options_are_as_written_down() -> None:
    """A difference is a decision: `python -m tests.public_names` writes the list anew."""
    assert public_names.now() == json.loads(public_names.KEPT.read_text())


def test_the_table_is_complete() -> None:
    """The methods of the contract, each under its own name and at the front door."""
    expected = """
        gradient input_x_gradient integrated_gradients expected_gradients guided_backprop deconvnet
        grad_cam grad_cam_plus_plus hires_cam layer_cam x_grad_cam eigen_cam score_cam
        guided_grad_cam occlusion feature_ablation rise
        lime kernel_shap shapley_sampling shapley_values sobol hsic xrai
        lrp attn_lrp deep_lift deep_lift_shap full_grad
        ablation_cam element_wise_grad_cam kpca_cam finer_cam shapley_cam smooth_grad_cam_plus_plus
        idgi guided_integrated_gradients blur_integrated_gradients agi
        layer_gradient_x_activation layer_integrated_gradients internal_influence layer_conductance
        attention_rollout generic_attention
    """.split()
    assert set(jaxsal.METHODS) == set(expected)
    assert set(jaxsal.COMBINATORS) == {"smoothgrad", "smoothgrad_squared", "vargrad"}
    for name, function in (jaxsal.METHODS | jaxsal.COMBINATORS).items():
        assert function.__name__ == name
        assert getattr(jaxsal, name) is function
        assert function.__doc__


def test_importing_needs_the_core_dependencies_only() -> None:
    """JAX, NumPy, chex and jaxtyping, and nothing that they do not bring."""
    program = """
import sys
import chex, jax, jax.export, jaxtyping, numpy
before = set(sys.modules)
import jaxsal
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"jaxsal", "jax", "numpy", "chex", "jaxtyping"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
