"""What the methods are, written once more with nothing but JAX: one point at a time, in loops.

An oracle is `oracle(subject, image, key) -> map`. It shares no code with jaxsal; of a CAM it adds
to the layer's value, by the network's own hooks, and differentiates by what it added.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.random_networks.draws import Hooks, Value

INFINITY = float("inf")


class Subject(NamedTuple):
    """A score: of one image, and as a function of the network's hooks.

    Attributes:
        hooked: `hooked(hooks, image) -> scalar`.
        image: the image's axes and shape.
    """

    hooked: Callable[[Hooks, jax.Array], jax.Array]
    image: Value

    def score(self, image: jax.Array) -> jax.Array:
        return self.hooked(Hooks(), image)

    @property
    def axes(self) -> tuple[int, ...]:
        """The image's spatial axes."""
        return self.image.axes(self.image.space)


Oracle = Callable[[Subject, jax.Array, Any], jax.Array]


def gradient(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
    return jax.grad(subject.score)(image)


def input_x_gradient(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
    return image * gradient(subject, image, key)


def _nodes(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    if rule == "gausslegendre":
        roots, weights = np.polynomial.legendre.leggauss(steps)
        return 0.5 + 0.5 * roots, 0.5 * weights
    if rule == "riemann_trapezoid":
        weights = np.ones(steps)
        weights[0] = weights[-1] = 0.5
        return np.linspace(0.0, 1.0, steps), weights / weights.sum()
    shift = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return (np.arange(steps) + shift) / steps, np.ones(steps) / steps


def _baseline(baseline: Any, image: jax.Array) -> jax.Array:
    value = baseline(image) if callable(baseline) else baseline
    return jnp.broadcast_to(jnp.asarray(value, image.dtype), image.shape)


def integrated_gradients(*, baseline: Any, steps: int, rule: str) -> Oracle:
    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        start = _baseline(baseline, image)
        places, weights = (jnp.asarray(each, jnp.float32) for each in _nodes(rule, steps))
        slopes = lax.map(lambda a: jax.grad(subject.score)(start + a * (image - start)), places)
        return (image - start) * jnp.tensordot(weights, slopes, axes=1)

    return oracle


def expected_gradients(*, baselines: np.ndarray, samples: int, noise: float) -> Oracle:
    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        def sample(j: jax.Array) -> jax.Array:
            k_baseline, k_place, k_noise = jax.random.split(jax.random.fold_in(key, j), 3)
            which = jax.random.randint(k_baseline, (), 0, len(baselines))
            start = jnp.asarray(baselines)[which]
            end = image + noise * jax.random.normal(k_noise, image.shape)
            place = jax.random.uniform(k_place, ())
            return (end - start) * jax.grad(subject.score)(start + place * (end - start))

        return jnp.mean(lax.map(sample, jnp.arange(samples)), 0)

    return oracle


STATISTICS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "smoothgrad": lambda maps: jnp.mean(maps, 0),
    "smoothgrad_squared": lambda maps: jnp.mean(maps**2, 0),
    "vargrad": lambda maps: jnp.var(maps, 0),
}


def noisy(
    name: str, inner: Oracle, *, keyed: bool, samples: int, noise: float, relative: bool
) -> Oracle:
    """A statistic of an oracle's maps of noisy images, of the same draws."""

    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        k_noise, k_inner = jax.random.split(key) if keyed else (key, key)
        spread = noise * (jnp.max(image) - jnp.min(image) if relative else 1.0)

        def sample(j: jax.Array) -> jax.Array:
            added = spread * jax.random.normal(jax.random.fold_in(k_noise, j), image.shape)
            return inner(subject, image + added, jax.random.fold_in(k_inner, j))

        return STATISTICS[name](lax.map(sample, jnp.arange(samples)))

    return oracle


def occlusion(*, window: Any, stride: Any, baseline: Any) -> Oracle:
    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        lengths = [image.shape[axis] for axis in subject.axes]
        size = window if isinstance(window, tuple) else (window,) * len(lengths)
        step = size if stride is None else stride
        step = step if isinstance(step, tuple) else (step,) * len(lengths)
        starts = [
            [s * i for i in range(-(-(n - w) // s) + 1)]
            for n, w, s in zip(lengths, size, step, strict=True)
        ]
        hidden = np.zeros((np.prod([len(each) for each in starts]), *image.shape), bool)
        for row, corner in zip(hidden, itertools.product(*starts), strict=True):
            inside = np.moveaxis(row, subject.axes, range(len(size)))
            inside[tuple(slice(a, a + w) for a, w in zip(corner, size, strict=True))] = True
        empty, whole = _baseline(baseline, image), subject.score(image)

        def loss(mask: jax.Array) -> jax.Array:
            return whole - subject.score(jnp.where(mask, empty, image))

        losses = lax.map(loss, jnp.asarray(hidden))
        covered = losses.reshape(-1, *(1,) * image.ndim)
        return jnp.sum(jnp.where(hidden, covered, 0.0), 0) / hidden.sum(0)

    return oracle


def feature_ablation(*, segments: np.ndarray, baseline: Any) -> Oracle:
    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        channels = subject.image.axis("c")
        spread = segments if segments.ndim == image.ndim else np.expand_dims(segments, channels)
        places = np.broadcast_to(spread, image.shape)
        labels = np.unique(places)
        empty, whole = _baseline(baseline, image), subject.score(image)

        def loss(label: jax.Array) -> jax.Array:
            return whole - subject.score(jnp.where(places == label, empty, image))

        losses = lax.map(loss, jnp.asarray(labels))
        return losses[np.searchsorted(labels, places)]

    return oracle


def rise(*, samples: int, grid: int, keep: float, baseline: Any) -> Oracle:
    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        shape, channels = tuple(image.shape[a] for a in subject.axes), subject.image.axis("c")
        cells = [-(-n // grid) for n in shape]
        empty = _baseline(baseline, image)

        def sample(j: jax.Array) -> jax.Array:
            k_cells, k_shift = jax.random.split(jax.random.fold_in(key, j))
            drawn = jax.random.bernoulli(k_cells, keep, (grid,) * len(shape)).astype(jnp.float32)
            large = jax.image.resize(drawn, [(grid + 1) * cell for cell in cells], "linear")
            corner = jax.random.randint(k_shift, (len(shape),), 0, np.asarray(cells))
            mask = jnp.expand_dims(lax.dynamic_slice(large, list(corner), shape), channels)
            value = subject.score(mask * image + (1 - mask) * empty)
            return jnp.where(mask == 0, 0.0, value * mask)  # NaN counts only for what was seen

        maps = lax.map(sample, jnp.arange(samples))
        return jnp.broadcast_to(jnp.sum(maps, 0) / (samples * keep), image.shape)

    return oracle


def _derivative(guided: bool) -> Callable[[jax.Array, float], jax.Array]:
    """A ReLU whose derivative is the one of guided backpropagation, or of the deconvnet."""

    @functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
    def relu(x: jax.Array, bound: float) -> jax.Array:
        return jnp.clip(x, 0.0, bound)

    def back(bound: float, x: jax.Array, g: jax.Array) -> tuple[jax.Array]:
        passed = (g > 0) & (x < bound) & ((x > 0) | (not guided))
        return (jnp.where(passed, g, 0.0),)

    relu.defvjp(lambda x, bound: (relu(x, bound), x), back)
    return relu


def guided_backprop(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
    return jax.grad(functools.partial(subject.hooked, Hooks(relu=_derivative(True))))(image)


def deconvnet(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
    return jax.grad(functools.partial(subject.hooked, Hooks(relu=_derivative(False))))(image)


def _grad_cam(a: jax.Array, g: jax.Array) -> jax.Array:
    return jnp.einsum("pc,c->p", a, jnp.mean(g, 0), precision="highest")


def _plus_plus(a: jax.Array, g: jax.Array) -> jax.Array:
    below = 2 * g**2 + jnp.sum(a, 0, keepdims=True) * g**3 + 1e-6
    alpha = jnp.where(g == 0, 0.0, g**2 / below)
    weights = jnp.sum(jnp.maximum(g, 0) * alpha, 0)
    return jnp.einsum("pc,c->p", a, weights, precision="highest")


def _x_grad_cam(a: jax.Array, g: jax.Array) -> jax.Array:
    weights = jnp.sum(g * a, 0) / (jnp.sum(a, 0) + 1e-7)
    return jnp.einsum("pc,c->p", a, weights, precision="highest")


def _eigen_cam(a: jax.Array, g: jax.Array) -> jax.Array:
    centred = a - jnp.mean(a, 0, keepdims=True)
    first = jnp.linalg.svd(centred, full_matrices=False)[2][0]
    map = jnp.einsum("pc,c->p", centred, first, precision="highest")
    return jnp.where(jnp.vdot(map, jnp.mean(centred, 1)) >= 0, map, -map)


CAMS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "grad_cam": _grad_cam,
    "grad_cam_plus_plus": _plus_plus,
    "hires_cam": lambda a, g: jnp.sum(a * g, -1),
    "layer_cam": lambda a, g: jnp.sum(a * jnp.maximum(g, 0), -1),
    "x_grad_cam": _x_grad_cam,
    "eigen_cam": _eigen_cam,
}
"""From a layer's values and gradients `[positions, channels]` to the map `[positions]`."""


def _rows(value: Value, subject: Subject, x: jax.Array) -> jax.Array:
    """A layer's value as `[*space, channels]`, the space in the image's order and direction."""
    order = ("b" if "b" in value.roles else "") + subject.image.space + "c"
    x = jnp.flip(x.reshape(value.shape), [value.axis(role) for role in value.reversed])
    x = jnp.transpose(x, value.axes(order))
    return x.reshape(x.shape[-len(subject.image.space) - 1 :])


def _sized(map: jax.Array, subject: Subject, resize: Any) -> jax.Array:
    if resize is False:
        return map
    shape = [subject.image.size(role) for role in subject.image.space]
    return jax.image.resize(map, shape, "nearest" if resize == "nearest" else "bilinear")


def cam(name: str, layer: str, value: Value, *, relu: bool, resize: Any) -> Oracle:
    """A CAM of the value of that name, of these axes."""

    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        def score(added: jax.Array) -> tuple[jax.Array, jax.Array]:
            hooks = Hooks(add={layer: added})
            return subject.hooked(hooks, image), hooks.seen[layer]

        g, a = jax.grad(score, has_aux=True)(jnp.zeros(value.shape))
        a, g = (_rows(value, subject, x) for x in (a, g))
        map = CAMS[name](*(x.reshape(-1, x.shape[-1]) for x in (a, g))).reshape(a.shape[:-1])
        return _sized(jnp.maximum(map, 0) if relu else map, subject, resize)

    return oracle


def score_cam(layer: str, value: Value, *, relu: bool, resize: Any) -> Oracle:
    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        hooks = Hooks()
        subject.hooked(hooks, image)
        a = _rows(value, subject, hooks.seen[layer])
        others = [i for i, role in enumerate(subject.image.roles) if role == "c"]

        def seen(channel: jax.Array) -> jax.Array:
            mask = _sized(channel, subject, True)
            mask = (mask - jnp.min(mask)) / (jnp.max(mask) - jnp.min(mask) + 1e-8)
            return subject.score(image * jnp.expand_dims(mask, others))

        weights = jax.nn.softmax(lax.map(seen, jnp.moveaxis(a, -1, 0)))
        map = jnp.einsum("...c,c->...", a, weights, precision="highest")
        return _sized(jnp.maximum(map, 0) if relu else map, subject, resize)

    return oracle


def guided_grad_cam(layer: str, value: Value, *, resize: Any) -> Oracle:
    mask = cam("grad_cam", layer, value, relu=True, resize=resize)

    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        others = [i for i, role in enumerate(subject.image.roles) if role == "c"]
        weights = jnp.expand_dims(mask(subject, image, key), others)
        return guided_backprop(subject, image, key) * weights

    return oracle


def called(method: Callable[..., Any], keyed: bool) -> Oracle:
    """Where no plain form is at hand: the method itself of a score by hand, not rewritten."""

    def oracle(subject: Subject, image: jax.Array, key: Any) -> jax.Array:
        def score(image: jax.Array) -> jax.Array:
            return subject.score(image)

        score.rewrite = False  # type: ignore[attr-defined]
        score.spatial_axes = subject.axes  # type: ignore[attr-defined]
        return method(score, image, **({"key": key} if keyed else {}))

    return oracle
