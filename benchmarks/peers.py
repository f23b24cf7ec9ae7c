"""Beside what each method is timed: one table, of which a setting takes what its time allows.

It is read by either side's tests, and imports no framework. A name says how a contender runs:
"torch" is PyTorch by hand, eager, images and kernels contiguous, unless it says otherwise;
"captum" has its default chunk; "plain jax" is one program with `lax.scan` over the steps.
"""

from typing import NamedTuple

CHUNKS = (1, 8, 32, 64, 256)
"""The chunks that captum is given."""

JAXSAL = ("jaxsal", "jaxsal without rewrites")
PLAIN = ("plain jax", "plain jax, loop")
STEPS = ("plain jax, steps in Python", "plain jax, steps at once")
CAPTUM = ("captum", "captum, channels_last")
IN_CHUNKS = tuple(f"{each}, chunk {count}" for count in CHUNKS for each in CAPTUM)
BY_HAND = ("torch", "torch channels_last", "torch compiled channels_last", "torch compiled")
BFLOAT16 = ("jaxsal bfloat16", "torch bfloat16")

_GRADIENT = (*PLAIN, *CAPTUM, *BY_HAND, *BFLOAT16)
_SUM = (*PLAIN, *STEPS, *CAPTUM, *IN_CHUNKS, *BY_HAND)

PEERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gradient", "input_x_gradient"), _GRADIENT),
    **dict.fromkeys(("integrated_gradients", "smoothgrad", "occlusion"), _SUM),
    **dict.fromkeys(
        (
            "guided_backprop",
            "deconvnet",
            "grad_cam",
            "guided_grad_cam",
            "deep_lift",
            "deep_lift_shap",
            "expected_gradients",
        ),
        CAPTUM,
    ),
    **dict.fromkeys(
        (
            "smoothgrad_squared",
            "vargrad",
            "feature_ablation",
            "lime",
            "kernel_shap",
            "shapley_sampling",
        ),
        (*CAPTUM, *IN_CHUNKS),
    ),
    "lrp": ("zennit",),
    "ablation_cam": ("grad-cam",),
    "guided_integrated_gradients": ("saliency",),
}
"""By method, the soonest wanted first; what is not here is offered by none of them."""

EVERY = tuple(dict.fromkeys((*JAXSAL, *(name for names in PEERS.values() for name in names))))


def of(method: str, allowed: tuple[str, ...] = EVERY) -> tuple[str, ...]:
    """jaxsal, then the peers of a method, of those that are allowed."""
    return tuple(name for name in (*JAXSAL, *PEERS.get(method, ())) if name in allowed)


class Variant(NamedTuple):
    """A peer's method that is by definition a little different: why, and how alike maps must be."""

    why: str
    cosine: float


VARIANTS = {("deep_lift", "captum"): Variant("its rule for pools is another", 0.9)}
"""By method and library."""
