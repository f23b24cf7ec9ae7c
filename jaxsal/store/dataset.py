"""The front door of the store: a source, an explainer and a folder."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxsal.common import provenance
from jaxsal.common.options import count as checked_count
from jaxsal.compiler import processes
from jaxsal.engine import Explainer
from jaxsal.store.layout import FORMAT, Layout, automatic_chunk, columns
from jaxsal.store.stream import Progress, Stored, Stream
from jaxsal.store.zarr import Store
from jaxsal.store.zarr_sink import ZarrSink
from jaxsal.types import Params, Targets

DTYPES = ("float32", "float16")

FACTS = (
    *("params", "model", "output", "method", "key", "layers", "format", "targets", "image"),
    *("count", "source", "labelling", "chunk", "dtype", "spatial_axes", "versions", "classes"),
    "keep_images",
)
"""By these names a store says what it is itself: `about` does not speak in its place."""

LARGEST_CHUNK = 2**20
"""Examples; a chunk is in memory as a whole."""


def explain_dataset(
    explain: object,
    params: Params,
    source: object,
    out: str | os.PathLike[str],
    *,
    targets: Targets = None,
    key: Any = None,
    transform: Callable[[Any], Any] | None = None,
    count: int | None = None,
    chunk: int | str = "auto",
    dtype: str = "float32",
    strict: bool = False,
    shard: tuple[int, int] | None = None,
    classes: Sequence[str] = (),
    keep_images: bool = False,
    about: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Stored:
    """Explains every image of a source, and writes the maps into a Zarr 3 store.

    The store opens in plain `zarr` and has an entry an example, in the order of the source:
    `maps` [N, ...] (of a dict of methods `maps/<name>`), `targets` [N] int32, `logits` [N, K]
    float32 (`probabilities` or `values` where the explainer's `output` says so), of a classifier
    `predicted` [N] and `probabilities` [N, K], `labels` [N] (-1: none), `source` [N] (a name, or
    the number), `status` [N] uint8 (1 explained, 2 skipped, 3 where the map or the outputs
    are not finite, 0 not yet) and `fault` [N] (why it was skipped, or what is not finite). A target
    of -1 is none: the image has none, or its outputs are NaN. It is written chunk by chunk; killed
    at any moment, the same call goes on, repeats no finished chunk, and ends with the store of an
    unbroken run (to the last bit on devices alike). While chunks are computed the next are read and
    the last are written.

    Under `jax.distributed` every process makes the same call: each reads its own chunks of the
    source, explains them on its own devices and writes them, and waits for the others.

    Args:
        explain: what `jaxsal.explainer` returned.
        params: the model's parameters.
        source: records with a length and items (a Grain `MapDataset`, a TFDS data source, an array
            [N, ...], a list), read by several threads; or an iterable (a Grain `IterDataset`, a
            generator), read in order. A record is a mapping with `image`, perhaps `label` and
            `name`; or `(image, label)`; or an image: floating, [...].
        out: the store's folder.
        targets: None for the predicted class, "all", an int, integers [N], or "label" for each
            record's own.
        key: for methods that draw random numbers: example i, counted over the whole source, gets
            `fold_in(key, i)`.
        transform: record to record, for what is not floating yet.
        count: examples to take; of an iterable needed with several processes.
        chunk: examples a chunk; "auto": about 16 MiB of maps, 512 at most.
        dtype: of the stored maps, "float32" or "float16".
        strict: stop at an image that cannot be used, instead of skipping it; and at a store in
            which an earlier call has skipped one.
        shard: (this process, processes), which then waits for none; None: JAX's.
        classes: names of the classes, in the order of the outputs, kept in the store's attributes;
            a store without them is given those of a later call.
        keep_images: whether `images` [N, ...] is stored too, as the model takes them.
        about: further JSON-able facts that the store must have been made with, by names that are
            none of its own (`params`, `source`, ...).
        on_progress: called after each chunk that is on the disk.

    Returns:
        What the store holds now, of all processes, as a named tuple: `path`; how many examples are
        `explained` and `skipped`; `resumed`, how many an earlier call had finished; `complete`,
        whether no chunk is missing; `faults`, `(source, reason)` of each example that was skipped
        or is not finite, and `not_finite`, of the latter alone. `undrawn` is of pictures: empty.

    Raises:
        TypeError: no explainer, a source that is none, images of integers.
        ValueError: a store of another model, method, option or source (compared by its first image
            and name, and by some more of an array; with targets "label" by its first label, and by
            all of a list in memory), or of other classes; a target that is no class; targets
            "label" of a source without; no image that can be read; with `strict`, an image that
            cannot; maps that float16 cannot hold.
        OSError: the store cannot be written; what is finished stays so.
    """
    explain = check_arguments(explain, dtype, transform, about)
    folder, process = check_out(out), check_shard(shard)
    stream = Stream(
        explain,
        params,
        source,
        targets=targets,
        key=key,
        strict=strict,
        transform=transform,
        count=count,
    )
    if process[1] > 1 and stream.source.count is None:
        raise ValueError("count: a source without a length needs it with several processes")
    stream.check_classes(classes)
    layout = _layout(stream, chunk, dtype, keep_images)
    facts = _facts(stream, params, layout, dtype, about or {})
    facts |= {"classes": list(classes)} if classes else {}
    if stream.targets.by_label and classes:  # the names decide which output a folder stands for
        facts["targets"] = f"label of {', '.join(classes)}"
    facts |= {"keep_images": True} if keep_images else {}
    store = Store.create(folder, layout, facts, first=process[0] == 0)
    sink = ZarrSink(store, explain.output)
    if strict:
        sink.check_none_skipped()
    resumed = stream.run(sink, process, on_progress)
    if shard is None:
        processes.wait("stored")  # the others' chunks count too
    return sink.stored(resumed)


def _facts(
    stream: Stream, params: Params, layout: Layout, dtype: str, about: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides the maps of a store, and a few facts that do not."""
    explain, source, image = stream.explain, stream.source, stream.image
    targets = stream.targets.abstract
    identity = explain.identity(params, image, targets, key=stream.key)
    return {
        **{name: identity[name] for name in ("params", "model", "output", "method", "key")},
        **({"layers": stream.layers} if stream.layers else {}),
        "format": FORMAT,
        "targets": stream.targets.text,
        "image": [*stream.spec.shape, str(stream.spec.dtype)],
        "count": source.count,
        "source": stream.spec.digest,
        **({"labelling": source.labelling(stream.spec.label)} if stream.targets.by_label else {}),
        "chunk": layout.chunk,
        "dtype": dtype,
        **about,
        "spatial_axes": explain.spatial_axes(params, image),
        "versions": provenance.versions("jaxsal", "jax"),
    }


def _layout(stream: Stream, chunk: int | str, dtype: str, keep_images: bool) -> Layout:
    """The columns of what an explainer gives, by shape alone, and the chunk."""
    output = stream.explain.output
    every = columns(
        *stream.example[:3],
        plural=output.plural,
        dtype=dtype,
        classes=None if output.other is None else stream.targets.classes,
        image=stream.spec.shape if keep_images else None,
    )
    if chunk == "auto":
        return Layout(every, automatic_chunk(every), stream.source.count)
    if isinstance(chunk, str):
        raise ValueError(f'chunk: expected an integer or "auto", got {chunk!r}')
    return Layout(every, checked_count("chunk", chunk, most=LARGEST_CHUNK), stream.source.count)


def check_arguments(explain: object, dtype: object, transform: object, about: object) -> Explainer:
    """The explainer, where the others are a dtype, a function or None, and facts.

    Raises:
        TypeError: they are not. ValueError: another dtype, or a fact by a name of the store's own.
    """
    if not isinstance(explain, Explainer):
        came = type(explain).__name__
        raise TypeError(f"explain: expected what jaxsal.explainer returns, got {came}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype: expected one of {DTYPES}, got {dtype!r}")
    if transform is not None and not callable(transform):
        raise TypeError(f"transform: expected a function of a record, got {transform!r}")
    check_about(about)
    return explain


def check_out(out: object) -> Path:
    """The folder; `~` is the user's own.

    Raises:
        TypeError: no path.
    """
    if not isinstance(out, str | os.PathLike) or "\0" in str(out):
        raise TypeError(f"out: expected a path, got {out!r}")
    return Path(os.path.expanduser(out))


def check_about(about: object) -> None:
    """Raises unless the facts are a mapping that JSON can hold, none by the name of another fact.

    Raises:
        TypeError: JSON cannot hold them. ValueError: the store has a fact of that name itself.
    """
    if about is None:
        return
    if not isinstance(about, Mapping):
        raise TypeError(f"about: expected a dict of JSON-able facts, got {about!r}")
    try:
        json.dumps(dict(about), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"about: expected what JSON can hold ({error})") from error
    if taken := [name for name in about if name in FACTS]:
        raise ValueError(f"about: the store itself says its {taken[0]!r}; expected another name")


def check_shard(shard: object) -> tuple[int, int]:
    """`(this process, processes)`: as given, else JAX's.

    Raises:
        ValueError: what is no process.
    """
    given = (jax.process_index(), jax.process_count()) if shard is None else shard
    if not isinstance(given, tuple) or [type(n) for n in given] != [int, int]:
        given = (0, 0)
    index, count = given
    if not 0 <= index < count:
        raise ValueError(f"shard: expected (index, count), index in [0, count), got {shard}")
    return index, count
