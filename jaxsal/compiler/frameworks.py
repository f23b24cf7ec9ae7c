"""What a user has to write for a model of each framework; none of them is imported."""

import functools
import re
import traceback
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from jaxsal.types import ApplyFn, Params, Tree


class Kind(NamedTuple):
    """A framework's model: how its type is known, what it is called, and what is written for it."""

    package: str
    types: tuple[str, ...]
    words: str
    write: str


def _call(apply: str, params: str) -> str:
    return f"jaxsal.explainer({apply}, method)({params}, images)"


_KINDS = (
    Kind("flax.linen", ("Module",), "a Flax Linen module", _call("module.apply", "variables")),
    Kind("flax.nnx", ("Module",), "a Flax NNX module", _call("lambda m, x: m(x)", "module")),
    Kind(
        "equinox", ("Module",), "an Equinox module", _call("lambda m, x: jax.vmap(m)(x)", "model")
    ),
    Kind(
        "haiku",
        ("Transformed",),
        "what hk.transform returned",
        _call("hk.without_apply_rng(transformed).apply", "params"),
    ),
    Kind(
        "haiku",
        ("TransformedWithState",),
        "what hk.transform_with_state returned",
        "f = hk.without_apply_rng(transformed) and then "
        + _call("lambda params, x: f.apply(*params, x)[0]", "(params, state)"),
    ),
    Kind(
        "keras",
        ("Layer",),
        "a Keras model",
        _call(
            "lambda params, x: model.stateless_call(*params, x)[0]",
            "(model.trainable_variables, model.non_trainable_variables)",
        ),
    ),
    Kind(
        "transformers",
        ("FlaxPreTrainedModel",),
        "a Flax model of Hugging Face",
        _call("lambda params, x: model(x, params=params).logits", "model.params"),
    ),
    Kind(
        "torch",
        ("Module",),
        "a PyTorch module",
        "its forward pass as a function of JAX, and as params its arrays, "
        "{name: value.numpy() for name, value in module.state_dict().items()}",
    ),
    Kind(
        "tensorflow",
        ("Module",),
        "a TensorFlow module",
        "its forward pass as a function of JAX (Keras 3 with KERAS_BACKEND=jax has one)",
    ),
)


_KNOWN: weakref.WeakKeyDictionary[type, Kind | None] = weakref.WeakKeyDictionary()


def kind_of(value: object) -> Kind | None:
    """The framework's kind that a value's type is of."""
    cls = type(value)
    if cls not in _KNOWN:
        _KNOWN[cls] = next((kind for kind in _KINDS if _is_of(cls, kind)), None)
    return _KNOWN[cls]


def _is_of(cls: type, kind: Kind) -> bool:
    names = [(f"{base.__module__}.", base.__name__) for base in cls.__mro__]
    return any(module.startswith(f"{kind.package}.") and n in kind.types for module, n in names)


def is_equinox(value: object) -> bool:
    """Whether a value is a module of Equinox: a pytree of arrays, functions, flags and numbers."""
    kind = kind_of(value)
    return kind is not None and kind.package == "equinox"


def in_place_of(value: object) -> str:
    """A framework's object in place of a function or arrays, and what to write; else ""."""
    if kind := kind_of(value):
        return f"{kind.words} ({type(value).__name__}): write {kind.write}"
    if isinstance(value, tuple) and len(value) == 2 and all(map(callable, value)):
        return "a pair of functions: write the second, if they are (init, apply)"
    if callable(getattr(value, "apply_fn", None)):
        return f"{type(value).__name__}: write its apply_fn"
    return ""


def model_within(apply: Any) -> Any:
    """The model that a function is or is made of, through `jax.vmap`, `jax.jit` and partials."""
    while True:
        owner = getattr(apply, "__self__", None)
        if kind_of(owner) and getattr(apply, "__name__", "apply") != "apply":
            return owner
        if isinstance(apply, functools.partial):
            apply = apply.func
        elif hasattr(apply, "__wrapped__"):
            apply = apply.__wrapped__
        else:
            return apply


