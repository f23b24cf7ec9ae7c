"""TFDS builders of brain MRI sets; TensorFlow is not needed."""

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from jaxsal.data import images
from jaxsal.data.listing import Listing, fingerprint

SPLIT = "slices"
VERSION = "1.0.0"
RAW = {"image": tfds.decode.SkipDecoding(), "mask": tfds.decode.SkipDecoding()}


class _Slices(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the slices of a listing; what it met on the way goes into the set's metadata."""

    VERSION = tfds.core.Version(VERSION)
    ABOUT: ClassVar[dict[str, str]] = {}
    # Else TFDS looks for a checksums file beside this one, with a package it does not install.
    url_infos = None

    def __init__(self, *, listing: Listing, **options: Any):
        self._listing = listing
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        picture = tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png")
        features = {
            "image": picture,
            "mask": picture,
            "label": tfds.features.ClassLabel(names=list(self._listing.classes)),
            "patient": tfds.features.Text(),
            "fold": tfds.features.Scalar(np.int32),
            "name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(skipped=[], notes=[]),
            disable_shuffling=True,
            **self.ABOUT,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        remarks: Counter[str] = Counter()
        skipped, sizes = [], set()
        for number, item in enumerate(self._listing.items):
            try:
                row = item.read()
            except images.READ_ERRORS as error:
                skipped.append(f"{item.name}: {_reason(error)}")
                continue
            remarks.update(row.remarks)
            sizes.add(row.size)
            example = {"image": row.image, "mask": row.mask, "label": row.label}
            yield number, example | {"patient": row.patient, "fold": item.fold, "name": item.name}
        if not sizes:
            raise ValueError(f"none of {len(skipped)} images can be read: {skipped[:3]}")
        notes = [*self._listing.notes, *(f"{count} {what}" for what, count in remarks.items())]
        self.info.metadata.update(skipped=skipped, notes=notes, sizes=sorted(sizes))


class Figshare(_Slices, skip_registration=True):
    """Cheng's 3064 contrast-enhanced T1 slices of 233 patients, with tumour masks."""

    name = "brain_tumor_figshare"
    ABOUT: ClassVar[dict[str, str]] = {
        "description": "3064 T1-weighted contrast-enhanced slices with three kinds of brain tumour",
        "homepage": "https://doi.org/10.6084/m9.figshare.1512427",
        "license": "CC BY 4.0",
        "citation": "Jun Cheng, brain tumor dataset, figshare, doi 10.6084/m9.figshare.1512427",
    }


def prepare(
    builder: type[_Slices], listing: Listing, root: Path, cache: Path | str | None
) -> _Slices:
    """Prepares a listing into the cache, unless its very state is there already.

    TFDS writes into a directory named `incomplete.*` and renames it when all is written: what was
    interrupted is never taken for complete.

    Raises:
      ValueError: if the cache lies under the data directory or cannot be written, if the source
        has fewer than two classes, or if no image can be read.
    """
    if len(listing.classes) < 2:
        raise ValueError(f"data_dir={str(root)!r} holds the classes {listing.classes}; two needed")
    home = _cache(cache, root) / fingerprint(root, listing.files, listing.classes)
    try:
        home.mkdir(parents=True, exist_ok=True)
        made = builder(listing=listing, data_dir=home)
        with _quiet():
            made.download_and_prepare()
    except OSError as error:
        raise ValueError(f"cache={str(home)!r} cannot be written: {error}") from error
    return made


def _cache(cache: Path | str | None, root: Path) -> Path:
    home = cache or os.environ.get("JAXSAL_CACHE") or "~/.cache/jaxsal"
    path = Path(home).expanduser().resolve()
    if path.is_relative_to(root):
        raise ValueError(f"cache={str(home)!r} lies under data_dir={str(root)!r}; never written to")
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    shown = tfds.core.utils.tqdm_utils._active  # TFDS has no getter
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if shown:
            tfds.enable_progress_bar()


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
