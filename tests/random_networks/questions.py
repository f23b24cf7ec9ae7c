"""What a network is asked: methods and options at random, such that all come round equally."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxsal
from tests.random_networks import oracles
from tests.random_networks.draws import Draw, Hooks
from tests.random_networks.networks import Network
from tests.random_networks.oracles import Oracle

GUIDED = ("guided_backprop", "deconvnet", "guided_grad_cam")
CAMS = (*oracles.CAMS, "score_cam", "guided_grad_cam")
ALONE = ("gradient", "input_x_gradient", "guided_backprop", "deconvnet")
PATHS = ("integrated_gradients", "expected_gradients")
WITHOUT_GRADIENT = ("occlusion", "feature_ablation", "rise", "score_cam")
"""What a network is asked that has no gradient."""

NAMES = (
    *ALONE,
    *PATHS,
    *(name for name in jaxsal.METHODS if name in CAMS),
    *("occlusion", "feature_ablation", "rise"),
    *jaxsal.COMBINATORS,
)
"""What there is an oracle of; later methods have reference arrays and axioms alone."""

LAYERED = (*CAMS, *GUIDED, *jaxsal.COMBINATORS)
"""What may have no layer, or no ReLU, to work on."""

EACH = 2
"""Methods a network is asked."""


class Question(NamedTuple):
    """A method with its options, and what it is held against.

    Attributes:
        name: of the method.
        method: jaxsal's function.
        options: bound to it, or given to the explainer where it stands alone.
        oracle: the same in plain JAX.
        keyed: whether it draws random numbers.
        plain: whether the oracle shares no code with jaxsal.
    """

    name: str
    method: Callable[..., Any]
    options: dict[str, Any]
    oracle: Oracle
    keyed: bool = False
    plain: bool = True

    @property
    def bound(self) -> Callable[..., Any]:
        return functools.partial(self.method, **self.options) if self.options else self.method

    def words(self) -> str:
        shown = {k: v for k, v in self.options.items() if not isinstance(v, np.ndarray)}
        inner = (
            getattr(self.method, "__name__", self.name) if self.name in STATISTICS else self.name
        )
        return f"{inner}({', '.join(f'{k}={_short(v)}' for k, v in shown.items())})"


STATISTICS = jaxsal.COMBINATORS


def _short(value: Any) -> str:
    return getattr(value, "__name__", repr(value))


def names(seed: int, number: int, free: bool) -> list[str]:
    """The methods of network `number`: round after round of all of them, each in another order."""
    table = WITHOUT_GRADIENT if free else NAMES
    count = min(EACH, len(table))
    first, found = number * count, []
    for place in range(first, first + count):
        order = np.random.default_rng([seed, free, place // len(table)]).permutation(len(table))
        found.append(table[order[place % len(table)]])
    return list(dict.fromkeys(found))


def needs(asked: list[str]) -> frozenset[str]:
    """What layers a network must have to be asked these, and what it had best be like."""
    relu = {"relu"} if any(name in GUIDED for name in asked) else set()
    conv = {"conv"} if any(name in CAMS for name in asked) else set()
    local = {"local"} if "occlusion" in asked else set()
    affine = {"affine"} if "integrated_gradients" in asked else set()
    return frozenset(relu | conv | local | affine)


def question(draw: Draw, name: str, network: Network) -> Question:
    """A method with options that suit the network's image."""
    if name in STATISTICS:
        return _statistic(draw, name, network)
    if name in CAMS:
        return _cam(draw, name, network)
    return _MAKERS[name](draw, network)


def _gradient(name: str, draw: Draw, network: Network) -> Question:
    return Question(name, jaxsal.METHODS[name], {}, getattr(oracles, name))


def _baseline(draw: Draw, network: Network) -> Any:
    shape = network.image.shape
    return draw.pick([0.0, 0.0, 0.25, np.float32(-0.5), draw.normal(*shape), jnp.min, jnp.mean])


def _made(
    name: str, draw: Draw, options: dict[str, Any], defaults: dict[str, Any], *, keyed: bool = False
) -> Question:
    """A question of a method with these options, and sometimes a chunk of its own."""
    oracle = getattr(oracles, name)(**{**defaults, **options})
    options = {**options, "chunk": draw.integer(1, 5)} if draw.chance(0.3) else options
    return Question(name, jaxsal.METHODS[name], options, oracle, keyed)


def _integrated(draw: Draw, network: Network) -> Question:
    options = {"steps": draw.integer(2, 4)}
    if draw.chance(0.6):
        options["baseline"] = _baseline(draw, network)
    if draw.chance(0.5):
        kinds = ("left", "right", "middle", "trapezoid")
        options["rule"] = draw.pick([f"riemann_{kind}" for kind in kinds])
    return _made("integrated_gradients", draw, options, {"baseline": 0.0, "rule": "gausslegendre"})


def _expected(draw: Draw, network: Network) -> Question:
    baselines = draw.normal(draw.integer(1, 3), *network.image.shape, scale=0.5)
    options = {"baselines": baselines, "samples": draw.integer(2, 4)}
    if draw.chance(0.5):
        options["noise"] = draw.pick([0.1, np.float32(0.2)])
    return _made("expected_gradients", draw, options, {"noise": 0.0}, keyed=True)


def _lengths(network: Network) -> tuple[int, ...]:
    return tuple(map(network.image.size, network.image.space))


