"""The table of methods and combinators."""

from jaxsal.common import docstrings
from jaxsal.methods.ablation_cam import ablation_cam
from jaxsal.methods.agi import agi
from jaxsal.methods.attention import attention_rollout, generic_attention
from jaxsal.methods.attn_lrp import attn_lrp
from jaxsal.methods.backprop import deconvnet, guided_backprop
from jaxsal.methods.blur_path import blur_integrated_gradients
from jaxsal.methods.cam import (
    eigen_cam,
    element_wise_grad_cam,
    grad_cam,
    grad_cam_plus_plus,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    x_grad_cam,
)
from jaxsal.methods.deep_lift import deep_lift, deep_lift_shap
from jaxsal.methods.finer_cam import finer_cam
from jaxsal.methods.full_grad import full_grad
from jaxsal.methods.gradient import gradient, input_x_gradient
from jaxsal.methods.guided_path import guided_integrated_gradients
from jaxsal.methods.hsic import hsic
from jaxsal.methods.idgi import idgi
from jaxsal.methods.kernel_shap import kernel_shap
from jaxsal.methods.kpca_cam import kpca_cam
from jaxsal.methods.layer import (
    internal_influence,
    layer_conductance,
    layer_gradient_x_activation,
    layer_integrated_gradients,
)
from jaxsal.methods.lime import lime
from jaxsal.methods.lrp import lrp
from jaxsal.methods.noise import smoothgrad, smoothgrad_squared, vargrad
from jaxsal.methods.path import expected_gradients, integrated_gradients
from jaxsal.methods.perturb import feature_ablation, occlusion
from jaxsal.methods.rise import rise
from jaxsal.methods.score_cam import score_cam
from jaxsal.methods.shapley import shapley_sampling, shapley_values
from jaxsal.methods.shapley_cam import shapley_cam
from jaxsal.methods.smooth_cam import smooth_grad_cam_plus_plus
from jaxsal.methods.sobol import sobol
from jaxsal.methods.xrai import xrai
from jaxsal.types import Combinator, Method

METHODS: dict[str, Method] = {
    function.__name__: function
    for function in (
        gradient,
        input_x_gradient,
        integrated_gradients,
        expected_gradients,
        guided_backprop,
        deconvnet,
        lrp,
        attn_lrp,
        deep_lift,
        deep_lift_shap,
        full_grad,
        grad_cam,
        grad_cam_plus_plus,
        hires_cam,
        layer_cam,
        x_grad_cam,
        eigen_cam,
        score_cam,
        guided_grad_cam,
        ablation_cam,
        element_wise_grad_cam,
        kpca_cam,
        finer_cam,
        shapley_cam,
        smooth_grad_cam_plus_plus,
        idgi,
        guided_integrated_gradients,
        blur_integrated_gradients,
        agi,
        layer_gradient_x_activation,
        layer_integrated_gradients,
        internal_influence,
        layer_conductance,
        attention_rollout,
        generic_attention,
        occlusion,
        feature_ablation,
        rise,
        lime,
        kernel_shap,
        shapley_sampling,
        shapley_values,
        sobol,
        hsic,
        xrai,
    )
}
"""Every method by its name."""

COMBINATORS: dict[str, Combinator] = {
    function.__name__: function for function in (smoothgrad, smoothgrad_squared, vargrad)
}
"""Every combinator by its name."""

docstrings.complete(METHODS | COMBINATORS)
