"""Statistics of the maps of noisy copies of the image: combinators over any method."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxsal.common.options import count, scale, takes_key
from jaxsal.common.points import sum_points_and_aux, variance_points_and_aux
from jaxsal.types import Image, Key, Map, Method, Refined, ScoreFn, accumulator

Draw = tuple[Image, dict[str, Any]]
"""One sample: the noise added to the image, and the inner method's options (a key, or none)."""

Sampled = tuple[Map, tuple[Array, ...]]
"""A sample's map, and what it took: the points and whether it converged, or nothing."""

Maps = Callable[[Array], Sampled]
"""Sample index to its map and what it took."""

Statistic = Callable[..., Sampled]
"""`statistic(maps, indices, *, like, chunk)`: of the maps at the given sample indices.

With what each of them took, [n].
"""


def smoothgrad(
    method: Method, *, samples: int = 25, noise: ArrayLike = 0.15, relative: bool = True
) -> "Noisy":
    """The mean of a method's maps over noisy copies of the image.

    .. math:: A = (1/n) Σⱼ M(x + σ εⱼ),  εⱼ ~ N(0, 1)

    The result is a method: `smoothgrad(gradient)(score, image, key=key, chunk=1, **options)`, its
    options those of the inner method. Sample j draws from `fold_in(key, j)`; over a method that
    takes a key itself, from `k_noise, k_inner = split(key)` sample j gets `fold_in(k_noise, j)` for
    its noise and `fold_in(k_inner, j)` for the inner method.

    Args:
        method: any method, also one that takes a key, a CAM, or another combinator's result.
        samples: n.
        noise: σ, or its ratio to the image's range where `relative`.
        relative: whether σ is `noise` times (max - min) of the image. A constant image gets no
            noise then.

    Raises:
        TypeError: `method` is not callable, `samples` is no integer, `noise` is no number.
        ValueError: no samples, or negative noise.

    References:
        Smilkov, Thorat, Kim, Viégas & Wattenberg, "SmoothGrad: removing noise by adding noise",
        2017, https://arxiv.org/abs/1706.03825
    """
    return Noisy(mean, method, samples, noise, relative)


def smoothgrad_squared(
    method: Method, *, samples: int = 25, noise: ArrayLike = 0.15, relative: bool = True
) -> "Noisy":
    """The mean of the squares of a method's maps over noisy copies of the image.

    .. math:: A = (1/n) Σⱼ M(x + σ εⱼ)²

    Arguments, keys and errors as for `smoothgrad`.

    References:
        Hooker, Erhan, Kindermans & Kim, "A Benchmark for Interpretability Methods in Deep Neural
        Networks", NeurIPS 2019, https://arxiv.org/abs/1806.10758
    """
    return Noisy(mean_square, method, samples, noise, relative)


def vargrad(
    method: Method, *, samples: int = 25, noise: ArrayLike = 0.15, relative: bool = True
) -> "Noisy":
    """The variance of a method's maps over noisy copies of the image.

    .. math:: A = (1/n) Σⱼ (M(x + σ εⱼ) - mean)²

    The 1/n variance from squared deviations, hence never negative. Arguments, keys and errors as
    for `smoothgrad`.

    References:
        Adebayo, Gilmer, Goodfellow & Kim, "Local Explanation Methods for Deep Neural Networks Lack
        Sensitivity to Parameter Values", ICLR Workshop 2018, https://arxiv.org/abs/1810.03307
    """
    return Noisy(variance, method, samples, noise, relative)


