"""Arrays from a file put where a model expects them, or the first that does not fit by its name."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxsal.commands.model_objects import Given
from jaxsal.common.errors import one_line
from jaxsal.types import Params, Tree

Arrays = dict[str, Any]
"""Arrays, or their shapes, by their paths with dots."""

BEFORE = ("", "params.")
"""What a file may leave out before every name, or have there."""


class OtherNames(ValueError):
    """Parameters that are called otherwise than the model expects them: no images change that."""


def fitted(model: Given, params: Params, images: jax.ShapeDtypeStruct, where: str) -> Params:
    """The parameters as the model takes them.

    Where the model says what it expects (it is an object of a framework, or `init` stands beside
    its function), arrays are put there by their names, and what else the file holds beside them,
    such as an optimiser's state, is left. A plain function is tried with nested names and with flat
    ones.

    Args:
        params: as they were read. images: a batch of one, by shape. where: the file's name.

    Raises:
        ValueError: the first parameter that does not fit, and what was expected.
    """
    expected = _expected(model, images)
    if expected is not None:
        return _placed(expected, params, where)
    if isinstance(params, dict):
        return _tried(model, params, images, where)
    return params


def _expected(model: Given, images: jax.ShapeDtypeStruct) -> Params | None:
    """What the model says that its parameters are, by shape; None where it does not say."""
    if model.template is not None or model.init is None:
        return model.template
    try:
        return jax.eval_shape(model.init, jax.random.key(0), images)
    except Exception:  # an `init` of other arguments: its errors are not the user's
        return None


def _placed(expected: Params, params: Params, where: str) -> Params:
    """The expected tree with the arrays of the same names; numbers that a file lacks stay."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(expected)
    names = [_name(path) for path, _ in leaves]
    found = _by_name(params)
    wanted = {n: leaf for n, (_, leaf) in zip(names, leaves, strict=True) if _is_learned(leaf)}
    variants = [_with(found, before) for before in BEFORE] + [_without(found, b) for b in BEFORE]
    own = max(variants, key=lambda arrays: len(wanted.keys() & arrays.keys()))
    _check(wanted, own, where)
    placed = [own.get(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)]
    return jax.tree.unflatten(tree, placed)


def _name(path: tuple[Any, ...]) -> str:
    """A leaf's path with dots, also in Haiku's names; what only wraps its array is not named."""
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    return name.removesuffix(".value").replace("/", ".")


def _by_name(params: Params) -> Arrays:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]}


def _with(arrays: Arrays, before: str) -> Arrays:
    return {f"{before}{name}": array for name, array in arrays.items()}


def _without(arrays: Arrays, before: str) -> Arrays:
    return {name.removeprefix(before): array for name, array in arrays.items()}


def _is_learned(leaf: Any) -> bool:
    """Whether a leaf is an array of floating numbers, rather than a count, a key or a function."""
    return hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)


def _check(wanted: Arrays, own: Arrays, where: str) -> None:
    """Raises unless the arrays are those that are wanted, and none is over beside them.

    Raises:
        ValueError: the first that is missing, of another shape, or over.
    """
    for name, leaf in wanted.items():
        if name not in own:
            raise OtherNames(
                f"params: the model expected {name} {_shape(leaf)}, which {where} lacks; it has "
                f"{_listed(own)}"
            )
        if np.shape(own[name]) != np.shape(leaf):
            raise ValueError(
                f"params: {name} of {where} is {_shape(own[name])}, the model expected "
                f"{_shape(leaf)}"
            )
    collections = {name.partition(".")[0] for name in wanted}
    over = [n for n in own if n not in wanted and n.partition(".")[0] in collections]
    over = [n for n in over if _is_learned(own[n])]
    if over:
        raise OtherNames(
            f"params: {where} has {over[0]} {_shape(own[over[0]])}, of which the model knows "
            f"nothing; it expected {_listed(wanted)}"
        )


def _listed(arrays: Arrays, most: int = 4) -> str:
    shown = [f"{name} {_shape(array)}" for name, array in list(arrays.items())[:most]]
    return ", ".join(shown) + (f" and {len(arrays) - most} more" if len(arrays) > most else "")


def _shape(array: Any) -> str:
    return f"[{', '.join(map(str, np.shape(array)))}]"


def _tried(model: Given, params: Params, images: jax.ShapeDtypeStruct, where: str) -> Params:
    """Nested or flat, as a function takes them: the first with which it runs.

    Raises:
        ValueError: neither; the parameter that it asked for last, where that can be seen.
    """
    flat = _by_name(params)
    for form in (params, flat):
        try:
            jax.eval_shape(model.apply, form, images)
            return form
        except Exception:  # a model may raise whatever it likes: it is asked again below
            continue
    _check_runs(model.apply, params, images, where)
    return params


class _Watched(dict[str, Any]):
    """A dict that writes down what is asked of it, and of the dicts in it."""

    def __init__(self, values: Mapping[str, Any], asked: list[str], before: str = "") -> None:
        super().__init__(values)
        self.asked, self.before = asked, before

    def __getitem__(self, name: str) -> Any:
        path = f"{self.before}{name}"
        self.asked.append(path)
        found = super().__getitem__(name)
        return _Watched(found, self.asked, f"{path}.") if isinstance(found, dict) else found


def _check_runs(
    apply: Callable[..., Tree], params: Params, images: jax.ShapeDtypeStruct, where: str
) -> None:
    """Raises where a function fails and the parameter that it fails at can be seen.

    Raises:
        ValueError: so; it says which, and how.
    """
    asked: list[str] = []

    def watched(params: Params, images: jax.Array) -> Tree:
        asked.clear()
        return apply(_Watched(params, asked), images)

    try:
        jax.eval_shape(watched, params, images)
    except Exception as error:
        arrays = _by_name(params)
        last = asked[-1] if asked else ""
        if isinstance(error, KeyError) and last not in arrays:
            fault = f"the model asked for {last or error}; the file has {_listed(arrays)}"
            raise OtherNames(f"params: {where}: {fault}") from error
        if last in arrays:
            fault = f"the model failed at {last} {_shape(arrays[last])}: {one_line(error)[:200]}"
            raise ValueError(f"params: {where}: {fault}") from error
