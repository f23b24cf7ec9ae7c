"""captum's methods, with the options of jaxsal's methods of the same name."""

from collections.abc import Callable
from typing import Any

import captum.attr as attr
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr._core.lime import get_exp_kernel_similarity_function

# captum's progress bars and warnings about inputs that require no gradient are off by default.


def _call(explainer: Any, inputs: Any, **words: Any) -> Callable[[], torch.Tensor]:
    return lambda: explainer.attribute(inputs.images, target=inputs.targets, **words)


def _chunk(name: str, chunk: int | None) -> dict[str, int]:
    return {} if chunk is None else {name: chunk}


def gradient(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.Saliency(inputs.network), inputs, abs=False)


def input_x_gradient(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.InputXGradient(inputs.network), inputs)


def guided_backprop(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.GuidedBackprop(inputs.network), inputs)


def deconvnet(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.Deconvolution(inputs.network), inputs)


def integrated_gradients(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(
        attr.IntegratedGradients(inputs.network),
        inputs,
        n_steps=options["steps"],
        method="gausslegendre",
        **_chunk("internal_batch_size", chunk),
    )


def expected_gradients(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(
        attr.GradientShap(inputs.network),
        inputs,
        baselines=inputs.arrays["baselines"],
        n_samples=options["samples"],
        stdevs=0.0,
    )


def _noise_tunnel(kind: str) -> Callable[..., Any]:
    def method(inputs: Any, options: Any, chunk: int | None) -> Any:
        return _call(
            attr.NoiseTunnel(attr.Saliency(inputs.network)),
            inputs,
            nt_type=kind,
            nt_samples=options["samples"],
            stdevs=options["noise"],
            abs=False,
            **_chunk("nt_samples_batch_size", chunk),
        )

    return method


def occlusion(inputs: Any, options: Any, chunk: int | None) -> Any:
    channels, window, stride = inputs.images.shape[1], options["window"], options["stride"]
    return _call(
        attr.Occlusion(inputs.network),
        inputs,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        **_chunk("perturbations_per_eval", chunk),
    )


def feature_ablation(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(
        attr.FeatureAblation(inputs.network),
        inputs,
        feature_mask=_segments(inputs, options),
        **_chunk("perturbations_per_eval", chunk),
    )


def grad_cam(inputs: Any, options: Any, chunk: int | None) -> Any:
    explainer = attr.LayerGradCam(inputs.network, inputs.network.last)
    return lambda: explainer.attribute(inputs.images, target=inputs.targets, relu_attributions=True)


def guided_grad_cam(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.GuidedGradCam(inputs.network, inputs.network.last), inputs)


def deep_lift(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.DeepLift(inputs.network), inputs)


def deep_lift_shap(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.DeepLiftShap(inputs.network), inputs, baselines=inputs.arrays["baselines"])


def _segments(inputs: Any, options: Any) -> torch.Tensor:
    return inputs.arrays[options["segments"].removeprefix("@")][None, None]


def lime(inputs: Any, options: Any, chunk: int | None) -> Any:
    explainer = attr.Lime(
        inputs.network,
        interpretable_model=SkLearnRidge(alpha=1.0),
        similarity_func=get_exp_kernel_similarity_function("cosine", kernel_width=0.25),
    )
    return _by_samples(explainer, inputs, options, chunk)


def kernel_shap(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _by_samples(attr.KernelShap(inputs.network), inputs, options, chunk)


def shapley_sampling(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _by_samples(attr.ShapleyValueSampling(inputs.network), inputs, options, chunk)


def _by_samples(explainer: Any, inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(
        explainer,
        inputs,
        feature_mask=_segments(inputs, options),
        n_samples=options["samples"],
        **_chunk("perturbations_per_eval", chunk),
    )


METHODS: dict[str, Callable[..., Any]] = {
    "gradient": gradient,
    "input_x_gradient": input_x_gradient,
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
    "integrated_gradients": integrated_gradients,
    "expected_gradients": expected_gradients,
    "smoothgrad": _noise_tunnel("smoothgrad"),
    "smoothgrad_squared": _noise_tunnel("smoothgrad_sq"),
    "vargrad": _noise_tunnel("vargrad"),
    "occlusion": occlusion,
    "feature_ablation": feature_ablation,
    "grad_cam": grad_cam,
    "guided_grad_cam": guided_grad_cam,
    "deep_lift": deep_lift,
    "deep_lift_shap": deep_lift_shap,
    "lime": lime,
    "kernel_shap": kernel_shap,
    "shapley_sampling": shapley_sampling,
}

CHUNKED = {
    "integrated_gradients",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
    "occlusion",
    "feature_ablation",
    "lime",
    "kernel_shap",
    "shapley_sampling",
}
"""The methods whose chunk can be set."""
