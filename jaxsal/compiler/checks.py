"""Checks of arguments; errors name the argument, what is expected and what was given."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler import frameworks
from jaxsal.compiler.arrays import as_array, as_text, is_array
from jaxsal.types import ApplyFn, Objective, Params, Tree


def check_images(images: object) -> None:
    """Raises unless `images` is a floating array [B, ...] with at least one example.

    Raises:
        TypeError: no array, or not floating.
        ValueError: no batch axis, or no examples.
    """
    if not is_array(images):
        raise TypeError(f"images: expected an array [B, ...], got {type(images).__name__}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"images: expected a floating array, got {images.dtype}; convert (and scale) pixels "
            "first; of token ids, which have no derivative, give the embeddings as images, to an "
            "apply that begins there"
        )
    if len(images.shape) < 2:
        raise ValueError(f"images: expected [B, ...], got the shape {tuple(images.shape)}")
    if images.shape[0] == 0:
        raise ValueError(f"images: expected at least one, got the shape {tuple(images.shape)}")


def check_maps(maps: object, count: int, classes: int | None) -> None:
    """Raises unless `maps` is a floating array with one entry an image (and class, if given).

    Or a dict of such arrays by name.

    Raises:
        TypeError: no array, not floating, or a name that is no string.
        ValueError: another number of maps than of images, or of classes; an empty dict.
    """
    if not isinstance(maps, dict):
        return _check_maps("maps", maps, count, classes)
    if not maps:
        raise ValueError("maps: expected at least one, got an empty dict")
    if not all(isinstance(name, str) for name in maps):
        raise TypeError(f"maps: expected names that are strings, got {list(maps)}")
    for name, values in maps.items():
        _check_maps(f"maps[{name!r}]", values, count, classes)


def _check_maps(name: str, maps: object, count: int, classes: int | None) -> None:
    if not is_array(maps) or not jnp.issubdtype(maps.dtype, jnp.floating):
        raise TypeError(f"{name}: expected a floating array [B, ...], got {as_text(maps)}")
    expected = (count,) if classes is None else (count, classes)
    if tuple(maps.shape[: len(expected)]) != expected:
        wanted = ", ".join(map(str, expected))
        raise ValueError(
            f"{name}: expected one an image, [{wanted}, ...], got the shape {tuple(maps.shape)}"
        )


def check_row(name: str, value: Tree, count: int) -> Tree:
    """`value`, an array (or a pytree of arrays) with one entry an image.

    Raises:
        TypeError: a leaf that is no array.
        ValueError: another number of entries than of images.
    """
    value = jax.tree.map(functools.partial(as_array, name), value)
    for leaf in jax.tree.leaves(value):
        if not is_array(leaf):
            came = as_text(leaf)
            raise TypeError(f"{name}: expected an array with one entry an image, got {came}")
        if tuple(leaf.shape[:1]) != (count,):
            raise ValueError(
                f"{name}: expected one an image, [{count}, ...], got the shape {tuple(leaf.shape)}"
            )
    return value


def check_key(key: object, count: int, names: list[str]) -> str:
    """How the key is given: `none`, `one` or `each` (one an example).

    Args:
        key: the key or keys, or None.
        count: the number of images.
        names: the functions that need one.

    Raises:
        TypeError: no key.
        ValueError: a function draws random numbers and there is no key, or another number of keys
            than of images.
    """
    if key is None:
        if names:
            raise ValueError(f"key: {names[0]} draws random numbers and needs a key, got None")
        return "none"
    if not is_array(key):
        raise TypeError(f"key: expected jax.random.key(...), got {as_text(key)}")
    shape = tuple(key.shape)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        width = _key_shape(jax.config.jax_default_prng_impl)
        if key.dtype != jnp.uint32 or shape[-1:] != width:
            raise TypeError(f"key: expected jax.random.key(...), got {as_text(key)}")
        shape = shape[:-1]
    if shape not in ((), (count,)):
        raise ValueError(f"key: expected one, or one an image ({count}), got the shape {shape}")
    return "one" if shape == () else "each"


@functools.cache
def _key_shape(generator: str) -> tuple[int, ...]:
    return tuple(
        jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=generator))).shape
    )


def check_callables(apply: object, objective: object) -> tuple[ApplyFn, Objective | None]:
    """The model and the objective, if there is one, which are functions.

    Raises:
        TypeError: not callable.
    """
    if not callable(apply):
        came = frameworks.in_place_of(apply) or repr(apply)
        raise TypeError(f"apply: expected a function (params, images) -> logits, got {came}")
    if objective is not None and not callable(objective):
        raise TypeError(
            f"objective: expected a function (logits, target) -> scalar or None, got {objective!r}"
        )
    return apply, objective


def check_batch_size(batch_size: object) -> int | str:
    """`batch_size`, a positive int or "auto".

    Raises:
        TypeError: neither.
        ValueError: less than one, or another string.
    """
    expected = 'a positive integer or "auto"'
    if isinstance(batch_size, str) and batch_size != "auto":
        raise ValueError(f"batch_size: expected {expected}, got {batch_size!r}")
    if isinstance(batch_size, str):
        return batch_size
    return check_positive("batch_size", batch_size, expected)


def check_positive(name: str, value: Any, expected: str) -> int:
    """`value` as an int.

    Raises:
        TypeError: no integer.
        ValueError: less than one.
    """
    message = f"{name}: expected {expected}, got {value!r}"
    try:
        number = operator.index(value)
    except Exception as error:  # a tracer raises an error of its own
        raise TypeError(message) from error
    if isinstance(value, bool):
        raise TypeError(message)
    if number < 1:
        raise ValueError(message)
    return number


def check_dtype(dtype: Any) -> np.dtype | None:
    """`dtype` as NumPy's, or None.

    Raises:
        TypeError: no floating dtype.
        ValueError: a dtype that JAX holds only in 64-bit mode.
    """
    if dtype is None:
        return None
    try:
        wanted = jnp.dtype(dtype)
    except TypeError:
        wanted = None
    if wanted is None or not jnp.issubdtype(wanted, jnp.floating):
        raise TypeError(f"dtype: expected a floating dtype or None, got {dtype!r}")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise ValueError(f"dtype: {wanted} needs jax_enable_x64")
    return wanted


def check_params(params: Params) -> Params:
    """The parameters, Python's numbers among them as arrays.

    What is a part of the program rather than a parameter stays as it is: a function (an activation)
    or a word beside arrays, and in an Equinox module whatever is no array, as `eqx.filter_jit` has
    it: flags and numbers that are read while the program is traced.

    Raises:
        TypeError: another leaf that is no array, or no array at all.
    """
    leaves, structure = jax.tree.flatten(params)
    leaves = [as_array("params", leaf) for leaf in leaves]
    params = jax.tree.unflatten(structure, leaves)
    if all(map(_is_parameter, leaves)):
        return params
    parts, above = jax.tree.flatten(params, is_leaf=frameworks.is_equinox)
    beside = any(_is_parameter(part) or frameworks.is_equinox(part) for part in parts)
    return jax.tree.unflatten(above, [_checked(part, beside) for part in parts])


def _checked(part: Tree, beside: bool) -> Tree:
    """A leaf, or a module of Equinox with its leaves; `beside`: whether there are arrays too."""
    if frameworks.is_equinox(part):
        return jax.tree.map(lambda x: _as_parameter(x, not is_array(x)), part)
    return _as_parameter(part, beside and (callable(part) or isinstance(part, str)))


def _as_parameter(value: Tree, static: bool) -> Tree:
    if _is_parameter(value):
        return value
    if known := frameworks.in_place_of(value):
        raise TypeError(f"params: expected a pytree of arrays, got {known}")
    if static:
        return value
    if isinstance(value, bool | int | float | complex) and _is_plain(np.asarray(value).dtype):
        return np.asarray(value, jax.dtypes.canonicalize_dtype(np.asarray(value).dtype))
    raise TypeError(f"params: expected a pytree of arrays, got a leaf {as_text(value)}")


def _is_parameter(value: object) -> bool:
    return is_array(value) and _is_plain(value.dtype)


def _is_plain(dtype: Any) -> bool:
    """Whether JAX holds arrays of this dtype: numbers and keys, but neither text nor objects."""
    kinds = (jnp.number, jnp.bool_, jax.dtypes.extended)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)
