"""Errors say what to write: on the real packages, by shapes alone, before anything is compiled."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, struct
from flax.training.train_state import TrainState
from jax.example_libraries import stax
from jaxtyping import Array

import jaxsal
from tests import toy

KEY = jax.random.key(0)
X = toy.images(2)


def explain(apply: Any, params: Any, images: Any = X) -> Callable[[], Any]:
    return lambda: jaxsal.explainer(apply, jaxsal.gradient)(params, images, 0)


class Linen(nn.Module):
    """Batch norm and dropout, with the switch that most modules have."""

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x).mean((1, 2)))


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x).mean((1, 2)))


class Unsaid(nn.Module):
    layer: type[nn.Module]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = self.layer(0.5)(x) if self.layer is nn.Dropout else self.layer()(x)
        return nn.Dense(3)(x.mean((1, 2)))


linen, dropping = Linen(), Dropping()
VARIABLES = jax.eval_shape(linen.init, KEY, X)
DROPPED = jax.eval_shape(functools.partial(dropping.init, train=False), KEY, X)
STATE = TrainState.create(
    apply_fn=linen.apply,
    params=jax.tree.map(lambda x: jnp.zeros(x.shape), VARIABLES["params"]),
    tx=optax.sgd(0.1),
)


def linen_with(**options: Any) -> Callable[[Any, Any], Any]:
    return lambda variables, x: linen.apply(variables, x, **options)


LINEN = {
    "a module as apply": (
        explain(linen, VARIABLES),
        r"Flax Linen module \(Linen\): .*module\.apply",
    ),
    "a bound module as params": (
        explain(lambda m, x: m(x), linen.bind(VARIABLES)),
        r"params: .*Flax Linen module \(Linen\): .*module\.apply, method\)\(variables",
    ),
    "logits and updates": (
        explain(linen_with(mutable=["batch_stats"]), VARIABLES),
        r"tuple of 2 \(float32\[1, 3\], dict\); return its \[0\]",
    ),
    "batch norm in training": (explain(linen_with(train=True), VARIABLES), "training.*train=False"),
    "dropout in training": (
        explain(lambda v, x: dropping.apply(v, x, True), DROPPED),
        "training.*train=False.*deterministic=True",
    ),
    "a switch that is missing": (explain(dropping.apply, DROPPED), r"apply\(.*, x, train=False\)"),
    "a batch norm that was told nothing": (
        explain(Unsaid(nn.BatchNorm).apply, VARIABLES),
        "write use_running_average=True",
    ),
    "a dropout that was told nothing": (
        explain(Unsaid(nn.Dropout).apply, DROPPED),
        "write deterministic=True",
    ),
    "the parameters alone": (
        explain(linen.apply, VARIABLES["params"]),
        r'write \{"params": params\} as params',
    ),
    "no statistics": (
        explain(linen.apply, {"params": VARIABLES["params"]}),
        r'write \{"params": params, "batch_stats": ...\} as params',
    ),
    "a train state as params": (
        explain(linen.apply, STATE),
        r'\{"params": state.params\} as params rather than the TrainState',
    ),
    "a train state as apply": (
        explain(STATE, VARIABLES),
        "apply: .*TrainState: write its apply_fn",
    ),
}


class NNX(nnx.Module):
    def __init__(self, norm: bool, drop: bool):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs) if norm else None
        self.drop = nnx.Dropout(0.5, rngs=rngs) if drop else None
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        x = x if self.drop is None else self.drop(x)
        return self.dense(x.mean((1, 2)))


normed, dropped = NNX(True, False), NNX(False, True)
graph, state = nnx.split(normed)

NNX_MODULES = {
    "batch norm in training": (explain(lambda m, x: m(x), normed), r"write model\.eval\(\)"),
    "dropout in training": (explain(lambda m, x: m(x), dropped), r"write model\.eval\(\)"),
    "split in training": (
        explain(lambda s, x: nnx.merge(graph, s)(x), state),
        r"write model\.eval\(\).*nnx\.split",
    ),
    "a module as apply": (explain(normed, state), r"NNX module \(NNX\): .*lambda m, x: m\(x\)"),
    "a part of the state": (
        explain(lambda s, x: nnx.merge(graph, s)(x), nnx.split(normed, nnx.Param, ...)[1]),
        r"nnx\.split\(module\) with no filter",
    ),
}


class Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout
    dense: eqx.nn.Linear

    def __init__(self):
        self.conv, self.norm = eqx.nn.Conv2d(1, 4, 3, key=KEY), eqx.nn.BatchNorm(4, "b", mode="ema")
        self.drop, self.dense = eqx.nn.Dropout(0.5), eqx.nn.Linear(4, 3, key=KEY)

    def __call__(self, x: Array, state: eqx.nn.State) -> tuple[Array, eqx.nn.State]:
        x, state = self.norm(self.conv(x), state)
        return self.dense(self.drop(x).mean((1, 2))), state


FIRST = np.moveaxis(X, -1, 1)
PAIR = eqx.filter_eval_shape(eqx.nn.make_with_state(Equinox))
CONV = eqx.filter_eval_shape(eqx.nn.Conv2d, 1, 3, 3, key=KEY)


def both(pair: Any, images: Array, **options: Any) -> Any:
    return jax.vmap(pair[0], (0, None), (0, None), **options)(images, pair[1])


EQUINOX = {
    "a module as apply": (explain(CONV, {}, FIRST), r"Equinox module \(Conv2d\): .*jax\.vmap\(m\)"),
    "a module's vmap as apply": (
        explain(jax.vmap(CONV), {"w": X}, FIRST),
        r"Equinox module \(Conv2d\): .*\(model, images\)",
    ),
    "dropout in training": (
        explain(lambda p, x: both(p, x, axis_name="b")[0], PAIR, FIRST),
        r"write model = eqx\.nn\.inference_mode\(model\)",
    ),
    "batch norm in training": (
        explain(lambda p, x: both(p, x)[0], PAIR, FIRST),
        r"write model = eqx\.nn\.inference_mode\(model\)",
    ),
    "logits and state": (
        explain(both, eqx.nn.inference_mode(PAIR), FIRST),
        r"tuple of 2 \(float32\[1, 3\], State\); return its \[0\]",
    ),
    "a batch for one image": (explain(lambda m, x: m(x), CONV, FIRST), r"write lambda .*jax\.vmap"),
    "logits of one image": (
        explain(lambda m, x: m(x[0]).mean((1, 2)), CONV, FIRST),
        r"float32\[3\]; return a row an image \(.*jax\.vmap",
    ),
    "no state": (
        explain(lambda m, x: jax.vmap(m.norm)(x), eqx.nn.inference_mode(PAIR)[0], FIRST),
        r"write \(model, state\) as params",
    ),
}


def network(x: Array, is_training: bool = False) -> Array:
    x = hk.BatchNorm(True, True, 0.9)(hk.Conv2D(4, 3)(x), is_training)
    return hk.Linear(3)(x.mean((1, 2)))


def dropping_network(x: Array) -> Array:
    return hk.Linear(3)(hk.dropout(hk.next_rng_key(), 0.5, x).mean((1, 2)))


with_state, plain = hk.transform_with_state(network), hk.transform(dropping_network)
with jax.numpy_dtype_promotion("standard"):
    BOTH = jax.eval_shape(functools.partial(with_state.init, is_training=True), KEY, X)
    PARAMS = jax.eval_shape(plain.init, KEY, X)
no_key = hk.without_apply_rng(with_state).apply

HAIKU = {
    "both functions as apply": (
        explain(plain, PARAMS),
        r"hk\.without_apply_rng\(transformed\)\.ap",
    ),
    "both, with state": (explain(with_state, BOTH), r"f\.apply\(\*params, x\)\[0\].*\(params, sta"),
    "a key that it wants": (explain(plain.apply, PARAMS), r"write hk\.without_apply_rng"),
    "params and state as one": (explain(no_key, BOTH), r"f\.apply\(\*params, x\)\[0\] as apply"),
    "params without state": (explain(no_key, BOTH[0]), r"and \(params, state\) as params"),
    "logits and state": (
        explain(lambda p, x: no_key(*p, x), BOTH),
        r"tuple of 2 \(float32\[1, 3\], dict\); return its \[0\]",
    ),
    "dropout in training": (
        explain(hk.without_apply_rng(plain).apply, PARAMS),
        "training.*is_training=False",
    ),
    "not transformed": (
        explain(lambda p, x: network(x), {}),
        r"hk\.without_apply_rng.*init return",
    ),
}

stax_init, stax_apply = stax.serial(stax.Dropout(0.5), stax.Flatten, stax.Dense(3))
OTHER = {
    "Stax's pair as apply": (explain((stax_init, stax_apply), {}), "apply: .*pair .*the second"),
    "Stax's dropout": (
        explain(stax_apply, jax.eval_shape(lambda k: stax_init(k, (1, 8, 8, 1))[1], KEY)),
        r'stax\.Dropout\(rate, mode="test"\)',
    ),
    "NumPy in apply": (
        explain(lambda p, x: np.asarray(x).reshape(1, -1) @ p, np.ones((64, 3), np.float32)),
        r"write jax\.numpy",
    ),
    "a flag among arrays": (
        explain(lambda p, x: x[:, 0, :, 0] if p["flag"] else 0, {"flag": True}),
        r"functools\.partial",
    ),
    "a branch of Python's": (
        explain(lambda p, x: x[:, 0, :, 0] if x.sum() > 0 else x[:, :, 0, 0], {"w": X}),
        r"write jnp\.where or jax\.lax\.cond",
    ),
    "an axis without a name": (
        explain(lambda p, x: jax.lax.pmean(x, "batch")[:, 0, :, 0], {"w": X}),
        r"it raised NameError: [^;]*$",
    ),
}


class Outputs(NamedTuple):
    features: Any
    logits: Any


@struct.dataclass
class Registered:
    logits: Any
    hidden: Any


@dataclasses.dataclass
class Unregistered:
    hidden: Any
    logits: Any


class Mapping(dict):
    """A dict with attributes, as models of Hugging Face return it."""

    def __init__(self, **values: Any):
        super().__init__(values)
        self.__dict__.update(values)


def returning(make: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    return explain(lambda p, x: make(toy.apply(p, x), x), toy.params())


RETURNED = {
    "a tuple": (returning(lambda z, x: (z, x)), r"float32\[1, 8, 8, 1\]\); return its \[0\]$"),
    "logits behind": (returning(lambda z, x: [x, z]), r"list of 2 \(.*\); return its \[1\]$"),
    "many": (
        returning(lambda z, x: (z, x, x, x, x)),
        r"tuple of 5 \(.*, \.\.\.\); return its \[0\]",
    ),
    "a dict": (
        returning(lambda z, x: {"a": x, "z": z}),
        r'dict of 2 \(a: .*\); return its \["z"\]$',
    ),
    "two of a shape": (
        returning(lambda z, x: {"aux": z, "logits": z}),
        r'return its \["logits"\]$',
    ),
    "a named tuple": (
        returning(lambda z, x: Outputs(x, z)),
        r"Outputs of 2 .*return its \.logits$",
    ),
    "a dataclass": (returning(Registered), r"Registered of 2 .*return its \.logits$"),
    "one that JAX does not know": (
        returning(lambda z, x: Unregistered(x, z)),
        r"Unregistered of 2 \(hidden: .*return its \.logits$",
    ),
    "a mapping with attributes": (
        returning(lambda z, x: Mapping(logits=z, hidden=None)),
        r"Mapping of 2 \(logits: float32\[1, 3\], hidden: NoneType\); return its \.logits$",
    ),
    "nothing": (returning(lambda z, x: None), "got None; return them"),
    "one vector": (returning(lambda z, x: z[0]), r"got float32\[3\]; return a row an image"),
    "nothing of a kind": (returning(lambda z, x: (x, x)), r"tuple of 2 \(.*8, 1\]\)$"),
}

PACKAGES = {
    "linen": LINEN,
    "nnx": NNX_MODULES,
    "equinox": EQUINOX,
    "haiku": HAIKU,
    "other": OTHER,
    "returned": RETURNED,
}
CASES = {f"{p}: {name}": case for p, cases in PACKAGES.items() for name, case in cases.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_error_says_what_to_write(name: str) -> None:
    """It names the argument, what came and what to write, and fits a screen."""
    call, expected = CASES[name]
    with (
        toy.compilations() as compiled,
        pytest.raises((TypeError, ValueError), match=expected) as e,
    ):
        call()
    text = str(e.value)
    assert compiled.count in (0, 2)  # 2: images were tried together and alone
    assert text.startswith(("apply: ", "params: "))
    assert len(text) < 700 and "\n" not in text and "ShapeDtypeStruct" not in text


def foreign(package: str, name: str, **members: Any) -> Any:
    """An object of a package that is not here: types are known by their names."""
    base = type(name, (), {"__module__": f"{package}.deep.inside", **members})
    return type("Mine", (base,), {"__module__": "users.own"})()


@pytest.mark.parametrize(
    "package, name, write",
    [
        (
            "keras.src",
            "Layer",
            r"a Keras model \(Mine\): write .*stateless_call\(\*params, x\)\[0\]",
        ),
        (
            "torch",
            "Module",
            r"a PyTorch module \(Mine\): write .*a function of JAX.*state_dict\(\)",
        ),
        ("tensorflow", "Module", r"a TensorFlow module \(Mine\): .*KERAS_BACKEND=jax"),
        (
            "transformers",
            "FlaxPreTrainedModel",
            r"a Flax model of Hugging Face \(Mine\): .*params=params\)\.logits",
        ),
    ],
)
def test_heavy_packages_are_known_by_their_names(package: str, name: str, write: str) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("anything")

    model = foreign(package, name, __call__=fails, stateless_call=fails, forward=fails)
    for apply in (model, jax.jit(model), functools.partial(model), model.forward):
        with pytest.raises(ValueError, match=rf"apply: given .*RuntimeError.*apply is {write}"):
            explain(apply, toy.params())()
    for params in (model, {"conv": X, "model": model}):
        with pytest.raises(TypeError, match=f"params: expected a pytree of arrays, got {write}"):
            explain(toy.apply, params)()


def test_a_model_that_keeps_what_it_computes() -> None:
    kept = [jnp.zeros(())]

    def apply(params: Any, images: Array) -> Array:
        kept[0] = kept[0] + images.mean()
        return toy.apply(params, images) + kept[0]

    with pytest.raises(ValueError, match=r"apply: .*UnexpectedTracerError.*a model has to be pure"):
        explain(apply, toy.params())()


def test_other_errors_are_left_as_they_are() -> None:
    """What nobody knows is told with its name; a model of any class is called like a function."""

    def fails(params: Any, images: Any) -> Any:
        raise KeyError("some layer")

    with pytest.raises(ValueError, match=r"^apply: given params .*KeyError: 'some layer'$"):
        explain(fails, toy.params())()

    class Whole(eqx.Module):
        def __call__(self, params: Any, images: Any) -> Any:
            return toy.apply(params, images)

    maps = explain(Whole(), toy.params())()
    toy.close(maps, explain(toy.apply, toy.params())())