_NO_TRAINING = "the model is in training mode: "
_LINEN = "write lambda variables, x: module.apply(variables, x, {}) as apply"
_INFERENCE = f"{_NO_TRAINING}write model = eqx.nn.inference_mode(model) before"
_STATE = "write lambda params, x: f.apply(*params, x)[0] as apply, and (params, state) as params"
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"^flax\.\S*TraceContextError",
        f"{_NO_TRAINING}its batch norm or dropout writes to itself; write model.eval() before "
        "(and before nnx.split)",
    ),
    (
        r"^flax\.\S*ModifyScopeVariableError",
        f"{_NO_TRAINING}{_LINEN.format('train=False')}, or what its batch norm's "
        "use_running_average=True hangs on",
    ),
    (
        r"^flax\.\S*InvalidRngError",
        f"{_NO_TRAINING}{_LINEN.format('train=False')}, or what its dropout's "
        "deterministic=True hangs on",
    ),
    (
        r'Parameter "(use_running_average|deterministic)" must be passed',
        r"write \1=True where the module is built, or where it is called",
    ),
    (
        r"(?s)missing \d+ required \S+ arguments?: '(\w*train\w*)'.*\[haiku\]",
        r"write lambda params, x: f.apply(params, x, \1=False) as apply",
    ),
    (
        r"missing \d+ required \S+ arguments?: '(train|training|is_training)'",
        _LINEN.format(r"\1=False"),
    ),
    (
        r"missing \d+ required \S+ arguments?: '(deterministic|inference)'",
        _LINEN.format(r"\1=True"),
    ),
    (
        r'collection "params" in .* is empty',
        'write {"params": params} as params, with "batch_stats" beside it where there are any: all '
        "that module.init returned",
    ),
    (
        r'^flax\..*collection "(\w+)" in .* is empty',
        r'write {"params": params, "\1": ...} as params: all that module.init returned',
    ),
    (
        r"Incorrect number of leaves, expected",
        "write graph, state = nnx.split(module) with no filter, or nnx.merge all of its parts",
    ),
    (r"Dropout requires a key", _INFERENCE),
    (r"(?s)unbound axis name.*\[equinox\]", _INFERENCE),
    (
        r"Input to \S+ needs to have rank",
        "an Equinox model takes one image: write lambda model, x: jax.vmap(model)(x) as apply",
    ),
    (
        r"BatchNorm\.__call__\(\) missing 1 required positional argument: 'state'",
        "give the state with the model: write (model, state) as params, and as apply lambda p, x: "
        "jax.vmap(p[0], in_axes=(0, None), out_axes=(0, None))(x, p[1])[0]",
    ),
    (r"(params|state) argument does not appear valid", _STATE),
    (
        r"Apply must be called with an RNG",
        "write hk.without_apply_rng(hk.transform(f)).apply as apply",
    ),
    (r"^haiku\.\S*MissingRNGError", f"{_NO_TRAINING}call the network with is_training=False"),
    (
        r"must be initialized inside an `hk.transform`",
        "write hk.without_apply_rng(hk.transform(f)).apply as apply, and what f's init returned as "
        "params",
    ),
    (
        r"Dropout layer requires apply_fun to be called with a PRNG key",
        'write stax.Dropout(rate, mode="test"), and as apply lambda params, x: apply_fun(params, '
        "x, rng=jax.random.key(0))",
    ),
    (
        r"^jax\.\S*UnexpectedTracerError.*keras",
        f"{_NO_TRAINING}write lambda params, x: model.stateless_call(*params, x)[0] as apply, "
        "without training=True, of the model built or loaded anew: its statistics are overwritten",
    ),
    (
        r"^jax\.\S*UnexpectedTracerError",
        "a model has to be pure: return what it computes, and write it to nothing that lives on",
    ),
    (
        r"^jax\.\S*TracerArrayConversionError",
        "apply is traced, and NumPy cannot compute on it: write jax.numpy in it, and of a Keras "
        "model stateless_call rather than predict",
    ),
    (
        r"^jax\.\S*TracerBoolConversionError",
        "Python cannot ask for a value while apply is traced: write jnp.where or jax.lax.cond; a "
        "flag among params is bound with functools.partial",
    ),
)
"""What an exception says, by its type, its text and the packages it went through, in brackets; and
what to write then."""


def remedy(error: Exception, apply: object = None, params: Params = None) -> str:
    """What to write for an apply that failed; "" where it is not known.

    Args:
        error: what it raised.
        apply, params: what it was, and what it was given.
    """
    if known := in_place_of(model_within(apply)):
        return f"apply is {known}"
    text = " ".join(str(error).split())
    said = f"{type(error).__module__}.{type(error).__name__}: {text} {_passed(error)}"
    for pattern, write in _REMEDIES:
        if found := re.search(pattern, said):
            return found.expand(write)
    if hasattr(params, "apply_fn") and hasattr(params, "params") and type(params).__name__ in said:
        return f'write {{"params": state.params}} as params rather than the {type(params).__name__}'
    return ""


def _passed(error: Exception) -> str:
    """The packages whose functions an exception went through, each in brackets."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    names = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames]
    return " ".join(f"[{name}]" for name in dict.fromkeys(names))


def reason(error: Exception, most: int = 300) -> str:
    """An exception in one line, without the addresses of manuals."""
    text = re.sub(r"\s*\(https?://\S+\)", "", f"{type(error).__name__}: {error}")
    return " ".join(text.split())[:most].removesuffix(".")


def called(apply: ApplyFn, params: Params, images: jax.Array) -> Tree:
    """`apply(params, images)`.

    Raises:
        TypeError, ValueError: what it raised, with what to write, where that is known.
    """
    try:
        return apply(params, images)
    except Exception as error:
        if not (write := remedy(error, apply, params)):
            raise
        raise same_kind(error)(f"apply: it raised {reason(error, 200)}; {write}") from error


class pure:
    """Explains the error of a model that uses tracers which an earlier trace left in it.

    A class, since each call enters it: a generator takes ten times as long.

    Raises:
        ValueError: it does.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, jax.errors.UnexpectedTracerError):
            raise ValueError(f"apply: it raised {reason(error, 200)}; {remedy(error)}") from error


def same_kind(error: Exception) -> type[Exception]:
    """TypeError for a TypeError, ValueError for all others."""
    return TypeError if isinstance(error, TypeError) else ValueError


def part_with_logits(output: object, fits: Callable[[object], bool]) -> str:
    """Which part of what a model returned its logits are: `[0]`, `["logits"]`, `.logits`, or "".

    Args:
        output: a tuple, a list, a mapping or an object with attributes.
        fits: whether a value can be logits.
    """
    fields: Any = getattr(output, "_fields", None) or getattr(output, "__dict__", ())
    if isinstance(output, tuple | list) and not hasattr(output, "_fields"):
        parts = {f"[{i}]": part for i, part in enumerate(output)}
    elif isinstance(output, Mapping) and not fits(getattr(output, "logits", None)):
        parts = {f'["{name}"]': part for name, part in output.items()}
    else:
        parts = {f".{name}": getattr(output, name) for name in fields}
    fitting = [where for where, part in parts.items() if fits(part)]
    named = [where for where in fitting if "logits" in where]
    return (named or fitting or [""])[0]
