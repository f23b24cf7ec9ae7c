"""Maps, rewritten and not, against plain JAX; and by which tolerance they are judged."""

import contextlib
import itertools
import warnings
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxsal
from tests.random_networks.draws import Draw, Hooks
from tests.random_networks.forced import forced
from tests.random_networks.networks import Network
from tests.random_networks.oracles import Subject
from tests.random_networks.questions import Question

TOLERANCE = 1e-5
"""Of the map's maximum."""

ROUNDED = 2e-2
"""The same where a network rounds to bfloat16 or float16."""

MOVED = {False: 1e-6, True: 4e-3}
"""By how much of itself each input moves where sensitivity is measured; rounded networks: more."""

FACTOR = 4.0
"""A difference of so many times what plain JAX moves by is no fault."""

DRAWS = 6


class Setting(NamedTuple):
    """How a network is asked.

    Attributes:
        targets: an int, one an image, None or "all".
        objective: of the explainer.
        batch_size: likewise.
        keys: the words of one key, or of one an image.
        together: whether the methods are one program.
        forced: whether rewrites are made where they do not pay.
        checked: whether the explainer checks values, which takes a program more.
    """

    targets: Any
    objective: Any
    batch_size: Any
    keys: Any
    together: bool
    forced: bool
    checked: bool

    def words(self) -> str:
        objective = getattr(self.objective, "__name__", None)
        how = "together" if self.together else "alone"
        how += " forced" if self.forced else ""
        return (
            f"targets={self.targets!r} objective={objective} batch_size={self.batch_size!r} {how}"
        )


class Difference(NamedTuple):
    """What differs.

    Attributes:
        where: the method, or `logits`, and between what.
        size: the largest difference, in units of the map's maximum; infinite for other NaN.
        own: by how much plain JAX moves, in the same units, times `FACTOR`; 0 if not measured.
        wrong: whether it is more than the tolerance and more than that.
        why: in words, where it is no number.
    """

    where: str
    size: float
    own: float
    wrong: bool
    why: str = ""


NOT_FINITE = Difference("JAX", np.inf, np.inf, False, "is not finite by itself")
"""Of a network that has neither root nor logarithm."""

ANOTHER_WAY = "each is what some way to run plain JAX gives"

FORMS = ("rewritten", "not rewritten", "JAX")


def probability(logits: jax.Array, target: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits)[target]


def contrast(logits: jax.Array, target: jax.Array) -> jax.Array:
    return logits[target] - logits[(target + 1) % logits.shape[0]]


def setting(draw: Draw, network: Network) -> Setting:
    targets = draw.pick(["one", "each", "each", None, "all"])
    if targets == "one":
        targets = draw.integer(0, network.classes - 1)
    elif targets == "each":
        targets = draw.rng.integers(0, network.classes, 2).astype(np.int32)
    keys = draw.rng.integers(0, 2**32, (2, 2) if draw.chance(0.3) else 2, np.uint32)
    binary = "_head(1)" in network.name
    objective = None if binary else draw.pick([None, None, None, probability, contrast])
    size = draw.pick(["auto", 1, 2, 2, 3, 5, 7])  # "auto" compiles once more, to measure
    return Setting(
        targets, objective, size, keys, draw.chance(0.9), draw.chance(0.6), draw.chance(0.2)
    )


def compare(network: Network, asked: list[Question], how: Setting) -> tuple[list[Difference], int]:
    """The differences beyond the tolerance, and how many maps were compared."""
    try:
        with forced() if how.forced else contextlib.nullcontext():
            rewritten, targets, logits = _explained(network, asked, how, True)
        plain_maps, _, _ = _explained(network, asked, how, False)
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return [Difference("raises", np.inf, 0.0, not _raises(network, asked, how), why)], 1
    oracle = Plain(network, asked, how, targets)
    expected = _of_no_class(oracle(network.params, network.images), targets)
    found = [] if _finite(expected) or "nan" in network.marks else [NOT_FINITE]
    both = ("rewritten", logits), ("JAX", expected["logits"])
    found += hold("logits", *both, oracle, "logits")
    for number, each in enumerate(asked):
        maps = rewritten[number], plain_maps[number], expected[str(number)]
        for one, other in itertools.combinations(zip(FORMS, maps, strict=True), 2):
            found += hold(each.words(), one, other, oracle, str(number))
    return found, 3 * len(asked) + 1


