"""Sources of any kind as a stream of checked examples, several read at a time."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, NamedTuple, SupportsInt

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.common.errors import one_line
from jaxsal.common.options import count as checked_count
from jaxsal.types import RandomAccess

NAMES = ("name", "id", "tfds_id", "path")
"""Where a record may say where it comes from."""

LABELS = ("label", "target")

IN_MEMORY = (list, tuple, np.ndarray)
"""Sources whose every record is at hand: of these types themselves, since others may read files."""

SAMPLED = 64
"""Images of an array that tell it from another one."""

LONGEST = 300
"""Characters of a reason that are kept."""


class Example(NamedTuple):
    """One image to explain, and what is known about it.

    Attributes:
        name: where it comes from; its number in the source where it does not say.
        image: floating, or None where it cannot be used.
        label: its class, if it has one.
        fault: why it cannot be used; "" where it can.
    """

    name: str
    image: np.ndarray | None
    label: int | None = None
    fault: str = ""


class ImageSpec(NamedTuple):
    """What all images of a source have in common, and which source it is.

    Attributes:
        labelled: whether the first image that can be read has a label.
        digest: of that image and its name, and of some more of an array.
        label: of that image.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    labelled: bool = False
    digest: str = ""
    label: int | None = None


class Source:
    """Anything with a length and items, or anything iterable, as examples by their number."""

    def __init__(
        self, source: object, *, transform: Callable[[Any], Any] | None, count: int | None
    ) -> None:
        self._transform = transform
        if isinstance(source, jax.Array) and source.is_fully_addressable:
            source = np.asarray(source)  # moved once, not image by image
        if isinstance(source, Mapping | str | bytes):
            raise TypeError(
                "source: expected a Grain, TFDS or other sequence or iterable of records, "
                f"got {type(source).__name__}"
            )
        self._records = source if isinstance(source, RandomAccess) else None
        self._rest: Iterator[object] = iter(())
        if self._records is None:
            if not isinstance(source, Iterable):
                raise TypeError(f"source: expected a sequence or an iterable, got {source!r}")
            self._rest = iter(source)
        self._seen = 0
        self.count = _length(None if self._records is None else len(self._records), count)

    def peek(self) -> ImageSpec:
        """The shape of the first image that can be read.

        Raises:
            ValueError: none can.
            TypeError: its pixels are not floating.
        """
        tried: list[object] = []
        example = Example("", None, fault="the source is empty")
        cause: Exception | None = None
        numbers = itertools.count() if self.count is None else range(self.count)
        for number in numbers:
            try:
                raw = next(self._rest) if self._records is None else self._records[number]
            except StopIteration:
                break
            except Exception as error:
                if self._records is None:
                    raise
                example, cause = _broken(str(number), error), error
                continue
            if self._records is None:
                tried.append(raw)
            example, cause = self._checked(number, raw, None), None
            if example.image is not None:
                break
        self._rest = itertools.chain(tried, self._rest)
        if example.image is None:
            last = f"source: no image can be read; the last: {example.fault}"
            raise ValueError(last) from cause
        image, label = example.image, example.label
        digest = self._digest(example)
        return ImageSpec(image.shape, image.dtype, label is not None, digest, label)

    def _digest(self, example: Example) -> str:
        """Of the example, and of `SAMPLED` images spread evenly over an array."""
        content = hashlib.sha256(example.name.encode(errors="backslashreplace"))
        content.update(np.asarray(example.image).tobytes())
        if isinstance(self._records, np.ndarray) and self._records.dtype != object:
            rows = np.linspace(0, len(self._records) - 1, SAMPLED).astype(int)
            content.update(self._records[rows].tobytes())
        return content.hexdigest()[:16]

    def labelling(self, first: int | None) -> str:
        """A digest of labels: the first image's, and those of all records that lie in memory.

        Args:
            first: that of the first image that can be read: no more are known of other sources.
        """
        records: Any = self._records if type(self._records) in IN_MEMORY else ()
        labels = [str(first), *(str(_raw_label(raw)) for raw in records[: self.count])]
        return hashlib.sha256(" ".join(labels).encode(errors="backslashreplace")).hexdigest()[:16]

    def chunks(
        self, wanted: Iterable[tuple[int, int, int]], expected: ImageSpec, pool: Executor
    ) -> Iterator[tuple[int, list[Example]]]:
        """The examples of each wanted `(chunk, first, last)`, in order.

        Of an iterable the records before `first` are passed over; one that ends early ends the
        chunk early.
        """
        for chunk, first, last in wanted:
            if (known := self._records) is not None:
                reads = [pool.submit(self._read, known, n, expected) for n in range(first, last)]
                examples = [read.result() for read in reads]
            else:
                examples = [
                    self._checked(number, raw, expected) for number, raw in self._pass(first, last)
                ]
            yield chunk, examples

    def passed(self) -> int:
        """How many records of an iterable have been taken."""
        return self._seen

    def _pass(self, first: int, last: int) -> Iterator[tuple[int, object]]:
        for raw in itertools.islice(self._rest, max(0, last - self._seen)):
            self._seen += 1
            if self._seen > first:
                yield self._seen - 1, raw

    def _read(self, records: RandomAccess, number: int, expected: ImageSpec) -> Example:
        try:
            raw = records[number]
        except Exception as error:  # whatever a decoder raises on a broken file
            known = getattr(error, "source_name", None)
            return _broken(known if isinstance(known, str) else str(number), error)
        return self._checked(number, raw, expected)

    def _checked(self, number: int, raw: object, expected: ImageSpec | None) -> Example:
        try:
            example = _example(number, raw if self._transform is None else self._transform(raw))
        except _NotARecord as error:
            raise TypeError(str(error)) from None
        except Exception as error:  # whatever a transform raises on a broken image
            return _broken(_name(raw, number), error)
        if example.image is None:
            return example
        return example._replace(**_checked_image(example, expected))


