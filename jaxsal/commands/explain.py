"""`jaxsal explain`: images, a model and methods to pictures or a store."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from jaxsal import engine
from jaxsal.commands import (
    effects,
    image_form,
    method_syntax,
    model,
    overlays,
    replacing,
    scan_maps,
)
from jaxsal.commands.outlined import Outlined
from jaxsal.commands.preparing import Images
from jaxsal.commands.preprocessing import Preprocess
from jaxsal.commands.progress import Explaining
from jaxsal.commands.settings import Explain
from jaxsal.common import files, results
from jaxsal.compiler import processes
from jaxsal.data import intensity, pictures, scans
from jaxsal.data.intensity import Intensity
from jaxsal.data.records import Files
from jaxsal.data.wanted import Wanted
from jaxsal.store.dataset import explain_dataset
from jaxsal.store.source import Source
from jaxsal.store.stream import Stored
from jaxsal.viz.maps import Look


def run(settings: Explain) -> dict[str, Any]:
    """Runs the command; returns what it prints under `--json`."""
    effects.check(settings)
    processes.join_if(settings.processes)
    start = time.monotonic()
    stored, running, layers, images, warnings = _explain(settings)
    source, outlined = images.source, images.outlined
    processes.wait("explained")
    new = stored.explained + stored.skipped + len(stored.not_finite) - stored.resumed
    return {
        "out": str(stored.path),
        "explained": stored.explained,
        "skipped": _records(fault for fault in stored.faults if fault not in stored.not_finite),
        "not_finite": _records(stored.not_finite),
        "not_used": _records(outlined.left if outlined else source.left),
        "masks": len(outlined.used - outlined.empty) if outlined else 0,
        "empty_masks": sorted(path.name for path in outlined.empty) if outlined else [],
        "without_mask": outlined.without if outlined else None,
        "notes": [*images.notes(), *(outlined.notes if outlined else ())],
        "not_drawn": _records(stored.undrawn),
        "resumed": stored.resumed,
        "complete": stored.complete,
        "layers": layers,
        "warnings": list(warnings),
        "seconds": round(time.monotonic() - start, 3),
        "images_per_second": round(new / running, 2),
    }


def _records(faults: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"source": name, "fault": fault} for name, fault in faults]


def _explain(
    settings: Explain,
) -> tuple[Stored, float, list[str], Images, tuple[str, ...]]:
    """What became of the images, the seconds it took, layers of CAMs, the images, warnings."""
    methods = method_syntax.methods(settings.method)
    look = Look(settings.style, settings.opacity, settings.colormap)
    found = model.load(settings.checkpoint, settings.apply, settings.params, settings.classes)
    out = check_apart(settings.out, settings.images)
    if scan_maps.is_nifti(out):
        scan_maps.check_place(out)
    found_images = _source(settings, found, out)
    lies = scan_maps.check(found_images, out) if scan_maps.is_nifti(out) else None
    outlined = _outlined(settings, found_images, out)
    source = Images(
        found_images,
        classes=found.classes,
        preprocess=Preprocess(settings.preprocessing),
        outlined=outlined,
    )
    if outlined is not None:
        _check_replaced(settings, source, outlined, out)
    if settings.targets == "label":
        source.check_labels()
    one = _batch_of_one(source)
    free = image_form.open_options(found, settings.image_size, settings.channels)
    with image_form.advised(found, one, free):
        found = found.fitted(one)
    explain = engine.explainer(
        found.apply,
        methods,
        batch_size="auto" if settings.batch_size is None else settings.batch_size,
        output=settings.output,
        spatial_axes=settings.spatial_axes,
    )
    found = found._replace(warnings=(*found.warnings, *_moved_pixels(source, out)))
    start = time.monotonic()
    with image_form.advised(found, one, free):
        stored = _write(settings, explain, found, source, out, look, lies)
    if stored.complete and not stored.explained:
        name, fault = stored.faults[0]
        count = len(stored.faults)
        raise ValueError(f"images: none of {count} can be explained; {name}: {fault}")
    seconds = time.monotonic() - start
    layers = explain.layers(found.params, one, "all")
    return stored, seconds, layers, source, found.warnings


def _moved_pixels(source: Images, out: Path) -> tuple[str, ...]:
    """Warnings of a preprocessing that moves pixels, or may, where maps lie on images or scans.

    Raises:
        ValueError: it does, and maps are to lie on a scan.
    """
    if out.suffix == ".zarr":
        return ()
    if scan_maps.is_nifti(out) and source.moved:
        raise ValueError(
            f"out: {source.preprocess.moved_text()}: where they lie in the scan is not known; "
            "expected NAME.zarr, or a folder of pictures"
        )
    return source.warnings()


def _source(settings: Explain, found: model.Model, out: Path) -> pictures.Pictures:
    """The images as the model takes them."""
    size, channels = model.input_of(found, settings.image_size, settings.channels)
    asked = intensity.check(Intensity(settings.intensity, settings.window))
    slicing = scans.parse(settings.slices)
    volumes = settings.volumes or found.volumes
    if volumes and settings.slices is not None:
        raise ValueError("slices: the model is given whole scans; leave it out, or --volumes")
    if settings.volumes and found.image_size is not None and not found.volumes:
        raise ValueError("volumes: the checkpoint's network takes pictures; expected another one")
    wanted = Wanted(size, channels, found.range, asked, slicing, volumes)
    without = (out, *(scan_maps.places(out) if scan_maps.is_nifti(out) else ()))
    apart = settings.masks is not None and not _holds(settings.masks, settings.images)
    source = pictures.find(
        settings.images,
        wanted=wanted,
        split=settings.split,
        without=without,
        masks=(Path(os.path.expanduser(settings.masks)),) if settings.masks and apart else (),
    )
    if settings.slices is not None and isinstance(source, Files) and not source.has_stacks:
        raise ValueError("slices: of no effect in this call; none of the images is of several")
    return source


def _holds(folder: Path, images: str) -> bool:
    """Whether the images lie in a folder."""
    inner, outer = (os.path.realpath(os.path.expanduser(place)) for place in (images, folder))
    return Path(inner).is_relative_to(outer)


def _outlined(settings: Explain, source: pictures.Pictures, out: Path) -> Outlined | None:
    """The masks of images that are drawn.

    Raises:
        ValueError: as of `Outlined`.
    """
    drawn = out.suffix != ".zarr" and not scan_maps.is_nifti(out)
    return Outlined(source, settings.masks) if drawn else None


def _check_replaced(settings: Explain, source: Images, outlined: Outlined, out: Path) -> None:
    """Raises where a picture or a page would take the place of a file that is no run's.

    Raises:
        ValueError: as of `replacing.check`.
    """
    known = source.names()
    names = overlays.file_names(known or (), jax.process_count())
    if known is None and out.is_dir():  # any picture that is there may be called as an image
        names |= {os.path.relpath(path, out) for path in out.rglob("*.png")}
    found = source.source
    given = [Path(os.path.expanduser(settings.images)), settings.params, *outlined.files]
    given += found.paths if isinstance(found, Files) else ()
    replacing.check(out, results.PICTURES, names, given)


def _write(
    settings: Explain,
    explain: engine.Explainer,
    found: model.Model,
    source: Images,
    out: Path,
    look: Look,
    lies: Files | None,
) -> Stored:
    """Maps into a store where its name ends in .zarr, NIfTI in .nii, else overlays in a folder.

    Args:
        lies: where scans lie, for NIfTI.
    """
    names = method_syntax.names(settings.method)
    with Explaining(silent=settings.json or jax.process_index() > 0) as bar:
        common: dict[str, Any] = {
            "targets": model.target(settings.targets, found.classes),
            "key": jax.random.key(settings.seed) if explain.keyed else None,
            "strict": settings.strict,
            "classes": found.classes,
            "on_progress": lambda progress: bar(*progress),
        }
        if out.suffix == ".zarr":
            return explain_dataset(
                explain,
                found.params,
                source,
                out,
                dtype=settings.dtype,
                chunk="auto" if settings.chunk is None else settings.chunk,
                keep_images=settings.keep_images,
                about={"images": source.text, "methods": list(settings.method)},
                **common,
            )
        if lies is not None:
            return scan_maps.explain_scans(
                explain,
                found.params,
                source,
                lies,
                out,
                names=names,
                **common,
            )
        with files.writable(out) as folder:
            return overlays.explain_folder(
                explain,
                found.params,
                source,
                folder,
                names=names,
                look=look,
                warnings=found.warnings,
                shard=(jax.process_index(), jax.process_count()),
                **common,
            )


def _batch_of_one(source: Images) -> jax.ShapeDtypeStruct:
    """The first image that can be read, by shape."""
    first = Source(source, transform=None, count=None).peek()
    return jax.ShapeDtypeStruct((1, *first.shape), first.dtype)


def check_apart(out: Path, images: str) -> Path:
    """The folder of the results; `~` is the user's own.

    Raises:
        ValueError: it is the folder of the images, where the next run would explain the pictures.
    """
    out = Path(os.path.expanduser(out))
    if "\0" in f"{out}{images}":  # not a path: the error comes where it is opened
        return out
    read, written = (os.path.realpath(os.path.expanduser(place)) for place in (images, out))
    if os.path.isdir(written) and read == written:  # (False for a name that is too long)
        raise ValueError(f"out: expected another place than the images', got {out}")
    return out