def _of_no_class(results: dict[str, np.ndarray], targets: np.ndarray) -> dict[str, np.ndarray]:
    """With NaN for the maps of an image that NaN logits predict no class of: its target is -1."""

    def maps(name: str, each: np.ndarray) -> np.ndarray:
        if name == "logits":
            return each
        none = np.reshape(targets == -1, targets.shape + (1,) * (each.ndim - targets.ndim))
        return np.where(none, np.nan, each)

    return {name: maps(name, each) for name, each in results.items()}


def _finite(expected: dict[str, np.ndarray]) -> bool:
    return all(np.isfinite(each).all() for each in expected.values())


def _explained(
    network: Network, asked: list[Question], how: Setting, rewrite: bool
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Maps of each question, with the targets and the logits."""
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("device",))
    about = {"objective": how.objective, "batch_size": how.batch_size, "mesh": mesh}
    checked = how.checked and rewrite and "meets" not in network.marks
    about |= {"rewrite": rewrite, "check": checked}
    # Read in the program where that can be, and told where it cannot.
    space = network.image.axes(network.image.space)
    about["spatial_axes"] = None if network.first_slides else space
    keys = {"key": jax.random.wrap_key_data(how.keys)}
    keys = keys if any(each.keyed for each in asked) else {}
    given = (network.params, network.images, how.targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how.together:
            methods = {str(i): each.bound for i, each in enumerate(asked)}
            record = jaxsal.explainer(network.apply, methods, **about).record(*given, **keys)
            maps = [record.maps[str(i)] for i in range(len(asked))]
        else:
            maps = []
            for each in asked:
                explain = jaxsal.explainer(network.apply, each.method, **about, **each.options)
                record = explain.record(*given, **(keys if each.keyed else {}))
                maps.append(record.maps)
    record, maps = jax.device_get((record, maps))
    return maps, np.asarray(record.targets), record.logits


def _raises(network: Network, asked: list[Question], how: Setting) -> bool:
    """Whether plain JAX does not compile the network either."""
    oracle = Plain(network, asked, how, np.zeros(len(network.images), np.int32))
    try:
        oracle(network.params, network.images)
    except Exception:
        return True
    return False


class Plain:
    """The oracles of all questions and the logits, as one program of loops over images."""

    def __init__(
        self, network: Network, asked: list[Question], how: Setting, targets: np.ndarray
    ) -> None:
        self.network, self.asked, self.how = network, asked, how
        self.half = "half" in network.marks
        self.lead = targets.shape
        each = self.lead[1] if len(self.lead) == 2 else 1
        self.targets = targets.reshape(-1).astype(np.int32)
        self.rows = np.repeat(np.arange(len(network.images)), each)
        self.program = jax.jit(self.run)
        self._others: list[dict[str, np.ndarray]] = []
        self._eager: Any = None
        self._batched: Any = None

    def __call__(self, params: Any, images: Any) -> dict[str, np.ndarray]:
        return jax.device_get(self.program(params, images))

    def run(self, params: Any, images: Any) -> dict[str, jax.Array]:
        network, objective = self.network, self.how.objective or target_logit

        def one(row: Any) -> dict[str, jax.Array]:
            image, target, words = row

            def hooked(hooks: Hooks, image: jax.Array) -> jax.Array:
                return objective(network.one(hooks, params, image), target)

            subject, key = Subject(hooked, network.image), jax.random.wrap_key_data(words)
            return {str(i): q.oracle(subject, image, key) for i, q in enumerate(self.asked)}

        rows = (jnp.asarray(images)[self.rows], self.targets, self._keys()[self.rows])
        maps = lax.map(one, rows)
        maps = {name: each.reshape(*self.lead, *each.shape[1:]) for name, each in maps.items()}
        logits = lax.map(lambda x: network.one(Hooks(), params, x), jnp.asarray(images))
        return maps | {"logits": logits}

    def _keys(self) -> jax.Array:
        """The words of each image's own key."""
        if self.how.keys.ndim == 2:
            return jnp.asarray(self.how.keys)
        one = jax.random.wrap_key_data(jnp.asarray(self.how.keys))
        keys = jax.vmap(jax.random.fold_in, (None, 0))(one, jnp.arange(len(self.network.images)))
        return jax.random.key_data(keys)

    def moved(self, name: str, *, eager: bool) -> float:
        """By how much a result moves when the inputs do by a little, of its own maximum.

        With `eager`, also by how much it differs where every operation is a program of its own.
        """
        if not self._others:
            self._base = self(self.network.params, self.network.images)
            rng = np.random.default_rng(0)
            self._others = [self(*self._nudged(rng)) for _ in range(DRAWS)]
        others = self._others + ([self.eager()] if eager else [])
        return max(_apart(other[name], self._base[name]) for other in others)

    def eager(self) -> dict[str, np.ndarray]:
        """The results where every operation is a program of its own."""
        if self._eager is None:
            with jax.disable_jit():
                found = self.run(self.network.params, self.network.images)
            self._eager = jax.device_get(found)
        return self._eager

    def batched(self) -> dict[str, np.ndarray]:
        """The results where all points are one batch."""
        if self._batched is None:
            with mock.patch.object(lax, "map", lambda f, xs, **_: jax.vmap(f)(xs)):
                program = jax.jit(lambda params, images: self.run(params, images))
                found = program(self.network.params, self.network.images)
            self._batched = jax.device_get(found)
        return self._batched

    def gives(self, form: str, result: np.ndarray, name: str) -> bool:
        """Whether some way to run plain JAX gives this result.

        What is not rewritten is plain JAX too, in batches that none of the ways has: it is right
        if operation by operation it is what plain JAX is.
        """
        tolerance = ROUNDED if self.half else TOLERANCE
        ways = (lambda: self._base, self.eager, self.batched)
        if any(_apart(result, way()[name]) <= tolerance for way in ways):
            return True
        if form != "not rewritten":
            return False
        with jax.disable_jit():
            maps, _, _ = _explained(self.network, self.asked, self.how, False)
        return _apart(maps[int(name)], self.eager()[name]) <= tolerance

    def _nudged(self, rng: np.random.Generator) -> Any:
        given = (self.network.params, self.network.images)
        amount = MOVED[self.half]
        return jax.tree.map(
            lambda x: (x * (1 + amount * rng.choice([-1, 1], np.shape(x)))).astype(np.float32),
            given,
        )


def target_logit(logits: jax.Array, target: jax.Array) -> jax.Array:
    """The target's logit; of one logit z for class 1, its negative for class 0."""
    if logits.shape[0] == 1:
        return logits[0] * jnp.where(target == 1, 1.0, -1.0)
    return logits[target]


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, of the other's maximum; infinite where one alone is finite."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape:
        return np.inf
    finite = np.isfinite(other)
    if (np.isfinite(one) != finite).any():
        return np.inf
    if not finite.any():
        return 0.0
    largest = np.abs(other[finite]).max()
    apart = np.abs(one[finite] - other[finite]).max()
    return 0.0 if apart == 0 else float(apart / max(largest, 1e-30))


def hold(
    what: str, one: tuple[str, Any], other: tuple[str, Any], oracle: Plain, name: str
) -> list[Difference]:
    """The difference of two forms' results, if it is beyond the tolerance."""
    (form, x), (other_form, y) = one, other
    where, size = f"{what}: {form} / {other_form}", _apart(x, y)
    if size <= (ROUNDED if oracle.half else TOLERANCE):
        return []
    if np.shape(x) != np.shape(y):
        return [Difference(where, size, 0.0, True, f"shapes {np.shape(x)}, {np.shape(y)}")]
    why = ""
    if np.isinf(size):
        why = f"finite {np.isfinite(x).sum()} and {np.isfinite(y).sum()} of {np.size(x)}"
    own = FACTOR * oracle.moved(name, eager=False)
    if size > own and np.isfinite(size):
        own = FACTOR * oracle.moved(name, eager=True)
    if not size <= own and all(oracle.gives(*each, name) for each in (one, other)):
        return [Difference(where, size, own, False, ANOTHER_WAY)]
    return [Difference(where, size, own, not size <= own, why)]
