"""jaxsal: a saliency compiler for JAX."""

import importlib as _importlib
import typing as _typing

from jaxsal.engine import Evaluator as Evaluator
from jaxsal.engine import Explainer as Explainer
from jaxsal.engine import evaluator as evaluator
from jaxsal.engine import explainer as explainer
from jaxsal.methods import COMBINATORS as COMBINATORS
from jaxsal.methods import METHODS as METHODS
from jaxsal.methods.ablation_cam import ablation_cam as ablation_cam
from jaxsal.methods.agi import agi as agi
from jaxsal.methods.attention import attention_rollout as attention_rollout
from jaxsal.methods.attention import generic_attention as generic_attention
from jaxsal.methods.attn_lrp import attn_lrp as attn_lrp
from jaxsal.methods.backprop import deconvnet as deconvnet
from jaxsal.methods.backprop import guided_backprop as guided_backprop
from jaxsal.methods.blur_path import blur_integrated_gradients as blur_integrated_gradients
from jaxsal.methods.cam import eigen_cam as eigen_cam
from jaxsal.methods.cam import element_wise_grad_cam as element_wise_grad_cam
from jaxsal.methods.cam import grad_cam as grad_cam
from jaxsal.methods.cam import grad_cam_from as grad_cam_from
from jaxsal.methods.cam import grad_cam_plus_plus as grad_cam_plus_plus
from jaxsal.methods.cam import guided_grad_cam as guided_grad_cam
from jaxsal.methods.cam import hires_cam as hires_cam
from jaxsal.methods.cam import layer_cam as layer_cam
from jaxsal.methods.cam import x_grad_cam as x_grad_cam
from jaxsal.methods.deep_lift import deep_lift as deep_lift
from jaxsal.methods.deep_lift import deep_lift_shap as deep_lift_shap
from jaxsal.methods.finer_cam import finer_cam as finer_cam
from jaxsal.methods.full_grad import full_grad as full_grad
from jaxsal.methods.full_grad import full_gradients as full_gradients
from jaxsal.methods.gradient import gradient as gradient
from jaxsal.methods.gradient import input_x_gradient as input_x_gradient
from jaxsal.methods.guided_path import (
    guided_integrated_gradients as guided_integrated_gradients,
)
from jaxsal.methods.hsic import hsic as hsic
from jaxsal.methods.idgi import idgi as idgi
from jaxsal.methods.kernel_shap import kernel_shap as kernel_shap
from jaxsal.methods.kpca_cam import kpca_cam as kpca_cam
from jaxsal.methods.layer import internal_influence as internal_influence
from jaxsal.methods.layer import layer_conductance as layer_conductance
from jaxsal.methods.layer import layer_gradient_x_activation as layer_gradient_x_activation
from jaxsal.methods.layer import layer_integrated_gradients as layer_integrated_gradients
from jaxsal.methods.lime import lime as lime
from jaxsal.methods.lrp import lrp as lrp
from jaxsal.methods.neuron import neuron as neuron
from jaxsal.methods.noise import smoothgrad as smoothgrad
from jaxsal.methods.noise import smoothgrad_squared as smoothgrad_squared
from jaxsal.methods.noise import vargrad as vargrad
from jaxsal.methods.path import expected_gradients as expected_gradients
from jaxsal.methods.path import integrated_gradients as integrated_gradients
from jaxsal.methods.perturb import feature_ablation as feature_ablation
from jaxsal.methods.perturb import occlusion as occlusion
from jaxsal.methods.rise import rise as rise
from jaxsal.methods.score_cam import score_cam as score_cam
from jaxsal.methods.segmentation import segments as segments
from jaxsal.methods.shapley import shapley_sampling as shapley_sampling
from jaxsal.methods.shapley import shapley_values as shapley_values
from jaxsal.methods.shapley_cam import shapley_cam as shapley_cam
from jaxsal.methods.smooth_cam import smooth_grad_cam_plus_plus as smooth_grad_cam_plus_plus
from jaxsal.methods.sobol import sobol as sobol
from jaxsal.methods.xrai import xrai as xrai
from jaxsal.metrics import METRICS as METRICS
from jaxsal.rewrite.split_at_layer import cut as cut
from jaxsal.types import ApplyFn as ApplyFn
from jaxsal.types import Method as Method
from jaxsal.types import Metric as Metric
from jaxsal.types import ScoreFn as ScoreFn

if _typing.TYPE_CHECKING:
    from jaxsal.common.version import __version__ as __version__
    from jaxsal.store.dataset import explain_dataset as explain_dataset
    from jaxsal.viz.show import show as show

_LATER = {
    "explain_dataset": "jaxsal.store.dataset",
    "show": "jaxsal.viz.show",
    "__version__": "jaxsal.common.version",
}
"""What needs more than JAX, or takes time, is imported when it is asked for."""


def __getattr__(name: str) -> _typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module 'jaxsal' has no attribute {name!r}")
    return getattr(_importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