def stacked(examples: list[Example], expected: ImageSpec) -> np.ndarray:
    """The examples' images, [B, ...], black where one has none."""
    images = np.zeros((len(examples), *expected.shape), expected.dtype)
    for i, example in enumerate(examples):
        if example.image is not None:
            images[i] = example.image
    return images


class _NotARecord(Exception):
    """What no image of this source can be, rather than one that is broken."""


def _example(number: int, raw: object) -> Example:
    """A mapping with `image`, perhaps `label` and a name; `(image, label)`; or an image."""
    if isinstance(raw, Example):
        return raw
    if raw is None:  # what Grain's filters leave behind
        return Example(str(number), None, fault="the source gave None")
    name = _name(raw, number)
    if isinstance(raw, Mapping):
        if "image" not in raw:
            raise _NotARecord(f"source: expected records with 'image', got {sorted(raw)}")
        return Example(name, np.asarray(raw["image"]), _label(_raw_label(raw)))
    if isinstance(raw, tuple):
        if len(raw) != 2:
            raise _NotARecord(f"source: expected (image, label), got {len(raw)} entries")
        return Example(name, np.asarray(raw[0]), _label(_raw_label(raw)))
    return Example(name, np.asarray(raw))


def _checked_image(example: Example, expected: ImageSpec | None) -> dict[str, Any]:
    """The example's image as it is used, or why it is not: checked against the first one's.

    Raises:
        TypeError: its pixels are no floating numbers: not one image's fault.
    """
    image = example.image
    assert image is not None
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise TypeError(
            f"source: expected floating images, got {image.dtype} in {example.name!r}; convert and "
            "scale them: transform=lambda record: ..."
        )
    if not image.ndim:
        raise TypeError(f"source: expected images, got a number in {example.name!r}")
    if expected is not None and image.shape != expected.shape:
        fault = f"shape {image.shape}, the others have {expected.shape}"
    elif not image.size:
        fault = f"no pixels, shape {image.shape}"
    elif not np.isfinite(image).all():
        fault = "pixels that are not finite"
    else:
        return {"image": image if expected is None else image.astype(expected.dtype, copy=False)}
    return {"image": None, "fault": fault}


def _broken(name: str, error: Exception) -> Example:
    return Example(name, None, fault=one_line(error)[:LONGEST])


def _name(raw: object, number: int) -> str:
    found = None
    if isinstance(raw, Mapping):
        found = next((raw[key] for key in NAMES if key in raw), None)
    if found is None:
        return str(number)
    return found.decode(errors="backslashreplace") if isinstance(found, bytes) else str(found)


def _raw_label(raw: object) -> Any:
    """A record's label as it came; None where it has none."""
    if isinstance(raw, Example):
        return raw.label
    if isinstance(raw, Mapping):
        return next((raw[key] for key in LABELS if key in raw), None)
    return raw[1] if isinstance(raw, tuple) and len(raw) == 2 else None


def _label(value: SupportsInt | str | None) -> int | None:
    return None if value is None else int(value)


def _length(length: int | None, wanted: int | None) -> int | None:
    """How many examples are taken of a source of that length (None: unknown)."""
    wanted = None if wanted is None else checked_count("count", wanted, most=2**53)
    if length is None:
        return wanted
    if length == 0 or length > 2**53:  # Grain's endless repeats have the largest length there is
        if wanted is None:
            raise ValueError(f"source: expected a length between 1 and 2^53, got {length}")
    return length if wanted is None else min(length, wanted)