def _occlusion(draw: Draw, network: Network) -> Question:
    lengths = _lengths(network)
    most = 3 if len(lengths) < 3 else 2
    window: Any = tuple(draw.integer(1, min(most, n)) for n in lengths)
    if np.prod([-(-n // w) for n, w in zip(lengths, window, strict=True)]) > 60:
        window = tuple(min(most, n) for n in lengths)
    if draw.chance(0.4):
        window = min(most, *lengths) if len(lengths) > 1 else min(most, lengths[0])
    options = {"window": window}
    if draw.chance(0.4) and np.prod(lengths) < 60:
        size = window if isinstance(window, tuple) else (window,) * len(lengths)
        options["stride"] = tuple(draw.integer(1, w) for w in size)
    if draw.chance(0.5):
        options["baseline"] = _baseline(draw, network)
    return _made("occlusion", draw, options, {"stride": None, "baseline": 0.0})


def _ablation(draw: Draw, network: Network) -> Question:
    shape = network.image.shape if draw.chance(0.5) else _lengths(network)
    options: dict[str, Any] = {"segments": draw.rng.integers(-1, 4, shape) * 3}
    if draw.chance(0.5):
        options["baseline"] = _baseline(draw, network)
    return _made("feature_ablation", draw, options, {"baseline": 0.0})


def _rise(draw: Draw, network: Network) -> Question:
    options = {"samples": draw.integer(2, 5), "grid": draw.integer(1, 4)}
    if draw.chance(0.5):
        options["keep"] = draw.pick([0.3, 1.0, np.float32(0.7)])
    if draw.chance(0.4):
        options["baseline"] = _baseline(draw, network)
    return _made("rise", draw, options, {"keep": 0.5, "baseline": 0.0}, keyed=True)


def _statistic(draw: Draw, name: str, network: Network) -> Question:
    """A combinator over a method of any kind, a random one and a CAM among them."""
    inners = ["gradient", "gradient", "gradient", "input_x_gradient", "integrated_gradients"]
    inners += ["expected_gradients"] + ["grad_cam"] * ("conv" in network.marks)
    inners += ["guided_backprop"] * ("relu" in network.marks)
    inner = question(draw, draw.pick(inners), network)
    options = {key: value for key, value in inner.options.items() if key != "chunk"}
    about = {"samples": draw.integer(2, 4)}
    about |= {"noise": draw.pick([0.1, 0.3, np.float32(0.2)]), "relative": draw.chance(0.6)}
    method = jaxsal.COMBINATORS[name](functools.partial(inner.method, **options), **about)
    oracle = oracles.noisy(name, inner.oracle, keyed=inner.keyed, **about)
    chunk = {"chunk": draw.integer(1, 3)} if draw.chance(0.3) else {}
    return Question(name, method, chunk, oracle, True, inner.plain)


def _cam(draw: Draw, name: str, network: Network) -> Question:
    """By no layer, a number, or a name; by a name it has a plain form, if the image's axes are."""
    space = set(network.image.space)
    taps = [tap for tap in network.taps if set(tap.value.space) == space]
    options: dict[str, Any] = {}
    if name != "guided_grad_cam" and draw.chance(0.4):
        options["relu"] = False
    if draw.chance(0.5):
        options["resize"] = draw.pick(["nearest", "bilinear", True, False])
        if name == "guided_grad_cam" and options["resize"] in (True, False):
            options["resize"] = "bilinear"
    method, how = jaxsal.METHODS[name], draw.pick(["tap", "tap", "number", "none"])
    resize = options.get("resize", "nearest" if name == "guided_grad_cam" else True)
    if how == "tap" and taps:
        tap = draw.pick(taps)
        options["layer"] = tap.name
        if network.first_slides:
            about = {"resize": resize}
            about |= {} if name == "guided_grad_cam" else {"relu": options.get("relu", True)}
            if name in ("score_cam", "guided_grad_cam"):
                oracle = getattr(oracles, name)(*tap, **about)
            else:
                oracle = oracles.cam(name, *tap, **about)
            return Question(name, method, options, oracle)
    elif how == "number":
        options["layer"] = draw.pick([0, -1])
    return Question(
        name,
        method,
        options,
        oracles.called(functools.partial(method, **options), False),
        False,
        False,
    )


_MAKERS: dict[str, Callable[[Draw, Network], Question]] = {
    name: functools.partial(_gradient, name) for name in ALONE
} | {
    "integrated_gradients": _integrated,
    "expected_gradients": _expected,
    "occlusion": _occlusion,
    "feature_ablation": _ablation,
    "rise": _rise,
}


def refused(asked: Question, network: Network) -> str:
    """Why the method cannot be asked of this network, by its own words; else empty.

    Of its batch and of its one image: a `cond` is a `select` under `vmap`, and cut there alone.
    """
    programs = (
        lambda image: network.apply(network.params, image[None]),
        lambda image: network.one(Hooks(), network.params, image),
    )
    return next((why for each in programs if (why := _refused(asked, network, each))), "")


def _refused(asked: Question, network: Network, logits: Callable[[Any], Any]) -> str:
    def score(image: jax.Array) -> jax.Array:
        return jnp.sum(logits(image))

    score.spatial_axes = network.image.axes(network.image.space)  # type: ignore[attr-defined]
    keys = {"key": jax.random.key(0)} if asked.keyed else {}
    try:
        jax.eval_shape(functools.partial(asked.bound, score, **keys), network.images[0])
    except Exception as error:  # another than these is found again when the network is asked
        return str(error) if str(error).startswith(("layer:", "score:")) else ""
    return ""
