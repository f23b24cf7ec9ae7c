"""`jaxsal explain`: images, a model and methods to pictures or a store."""

import time
from typing import Any

import jax

from jaxsal import engine, parallel
from jaxsal.command import network, overlays, places, wording
from jaxsal.command.progress import Explaining
from jaxsal.command.settings import Explain
from jaxsal.data import pictures
from jaxsal.store.dataset import explain_dataset
from jaxsal.store.stream import Stored


def explain(settings: Explain) -> dict[str, Any]:
    """Runs the command; returns what is told of it."""
    parallel.join_if(settings.processes)
    begun = time.monotonic()
    stored, running = _explained(settings)
    parallel.wait("explained")
    new = stored.explained + stored.skipped - stored.resumed
    return {
        "out": str(stored.path),
        "explained": stored.explained,
        "skipped": [{"source": name, "fault": fault} for name, fault in stored.faults],
        "resumed": stored.resumed,
        "complete": stored.complete,
        "seconds": round(time.monotonic() - begun, 3),
        "images_per_second": round(new / running, 2),
    }


def _explained(settings: Explain) -> tuple[Stored, float]:
    """What became of the images, and the seconds that it took when all was read and checked."""
    methods = wording.methods(settings.method)
    model = network.load(settings.checkpoint, settings.apply, settings.params)
    size = settings.image_size or model.image_size
    source = pictures.find(
        settings.images, size=size, channels=settings.channels, split=settings.split
    )
    batch_size = "auto" if settings.batch_size is None else settings.batch_size
    explain = engine.explainer(model.apply, methods, batch_size=batch_size)
    begun = time.monotonic()
    with Explaining(silent=settings.json or jax.process_index() > 0) as bar:
        common: dict[str, Any] = {
            "targets": network.target(settings.targets, model.classes),
            "key": jax.random.key(settings.seed) if explain.keyed else None,
            "strict": settings.strict,
            "on_progress": bar,
        }
        if settings.out.suffix == ".zarr":
            stored = explain_dataset(
                explain,
                model.params,
                source,
                settings.out,
                dtype=settings.dtype,
                chunk="auto" if settings.chunk is None else settings.chunk,
                about={"images": source.text, "methods": list(settings.method)},
                **common,
            )
        else:
            with places.writable(settings.out) as out:
                stored = overlays.explain_folder(
                    explain,
                    model.params,
                    source,
                    out,
                    classes=model.classes,
                    names=settings.method,
                    shard=(jax.process_index(), jax.process_count()),
                    **common,
                )
    return stored, time.monotonic() - begun
