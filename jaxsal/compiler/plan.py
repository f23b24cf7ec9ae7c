"""The plan: how many images, and how many points of each, are evaluated at a time."""

from collections.abc import Callable
from dataclasses import dataclass

CAPS = {"cpu": 32, "gpu": 512, "tpu": 512}
"""Where `"auto"` starts: evaluations in flight on one device, beyond which more do not pay."""

COMPILATIONS = 3
"""How often `"auto"` may scale down."""


@dataclass(frozen=True)
class Plan:
    """What one program holds at a time on one device; `images` times `chunk` evaluations."""

    images: int
    chunk: int


def plan(evaluations: int, count: int, devices: int, *, points: bool, bound: int = 1) -> Plan:
    """Images first: as many as there are (padded to a power of two), then points of each.

    Args:
        evaluations: model evaluations in flight on one device.
        count: images in the batch.
        devices: how many the batch is spread over.
        points: whether the method evaluates several points of an image, as many as we say.
        bound: the points that it evaluates at a time if we do not say.
    """
    share = -(-count // devices)
    images = min(max(1, evaluations // bound), 1 << (share - 1).bit_length())
    return Plan(images, evaluations // images if points else 1)


def fit(evaluations: int, budget: float, need: Callable[[int], float]) -> int:
    """`evaluations`, scaled down until what they need is within the budget, or three times.

    Args:
        evaluations: where to start.
        budget: bytes on one device.
        need: evaluations to the bytes that a program of them takes on one device: it compiles.
    """
    for _ in range(COMPILATIONS):
        needed = need(evaluations)
        if needed <= budget or evaluations == 1:
            break
        scaled = int(evaluations * max(budget, 0) / needed)
        evaluations = max(1, min(1 << max(scaled.bit_length() - 1, 0), evaluations // 2))
    return evaluations
