"""`jaxsal explain`: images, a model and methods to pictures or a store."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from jaxsal import engine
from jaxsal.commands import method_syntax, model, overlays
from jaxsal.commands.progress import Explaining
from jaxsal.commands.settings import Explain
from jaxsal.common import files
from jaxsal.compiler import processes
from jaxsal.data import pictures
from jaxsal.store.dataset import explain_dataset
from jaxsal.store.records import Source
from jaxsal.store.stream import Stored


def explain(settings: Explain) -> dict[str, Any]:
    """Runs the command; returns what is told of it."""
    processes.join_if(settings.processes)
    begun = time.monotonic()
    stored, running, layers = _explained(settings)
    processes.wait("explained")
    unsound = stored.not_finite
    new = stored.explained + stored.skipped + len(unsound) - stored.resumed
    return {
        "out": str(stored.path),
        "explained": stored.explained,
        "skipped": _listed(fault for fault in stored.faults if fault not in unsound),
        "not_finite": _listed(unsound),
        "resumed": stored.resumed,
        "complete": stored.complete,
        "layers": layers,
        "seconds": round(time.monotonic() - begun, 3),
        "images_per_second": round(new / running, 2),
    }


def _listed(faults: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"source": name, "fault": fault} for name, fault in faults]


def _explained(settings: Explain) -> tuple[Stored, float, list[str]]:
    """What became of the images, the seconds since all was read and checked, the CAMs' layers."""
    methods = method_syntax.methods(settings.method)
    network = model.load(settings.checkpoint, settings.apply, settings.params)
    size = settings.image_size or network.image_size
    out = check_apart(settings.out, settings.images)
    source = pictures.find(
        settings.images, size=size, channels=settings.channels, split=settings.split, without=out
    )
    batch_size = "auto" if settings.batch_size is None else settings.batch_size
    explain = engine.explainer(
        network.apply,
        methods,
        batch_size=batch_size,
        output=settings.output,
        spatial_axes=settings.spatial_axes,
    )
    begun = time.monotonic()
    with Explaining(silent=settings.json or jax.process_index() > 0) as bar:
        common: dict[str, Any] = {
            "targets": model.target(settings.targets, network.classes),
            "key": jax.random.key(settings.seed) if explain.keyed else None,
            "strict": settings.strict,
            "on_progress": bar,
        }
        if out.suffix == ".zarr":
            stored = explain_dataset(
                explain,
                network.params,
                source,
                out,
                dtype=settings.dtype,
                chunk="auto" if settings.chunk is None else settings.chunk,
                about={"images": source.text, "methods": list(settings.method)},
                **common,
            )
        else:
            with files.writable(out) as out:
                stored = overlays.explain_folder(
                    explain,
                    network.params,
                    source,
                    out,
                    classes=network.classes,
                    names=settings.method,
                    shard=(jax.process_index(), jax.process_count()),
                    **common,
                )
    if stored.complete and not stored.explained:
        name, fault = stored.faults[0]
        count = len(stored.faults)
        raise ValueError(f"images: none of {count} can be explained; {name}: {fault}")
    seconds = time.monotonic() - begun
    return stored, seconds, _layers(explain, network.params, source)


def _layers(explain: engine.Explainer, params: Any, source: Any) -> list[str]:
    """The values that class activation maps were made of, in words."""
    first = Source(source, transform=None, count=None).peek()
    image = jax.ShapeDtypeStruct((1, *first.shape), first.dtype)
    return explain.layers(params, image, "all")


def check_apart(out: Path, images: str) -> Path:
    """The folder of the results; `~` is the user's own.

    Raises:
        ValueError: it is the folder of the images, which pictures would be taken for next time.
    """
    out = Path(os.path.expanduser(out))
    if "\0" in f"{out}{images}":  # no path at all: told where each is opened
        return out
    read, written = (os.path.realpath(os.path.expanduser(place)) for place in (images, out))
    if os.path.isdir(written) and read == written:  # (what is too long for a name is none)
        raise ValueError(f"out: expected another place than the images', got {out}")
    return out
