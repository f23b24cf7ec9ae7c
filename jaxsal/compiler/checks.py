"""What comes in, held against what is expected: errors name the argument and both."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler import frameworks

Tree = Any


def check_images(images: Any) -> None:
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


_ARRAYS = (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)


def in_memory(name: str, value: Any) -> Any:
    """What can be had as an array (of Zarr, h5py, PyTorch) as NumPy's; all else as it is.

    A weak type is made firm, for which JAX would compile a program of its own.

    Raises:
        TypeError: it cannot.
    """
    if is_settled(value) and getattr(value, "weak_type", False):  # keys have no such attribute
        return jax.lax.convert_element_type(value, value.dtype)
    if isinstance(value, _ARRAYS) or not hasattr(value, "__array__"):
        return value
    try:
        return np.asarray(value)
    except Exception as error:  # whatever another library raises
        came = f"{type(value).__name__} ({' '.join(str(error).split())[:100]})"
        raise TypeError(f"{name}: expected an array, got {came}") from error


def is_array(value: Any) -> bool:
    """Whether a value is an array, or the shape of one."""
    known = isinstance(value, _ARRAYS) or hasattr(value, "__array__")
    return known and hasattr(value, "dtype") and hasattr(value, "shape")


def is_settled(value: Any) -> bool:
    """Whether a value is an array of JAX with contents, which nobody writes to."""
    return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)


def check_maps(maps: Any, count: int, classes: int | None) -> None:
    """Raises unless `maps` is a floating array with one entry an image (and class, if given).

    Raises:
        TypeError: no array, or not floating.
        ValueError: another number of maps than of images, or of classes.
    """
    if not is_array(maps) or not jnp.issubdtype(maps.dtype, jnp.floating):
        raise TypeError(f"maps: expected a floating array [B, ...], got {describe(maps)}")
    expected = (count,) if classes is None else (count, classes)
    if tuple(maps.shape[: len(expected)]) != expected:
        wanted = ", ".join(map(str, expected))
        raise ValueError(
            f"maps: expected one an image, [{wanted}, ...], got the shape {tuple(maps.shape)}"
        )


def check_row(name: str, value: Any, count: int) -> Any:
    """`value`, an array (or a pytree of arrays) with one entry an image.

    Raises:
        TypeError: a leaf that is no array.
        ValueError: another number of entries than of images.
    """
    value = jax.tree.map(functools.partial(in_memory, name), value)
    for leaf in jax.tree.leaves(value):
        if not is_array(leaf):
            came = describe(leaf)
            raise TypeError(f"{name}: expected an array with one entry an image, got {came}")
        if tuple(leaf.shape[:1]) != (count,):
            raise ValueError(
                f"{name}: expected one an image, [{count}, ...], got the shape {tuple(leaf.shape)}"
            )
    return value


def check_targets(targets: Any, count: int) -> str:
    """How the targets are given: `given`, `predicted` (None) or `all`.

    Raises:
        TypeError: neither an integer, an array of integers, None nor "all".
        ValueError: another number of targets than of images, or another string.
    """
    if targets is None:
        return "predicted"
    if isinstance(targets, str):
        if targets != "all":
            raise ValueError(f'targets: expected integers, None or "all", got {targets!r}')
        return "all"
    if not isinstance(targets, jax.core.Tracer | jax.ShapeDtypeStruct | jax.Array):
        targets = _as_array(targets)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f'targets: expected integers, None or "all", got {describe(targets)}')
    if targets.shape not in ((), (count,)):
        raise ValueError(
            f"targets: expected one an image, shape ({count},), got the shape {targets.shape}"
        )
    return "given"


def check_key(key: Any, count: int, names: list[str]) -> str:
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
        raise TypeError(f"key: expected jax.random.key(...), got {describe(key)}")
    shape = tuple(key.shape)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        width = jax.eval_shape(jax.random.PRNGKey, 0).shape
        if key.dtype != jnp.uint32 or shape[-1:] != width:
            raise TypeError(f"key: expected jax.random.key(...), got {describe(key)}")
        shape = shape[:-1]
    if shape not in ((), (count,)):
        raise ValueError(f"key: expected one, or one an image ({count}), got the shape {shape}")
    return "one" if shape == () else "each"


def check_callables(apply: Any, objective: Any) -> None:
    """Raises unless the model, and the objective if there is one, are functions.

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


def check_dtype(dtype: Any) -> Any:
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


def check_params(params: Any) -> Any:
    """The parameters, Python's numbers among them as arrays.

    What is a part of the program rather than a parameter stays as it is: a function (an activation)
    or a word beside arrays, and in an Equinox module whatever is no array, as `eqx.filter_jit` has
    it: flags and numbers that are read while the program is traced.

    Raises:
        TypeError: another leaf that is no array, or no array at all.
    """
    leaves, structure = jax.tree.flatten(params)
    held = [in_memory("params", leaf) for leaf in leaves]
    if all(map(_is_parameter, held)):
        return jax.tree.unflatten(structure, held)
    params = jax.tree.unflatten(structure, held)
    parts, above = jax.tree.flatten(params, is_leaf=frameworks.is_equinox)
    beside = any(_is_parameter(part) or frameworks.is_equinox(part) for part in parts)
    return jax.tree.unflatten(above, [_checked(part, beside) for part in parts])


