"""captum's methods, with the options of jaxsal's methods of the same name."""

from collections.abc import Callable
from typing import Any

import captum.attr as attr
import torch

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
        feature_mask=inputs.arrays["segments"][None, None],
        **_chunk("perturbations_per_eval", chunk),
    )


def grad_cam(inputs: Any, options: Any, chunk: int | None) -> Any:
    explainer = attr.LayerGradCam(inputs.network, inputs.network.last)
    return lambda: explainer.attribute(inputs.images, target=inputs.targets, relu_attributions=True)


def guided_grad_cam(inputs: Any, options: Any, chunk: int | None) -> Any:
    return _call(attr.GuidedGradCam(inputs.network, inputs.network.last), inputs)


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
}

CHUNKED = {
    "integrated_gradients",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
    "occlusion",
    "feature_ablation",
}
"""The methods whose chunk can be set."""
