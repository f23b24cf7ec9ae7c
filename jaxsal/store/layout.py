"""What a store holds: its columns, how they are cut into chunks, and how Zarr 3 says so."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxsal.types import ArrayOrShape, Results

FORMAT = 2
"""Of a store: another one has other columns."""

NOT_YET, EXPLAINED, SKIPPED, NOT_FINITE = 0, 1, 2, 3
"""Values of the column `status`."""

UNSOUND = {
    (True, False): "the map is not finite",
    (False, True): "the logits are not finite",
    (True, True): "the map and the logits are not finite",
}
"""The fault of an example that is explained by values that are not finite: maps, logits."""

STATUS = "status"
"""The column that is written last: a chunk of it on the disk says that the chunk is finished."""

CHUNK_BYTES = 2**24
LARGEST_CHUNK = 512

COMPRESSED: list[dict[str, Any]] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {
        "name": "blosc",
        "configuration": {"cname": "zstd", "clevel": 1, "shuffle": "bitshuffle"},
    },
]


@dataclass(frozen=True)
class Column:
    """An array with one entry an example.

    Attributes:
        name: its path in the store.
        shape: of one entry.
        dtype: Zarr's name of it; "string" holds text of any length.
        fill: what stands where nothing is written.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    fill: int | str

    def metadata(self, count: int, chunk: int) -> dict[str, Any]:
        """Zarr 3's description of the array."""
        text = self.dtype == "string"
        chunks = {"chunk_shape": [chunk, *self.shape]}
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [count, *self.shape],
            "data_type": self.dtype,
            "chunk_grid": {"name": "regular", "configuration": chunks},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self.fill,
            "codecs": [{"name": "vlen-utf8"}] if text else COMPRESSED,
            "dimension_names": ["example", *[None] * len(self.shape)],
            "attributes": {},
        }


@dataclass(frozen=True)
class Layout:
    """The columns of a store, of `count` examples (None: as many as come) in chunks."""

    columns: tuple[Column, ...]
    chunk: int
    count: int | None

    def span(self, number: int) -> tuple[int, int]:
        """The examples [first, last) of a chunk."""
        first = number * self.chunk
        last = first + self.chunk
        return first, last if self.count is None else min(last, self.count)

    @property
    def chunks(self) -> int | None:
        return None if self.count is None else -(-self.count // self.chunk)


IMAGES, LABELS, PREDICTED, PROBABILITIES = "images", "labels", "predicted", "probabilities"


def columns(
    maps: Results,
    targets: ArrayOrShape,
    outputs: ArrayOrShape,
    *,
    plural: str,
    dtype: str,
    classes: int | None,
    image: tuple[int, ...] | None = None,
) -> tuple[Column, ...]:
    """The columns of records of these shapes (one example, no batch axis).

    A dict of maps becomes `maps/<name>`.

    Args:
        plural: what the model's outputs are called.
        classes: how many are predicted among; None: the model is a regression.
        image: the shape of the images that are kept too; None: they are not.
    """
    if isinstance(maps, dict):
        kept = [Column(f"maps/{check_name(k)}", m.shape, dtype, "NaN") for k, m in maps.items()]
    else:
        kept = [Column("maps", maps.shape, dtype, "NaN")]
    return (
        *kept,
        Column("targets", targets.shape, "int32", -1),
        Column(plural, outputs.shape, "float32", "NaN"),
        *_answers(plural, classes),
        Column(LABELS, (), "int32", -1),
        *([] if image is None else [Column(IMAGES, image, "float32", "NaN")]),
        Column("source", (), "string", ""),
        Column("fault", (), "string", ""),
        Column(STATUS, (), "uint8", NOT_YET),
    )


def _answers(plural: str, classes: int | None) -> list[Column]:
    """What a classifier says: the class, and probabilities where its outputs are none."""
    if classes is None:
        return []
    predicted = Column(PREDICTED, (), "int32", -1)
    own = [] if plural == PROBABILITIES else [Column(PROBABILITIES, (classes,), "float32", "NaN")]
    return [predicted, *own]


def automatic_chunk(columns: tuple[Column, ...]) -> int:
    """Examples a chunk: a power of two, about 16 MiB of maps, 512 at most."""
    size = sum(
        math.prod(column.shape) * np.dtype(column.dtype).itemsize
        for column in columns
        if column.dtype != "string"
    )
    return min(LARGEST_CHUNK, 1 << max(0, (CHUNK_BYTES // max(size, 1)).bit_length() - 1))


def check_name(name: str) -> str:
    """The name, where it is one that a folder can have.

    Raises:
        ValueError: it is not: it could lead out of the store.
    """
    good = name and not name.startswith((".", "_")) and not set(name) & set('/\\:*?"<>|\0\n')
    if not good or len(name) > 100:
        raise ValueError(f"method: {name!r} cannot be the name of a folder in the store")
    return name


def as_json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
