"""What comes in, held against what the explainer expects: errors name the argument, what came and what was expected."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.program import cast, target_logit
from jaxsal.rewrite.program import equations

Tree = Any


def check_images(images: Any) -> None:
    """Raises unless `images` is a floating array [B, ...] with at least one example.

    Raises:
        TypeError: no array, or not floating.
        ValueError: no batch axis, or no examples.
    """
    if not hasattr(images, "dtype") or not hasattr(images, "shape"):
        raise TypeError(f"images: expected an array [B, ...], got {type(images).__name__}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"images: expected a floating array, got {images.dtype}; convert it (and scale it) first"
        )
    if len(images.shape) < 2:
        raise ValueError(f"images: expected [B, ...], got the shape {tuple(images.shape)}")
    if images.shape[0] == 0:
        raise ValueError(f"images: expected at least one, got the shape {tuple(images.shape)}")


def check_maps(maps: Any, count: int) -> None:
    """Raises unless `maps` is a floating array with one entry an image.

    Raises:
        TypeError: no array, or not floating.
        ValueError: another number of maps than of images.
    """
    if not hasattr(maps, "dtype") or not jnp.issubdtype(maps.dtype, jnp.floating):
        raise TypeError(f"maps: expected a floating array [B, ...], got {_describe(maps)}")
    if len(maps.shape) < 1 or maps.shape[0] != count:
        raise ValueError(
            f"maps: expected one an image, [{count}, ...], got the shape {tuple(maps.shape)}"
        )


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
        targets = np.asarray(targets)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f'targets: expected integers, None or "all", got {_describe(targets)}')
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
        ValueError: a function draws random numbers and there is no key, or another number of keys than of images.
    """
    if key is None:
        if names:
            raise ValueError(f"key: {names[0]} draws random numbers and needs a key, got None")
        return "none"
    if not hasattr(key, "dtype"):
        raise TypeError(f"key: expected jax.random.key(...), got {_describe(key)}")
    shape = tuple(key.shape)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        width = jax.eval_shape(jax.random.PRNGKey, 0).shape
        if key.dtype != jnp.uint32 or shape[-1:] != width:
            raise TypeError(f"key: expected jax.random.key(...), got {_describe(key)}")
        shape = shape[:-1]
    if shape not in ((), (count,)):
        raise ValueError(f"key: expected one, or one an image ({count}), got the shape {shape}")
    return "one" if shape == () else "each"


def check_model(
    apply: Callable[..., Any], objective: Any, params: Tree, images: Any, dtype: Any
) -> int:
    """The number of classes, from the shapes alone: nothing is computed.

    Raises:
        TypeError: logits that are not floating; no convolution or product in `dtype`.
        ValueError: logits that are not [B, K], or an objective that is no scalar.
    """
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    params = jax.tree.map(_abstract, params)
    if dtype is not None:
        params = jax.eval_shape(lambda p: cast(p, dtype), params)
        one = jax.ShapeDtypeStruct(one.shape, dtype)
    logits = jax.eval_shape(apply, params, one)
    if not hasattr(logits, "shape") or len(logits.shape) != 2 or logits.shape[0] != 1:
        came = _describe(logits)
        raise ValueError(f"apply: expected logits [B, K], got {came} for images {one.shape}")
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"apply: expected floating logits, got {logits.dtype}")
    row = jax.ShapeDtypeStruct(logits.shape[1:], jnp.promote_types(logits.dtype, jnp.float32))
    score = jax.eval_shape(objective or target_logit, row, jax.ShapeDtypeStruct((), jnp.int32))
    if getattr(score, "shape", None) != () or not jnp.issubdtype(score.dtype, jnp.floating):
        raise ValueError(f"objective: expected a floating scalar, got {_describe(score)}")
    if dtype is not None and not _computes_in(dtype, jax.make_jaxpr(apply)(params, one).jaxpr):
        raise ValueError(
            f"dtype: no convolution or product of the model runs in {jnp.dtype(dtype).name}: a module that "
            f"fixes its own dtype must be built for {jnp.dtype(dtype).name} itself"
        )
    return max(2, logits.shape[1])


def check_values(images: Any, targets: Any, classes: int) -> None:
    """Raises unless concrete images are finite and concrete targets are classes.

    Raises:
        ValueError: a NaN or infinite pixel, or a target outside [0, K).
    """
    if isinstance(images, np.ndarray | jax.Array) and not isinstance(images, jax.core.Tracer):
        if not _finite(images):
            raise ValueError("images: expected finite values, got NaN or infinity")
    if targets is None or isinstance(targets, str | jax.core.Tracer):
        return
    values = np.asarray(targets)
    wrong = values[(values < 0) | (values >= classes)]
    if wrong.size:
        raise ValueError(f"targets: expected classes in [0, {classes}), got {int(wrong[0])}")


def _finite(images: Any) -> bool:
    if isinstance(images, np.ndarray):
        return bool(np.isfinite(images).all())
    if next(iter(images.devices())).platform == "cpu":  # host memory: nothing to compile
        return all(np.isfinite(np.asarray(s.data)).all() for s in images.addressable_shards)
    return bool(_all_finite(images))


@jax.jit
def _all_finite(images: Any) -> Any:
    return jnp.isfinite(images).all()


def _computes_in(dtype: Any, jaxpr: Any) -> bool:
    """Whether a convolution or product in the program, or in a program inside it, takes `dtype`."""
    for eqn in equations(jaxpr):
        if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
            if all(v.aval.dtype == dtype for v in eqn.invars):
                return True
    return False


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), jax.dtypes.canonicalize_dtype(leaf.dtype))


def _describe(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)