def _checked(part: Any, beside: bool) -> Any:
    """A leaf, or a module of Equinox with its leaves; `beside`: whether there are arrays too."""
    if frameworks.is_equinox(part):
        return jax.tree.map(lambda x: _as_parameter(x, not is_array(x)), part)
    return _as_parameter(part, beside and (callable(part) or isinstance(part, str)))


def _as_parameter(value: Any, static: bool) -> Any:
    if _is_parameter(value):
        return value
    if told := frameworks.in_place_of(value):
        raise TypeError(f"params: expected a pytree of arrays, got {told}")
    if static:
        return value
    if isinstance(value, bool | int | float | complex) and _is_plain(np.asarray(value).dtype):
        return np.asarray(value, jax.dtypes.canonicalize_dtype(np.asarray(value).dtype))
    raise TypeError(f"params: expected a pytree of arrays, got a leaf {describe(value)}")


def _is_parameter(value: Any) -> bool:
    return is_array(value) and _is_plain(value.dtype)


def check_values(images: Any, targets: Any, classes: int) -> Callable[[], None]:
    """Holds concrete images and targets against what is allowed: finite, and classes.

    What lies in host memory is looked at now; what lies on an accelerator there, after what was
    dispatched before. To ask for that answer waits for the device, so that a call asks when it has
    dispatched its own program.

    Returns:
        `verify()`, which raises what the device found.

    Raises:
        ValueError: a NaN or infinite pixel, or a target outside [0, K); `verify` too.
    """
    pending = []
    if isinstance(images, np.ndarray) or is_settled(images):
        pending.append((_finite(images), _raise_not_finite))
    unknown = str | jax.core.Tracer | jax.ShapeDtypeStruct
    if targets is not None and not isinstance(targets, unknown):
        pending.append((_in_range(targets, classes), lambda: _raise_no_class(targets, classes)))

    for fine, fail in pending:
        if fine is False:
            fail()

    def verify() -> None:
        for fine, fail in pending:
            if not fine:
                fail()

    return verify


def _raise_not_finite() -> None:
    raise ValueError("images: expected finite values, got NaN or infinity")


def _raise_no_class(targets: Any, classes: int) -> None:
    values = np.concatenate([np.zeros(0, int), *(np.ravel(part) for part in _local(targets))])
    wrong = values[(values < 0) | (values >= classes)]
    raise ValueError(f"targets: expected classes in [0, {classes}), got {int(wrong[0])}")


def _finite(images: Any) -> Any:
    """Whether all values are finite: a bool, or an array on the accelerator that looks."""
    if isinstance(images, np.ndarray):
        return bool(np.isfinite(images).all())
    if images.is_fully_addressable and _on_host(images):  # nothing to compile
        return all(bool(np.isfinite(np.asarray(part)).all()) for part in _local(images))
    with jax.ensure_compile_time_eval():  # also where a program is traced that closes over them
        return _fetched(_all_finite(images))


def _in_range(targets: Any, classes: int) -> Any:
    """Whether the targets that this process holds are classes, in the same way."""
    if isinstance(targets, jax.Array) and targets.is_fully_addressable and not _on_host(targets):
        with jax.ensure_compile_time_eval():
            return _fetched(_all_below(targets, classes))
    parts = [np.asarray(part) for part in _local(targets)]
    return all(bool(((part >= 0) & (part < classes)).all()) for part in parts)


def _on_host(array: jax.Array) -> bool:
    return next(iter(array.devices())).platform == "cpu"


def _fetched(answer: Any) -> Any:
    """An array that is on its way to the host."""
    answer.copy_to_host_async()
    return answer


def _local(array: Any) -> list[Any]:
    """The parts of an array that this process holds."""
    several = isinstance(array, jax.Array)
    return [shard.data for shard in array.addressable_shards] if several else [array]


@jax.jit
def _all_finite(images: Any) -> Any:
    return jnp.isfinite(images).all()


@functools.partial(jax.jit, static_argnums=1)
def _all_below(targets: Any, classes: int) -> Any:
    most = min(classes - 1, jnp.iinfo(targets.dtype).max)  # a narrow dtype holds no larger one
    return ((targets >= 0) & (targets <= most)).all()


def describe(value: Any) -> str:
    """An array by its dtype and shape, anything else by itself."""
    if is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _is_plain(dtype: Any) -> bool:
    """Whether JAX holds arrays of this dtype: numbers and keys, but neither text nor objects."""
    kinds = (jnp.number, jnp.bool_, jax.dtypes.extended)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def _as_array(targets: Any) -> Any:
    try:
        return np.asarray(targets)
    except (ValueError, OverflowError) as error:
        raise TypeError(
            f'targets: expected integers, None or "all", got {describe(targets)}'
        ) from error