@dataclass(frozen=True)
class Noisy:
    """What the combinators return: a method, equal to another of the same parts."""

    statistic: Statistic
    inner: Method
    samples: int
    noise: ArrayLike
    relative: bool

    def __post_init__(self) -> None:
        if not callable(self.inner):
            raise TypeError(f"method: expected a method, got {self.inner!r}")
        count("samples", self.samples)
        scale("noise", self.noise)

    @property
    def __name__(self) -> str:
        inner = getattr(self.inner, "func", self.inner)  # a partial has no name of its own
        return f"{_NAMES[self.statistic]}({getattr(inner, '__name__', type(inner).__name__)})"

    def __call__(
        self, score: ScoreFn, image: Image, *, key: Key, chunk: int = 1, **options: Any
    ) -> Map:
        return self._sampled(score, image, key, chunk, options)[0]

    def refined(
        self, score: ScoreFn, image: Image, *, key: Key, chunk: int = 1, **options: Any
    ) -> Refined:
        """The same over an inner method that returns a `Refined`: what all samples took."""
        map, (points, converged) = self._sampled(score, image, key, chunk, options)
        return Refined(map, jnp.sum(points, dtype=jnp.int32), jnp.all(converged))

    def _sampled(
        self, score: ScoreFn, image: Image, key: Key, chunk: int, options: dict[str, Any]
    ) -> Sampled:
        draw = draw_noise(
            key, image, noise=self.noise, relative=self.relative, needs_key=takes_key(self.inner)
        )
        method = functools.partial(self.inner, **options) if options else self.inner
        return _sampled_over(self.statistic, method, score, image, draw, self.samples, chunk)


def draw_noise(
    key: Key, image: Image, *, noise: ArrayLike, relative: bool, needs_key: bool
) -> Callable[[Array], Draw]:
    """The draw of the combinators: sample index to noise and the inner method's key, if any."""
    k_noise, k_inner = jax.random.split(key) if needs_key else (key, None)
    spread = jnp.max(image) - jnp.min(image) if relative else jnp.ones((), image.dtype)
    deviation = jnp.asarray(noise, image.dtype) * spread

    def draw(index: Array) -> Draw:
        normal = jax.random.normal(jax.random.fold_in(k_noise, index), image.shape, image.dtype)
        inner = {} if k_inner is None else {"key": jax.random.fold_in(k_inner, index)}
        return deviation * normal, inner

    return draw


def statistic_over(
    statistic: Statistic,
    method: Method,
    score: ScoreFn,
    image: Image,
    draw: Callable[[Array], Draw],
    *,
    samples: int,
    chunk: int = 1,
) -> Map:
    """The deterministic core of the combinators: a statistic of M(x + eⱼ) over the draws.

    Args:
        statistic: `mean`, `mean_square` or `variance`.
        method: M.
        score: `score(image) -> scalar`.
        image: one image, floating.
        draw: j to `(eⱼ, options of M for this sample)`; `draw_noise` draws them, a lookup in an
            array replays them.
        samples: n.
        chunk: samples evaluated at a time.
    """

    return _sampled_over(statistic, method, score, image, draw, samples, chunk)[0]


def _sampled_over(
    statistic: Statistic,
    method: Callable[..., Map | Refined],
    score: ScoreFn,
    image: Image,
    draw: Callable[[Array], Draw],
    samples: int,
    chunk: int,
) -> Sampled:
    """`statistic_over` of a method that may tell what it took, and what each sample did, [n]."""

    def explain(index: Array) -> Sampled:
        perturbation, inner = draw(index)
        found = method(score, image + perturbation, **inner)
        map, took = (found.map, found[1:]) if isinstance(found, Refined) else (found, ())
        return map.astype(accumulator(map.dtype)), took

    indices = np.arange(count("samples", samples))
    return statistic(explain, indices, like=image, chunk=count("chunk", chunk))


def mean(maps: Maps, indices: np.ndarray, *, like: Image, chunk: int) -> Sampled:
    """`(1/n) Σⱼ Mⱼ`."""
    weights = np.full(len(indices), 1 / len(indices))
    return sum_points_and_aux(maps, indices, weights, like=like, chunk=chunk)


def mean_square(maps: Maps, indices: np.ndarray, *, like: Image, chunk: int) -> Sampled:
    """`(1/n) Σⱼ Mⱼ²`."""

    def squared(index: Array) -> Sampled:
        map, took = maps(index)
        return jnp.square(map), took

    return mean(squared, indices, like=like, chunk=chunk)


def variance(maps: Maps, indices: np.ndarray, *, like: Image, chunk: int) -> Sampled:
    """`(1/n) Σⱼ (Mⱼ - mean)²`."""
    return variance_points_and_aux(maps, indices, like=like, chunk=chunk)


_NAMES = {mean: "smoothgrad", mean_square: "smoothgrad_squared", variance: "vargrad"}
