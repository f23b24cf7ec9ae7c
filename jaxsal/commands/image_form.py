"""Images of a form that a model does not take, and what would give it those that it does."""

import contextlib
import functools
from collections.abc import Iterator, Sequence

import jax

from jaxsal.commands.fit import OtherNames
from jaxsal.commands.model import Model, input_of
from jaxsal.common.errors import one_line
from jaxsal.compiler import frameworks

Shape = tuple[int, ...]

BUGS = (AttributeError, NameError, ImportError)
"""What a model raises for other reasons than its images."""
LONGEST = 320
"""Characters of an error that are kept before what would help."""


def open_options(found: Model, image_size: int | None, channels: int | None) -> tuple[str, ...]:
    """Of the options that change images those that neither the model nor the call gives."""
    size, count = input_of(found, image_size, channels)
    known = {"channels": count, "image_size": size}
    return tuple(name for name, value in known.items() if value is None)


@contextlib.contextmanager
def advised(found: Model, images: jax.ShapeDtypeStruct, free: Sequence[str]) -> Iterator[None]:
    """Adds to the error of a model that does not take its images what would give it others.

    Args:
        images: a batch of one as the model is given it.
        free: as of `open_options`.

    Raises:
        TypeError, ValueError: the error, with that.
    """
    try:
        yield
    except Exception as error:
        if advice := _advice(found, images, free):
            raise frameworks.same_kind(error)(f"{_said(error)}; {advice}") from error
        raise


def _said(error: Exception) -> str:
    own = isinstance(error, ValueError | TypeError)
    text = " ".join(str(error).split()) if own else one_line(error)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _advice(found: Model, images: jax.ShapeDtypeStruct, free: Sequence[str]) -> str:
    """What would give a model images that it takes; "" where it takes these, or is at fault itself.

    Other forms are tried by shape alone.
    """
    fault = _fault(found, images)
    if fault is None:
        return ""
    given = f"the images were given as {[*images.shape]}"
    for shape, way in _others(images.shape, free):
        if _fault(found, jax.ShapeDtypeStruct(shape, images.dtype)) is None:
            return f"{given}, the model takes {[*shape]}: {way}"
    changing = _changing(images.shape, free)
    return f"{given}; {changing}" if changing and not _of_its_own(fault, found) else ""


def _fault(found: Model, images: jax.ShapeDtypeStruct) -> Exception | None:
    """What a model raises when it is given images; None where it takes them."""
    try:
        fitting = found.fitted(images)
        jax.eval_shape(functools.partial(fitting.apply, fitting.params), images)
    except Exception as error:  # a model may raise whatever it likes
        return error
    return None


def _of_its_own(fault: Exception, found: Model) -> bool:
    """Whether a fault is known to be the model's or its parameters', whatever the images are."""
    if isinstance(fault, OtherNames) or isinstance(fault.__cause__ or fault, BUGS):
        return True
    return bool(frameworks.remedy(fault, found.apply, found.params))


def _others(shape: Shape, free: Sequence[str]) -> Iterator[tuple[Shape, str]]:
    """Other forms of a batch [1, *space, C], and how images come to have them."""
    colour = (*shape[:-1], 3)
    if "channels" in free and shape[-1] == 1:
        yield colour, "--channels 3"
    if len(shape) > 3:
        axes = (len(shape) - 2, *range(len(shape) - 2))
        way = f"--preprocess mymodel:chw, with chw = lambda x: x.transpose{axes}"
        yield (shape[0], shape[-1], *shape[1:-1]), way
        if "channels" in free and shape[-1] == 1:
            yield (shape[0], 3, *shape[1:-1]), f"--channels 3 {way}"


def _changing(shape: Shape, free: Sequence[str]) -> str:
    """The options that change the form of images, in words; "" of none."""
    count = 1 if 3 in (shape[1], shape[-1]) else 3
    ways = {"channels": f"--channels {count}", "image_size": "--image-size N"}
    named = [ways[name] for name in free]
    return f"{' and '.join(named)} change{'s' if len(named) == 1 else ''} that" if named else ""
