"""Methods of zennit, grad-cam and PAIR's saliency, with the options of jaxsal's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.worker import Absent


def zennit(inputs: Any, method: str, options: dict[str, Any]) -> Callable[[], torch.Tensor]:
    """Layer-wise relevance propagation, epsilon-plus; the rules are registered once."""
    if method != "lrp":
        raise Absent("zennit has no such method here")
    from zennit.attribution import Gradient
    from zennit.canonizers import NamedMergeBatchNorm
    from zennit.composites import EpsilonPlus

    norms = enumerate(inputs.network.norms)
    batch_norms = [i for i, norm in norms if isinstance(norm, torch.nn.BatchNorm2d)]
    pairs = [([f"convs.{i}"], f"norms.{i}") for i in batch_norms]
    composite = EpsilonPlus(canonizers=[NamedMergeBatchNorm(pairs)])
    attributor = Gradient(inputs.network, composite).__enter__()
    classes = inputs.network(inputs.images[:1]).shape[1]
    chosen = torch.nn.functional.one_hot(inputs.targets, classes).to(inputs.images)
    return lambda: attributor(inputs.images, lambda output: output * chosen)[1]


def grad_cam(inputs: Any, method: str, options: dict[str, Any]) -> Callable[[], torch.Tensor]:
    """Ablation-CAM; 128 channels at a time, which is its fastest here.

    It divides a fall of the score by the score, which turns the map of a negative score round: of
    a score that is lifted above zero it is the map that jaxsal has, up to a factor.
    """
    if method != "ablation_cam":
        raise Absent("not timed in grad-cam")
    from pytorch_grad_cam import AblationCAM

    lift = 2 * float(inputs.network(inputs.images).abs().max())

    def score(category: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda output: output[..., category] + lift

    cam = AblationCAM(inputs.network, [inputs.network.last], batch_size=128)
    targets = [score(int(target)) for target in inputs.targets]
    return lambda: torch.from_numpy(cam(inputs.images, targets)[:, None])


def saliency(inputs: Any, method: str, options: dict[str, Any]) -> Callable[[], torch.Tensor]:
    """Guided integrated gradients, an image after the other, as the library has it."""
    if method != "guided_integrated_gradients":
        raise Absent("not timed in saliency")
    import saliency.core as core

    def call_model(images: Any, call_model_args: int, expected_keys: Any) -> dict[str, Any]:
        del expected_keys  # gradients alone
        values = torch.as_tensor(np.asarray(images), dtype=torch.float32).to(inputs.images)
        values = values.permute(0, 3, 1, 2).requires_grad_()
        (slope,) = torch.autograd.grad(inputs.network(values)[:, call_model_args].sum(), values)
        return {core.INPUT_OUTPUT_GRADIENTS: slope.permute(0, 2, 3, 1).cpu().numpy()}

    explainer = core.GuidedIG()
    images = inputs.images.permute(0, 2, 3, 1).cpu().numpy()

    def run() -> torch.Tensor:
        maps = [
            explainer.GetMask(
                image,
                call_model,
                int(target),
                x_steps=options["steps"],
                fraction=0.25,
                max_dist=0.02,
            )
            for image, target in zip(images, inputs.targets, strict=True)
        ]
        return torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2)

    return run


PEERS: dict[str, Callable[..., Any]] = {
    "zennit": zennit,
    "grad-cam": grad_cam,
    "saliency": saliency,
}
