"""Quadrature rules on [0, 1]: where a path is sampled, and with which weights."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

Nodes = tuple[np.ndarray, np.ndarray]


def quadrature(rule: str, steps: int) -> Nodes:
    """Positions α and weights w with ∫₀¹ f(α) dα ≈ Σₖ wₖ f(αₖ) and Σₖ wₖ = 1.

    | rule | positions | weights | exact for degree |
    |---|---|---|---|
    | `gausslegendre` | (1 + zₖ) / 2 of the Legendre roots | wₖ / 2 | 2 n - 1 |
    | `riemann_left` | k / n | 1 / n | 0 |
    | `riemann_right` | (k + 1) / n | 1 / n | 0 |
    | `riemann_middle` | (k + 1/2) / n | 1 / n | 1 |
    | `riemann_trapezoid` | k / (n - 1) | 1 / (n - 1), both ends halved | 1 |

    Args:
        rule: a name of the table.
        steps: n, at least 1; at least 2 for the trapezoid, which has two ends.

    Returns:
        `(positions, weights)`, each float64 [steps], positions ascending.

    Raises:
        ValueError: an unknown rule, or too few steps.
    """
    if not isinstance(rule, str) or rule not in RULES:
        raise ValueError(f"rule: expected one of {sorted(RULES)}, got {rule!r}")
    least, nodes = RULES[rule]
    if steps < least:
        raise ValueError(f"steps: expected >= {least} for {rule}, got {steps}")
    return nodes(steps)


@lru_cache(maxsize=64)
def _gausslegendre(steps: int) -> Nodes:
    roots, weights = np.polynomial.legendre.leggauss(steps)
    return (1 + roots) / 2, weights / 2


def _riemann(offset: float) -> Callable[[int], Nodes]:
    def rule(steps: int) -> Nodes:
        return (np.arange(steps) + offset) / steps, np.full(steps, 1 / steps)

    return rule


def _trapezoid(steps: int) -> Nodes:
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


RULES: dict[str, tuple[int, Callable[[int], Nodes]]] = {
    "gausslegendre": (1, _gausslegendre),
    "riemann_left": (1, _riemann(0.0)),
    "riemann_right": (1, _riemann(1.0)),
    "riemann_middle": (1, _riemann(0.5)),
    "riemann_trapezoid": (2, _trapezoid),
}
"""Each rule's least number of steps and its nodes."""
