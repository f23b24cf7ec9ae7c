"""TFDS builders of brain MRI sets; TensorFlow is not needed."""

import contextlib
import hashlib
import io
import os
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from jaxsal.common.words import counted
from jaxsal.data import figshare_matlab, images
from jaxsal.data.listing import Listing, fingerprint

SPLIT = "slices"
RAW = {"image": tfds.decode.SkipDecoding(), "mask": tfds.decode.SkipDecoding()}

HOST = "https://ndownloader.figshare.com/files/"
ARCHIVES = {
    "brainTumorDataPublic_1-766.zip": ("3381290", "74b949ad33f042e6e103523091cd1428"),
    "brainTumorDataPublic_767-1532.zip": ("3381296", "7e8a875500d2c8a346f270538e29890e"),
    "brainTumorDataPublic_1533-2298.zip": ("3381293", "8227bf6080cb71f15a88be8d25c79ae7"),
    "brainTumorDataPublic_2299-3064.zip": ("3381302", "b378a80d6174e5317d59eb28430c6652"),
    "cvind.mat": ("7005344", "5ea82eb3212c9fcb84290ccf0beb486d"),
}
"""figshare article 1512427: its number for each file, and the MD5 it publishes."""


class Info(tfds.core.DatasetInfo):
    """What is known of a set that Google's bucket does not hold.

    A builder asks the bucket for each set that is not prepared yet, over the network, and leaves a
    temporary folder behind each time.
    """

    def initialize_from_bucket(self) -> None:
        pass


class Slices(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes the slices of a listing; what it met on the way goes into the set's metadata."""

    VERSION = tfds.core.Version("1.0.0")
    ABOUT: ClassVar[dict[str, str]] = {}
    # Else TFDS looks for a checksums file beside this one, with a package it does not install.
    url_infos = None

    def __init__(
        self,
        *,
        classes: tuple[str, ...],
        find: Callable[[tfds.download.DownloadManager], Listing],
        data_dir: Path,
        channels: int = 1,
    ):
        """Takes the classes' names, and a function from a download manager to the listing."""
        self._classes, self._find, self._channels = classes, find, channels
        super().__init__(file_format="array_record", data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        def picture(channels: int) -> tfds.features.Image:
            shape = (None, None, channels)
            return tfds.features.Image(shape=shape, dtype=np.uint8, encoding_format="png")

        features = {
            "image": picture(self._channels),
            "mask": picture(1),
            "label": tfds.features.ClassLabel(names=list(self._classes)),
            "patient": tfds.features.Text(),
            "fold": tfds.features.Scalar(np.int32),
            "name": tfds.features.Text(),
        }
        return Info(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(skipped=[], notes=[], sizes=[]),
            disable_shuffling=True,
            **self.ABOUT,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {SPLIT: self._generate_examples(self._find(dl_manager))}

    def _generate_examples(self, listing: Listing) -> Iterator[tuple[int, dict[str, Any]]]:
        remarks: Counter[str] = Counter()
        skipped, sizes = [], set()
        for number, item in enumerate(listing.items):
            try:
                row = item.read()
            except images.READ_ERRORS as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                skipped.append(f"{item.name}: {reason[:200]}")
                continue
            remarks.update(row.remarks)
            sizes.add(row.size)
            example = {"image": row.image, "mask": row.mask, "label": row.label}
            example |= {"patient": text(row.patient), "name": text(item.name)}
            yield number, example | {"fold": item.fold}
        if not sizes:
            raise ValueError(f"none of {len(skipped)} images can be read: {skipped[:3]}")
        notes = [*listing.notes, *(counted(count, what) for what, count in remarks.items())]
        self.info.metadata.update(skipped=skipped, notes=notes, sizes=sorted(sizes))


def text(name: str) -> str:
    """A file's name as text: it may be no Unicode."""
    return name.encode(errors="backslashreplace").decode()


class Figshare(Slices, skip_registration=True):  # type: ignore[call-arg]
    """Cheng's 3064 contrast-enhanced T1 slices of 233 patients, with tumour masks."""

    name = "brain_tumor_figshare"
    ABOUT: ClassVar[dict[str, str]] = {
        "description": "3064 T1-weighted contrast-enhanced slices with three kinds of brain tumour",
        "homepage": "https://doi.org/10.6084/m9.figshare.1512427",
        "license": "CC BY 4.0",
        "citation": "Jun Cheng, brain tumor dataset, figshare, doi 10.6084/m9.figshare.1512427",
    }


class Folder(Slices, skip_registration=True):  # type: ignore[call-arg]
    """Images in one folder a class."""

    name = "class_folders"
    VERSION = tfds.core.Version("1.5.0")  # copies of a series' slices
    ABOUT: ClassVar[dict[str, str]] = {"description": "images in one folder a class"}


def prepare(
    builder: type[Slices],
    listing: Listing,
    root: Path,
    cache: Path | str | None,
    *,
    least: int = 2,
) -> Slices:
    """Prepares a listing into the cache, unless its very state is there already.

    TFDS writes into a directory named `incomplete.*` and renames it when all is written: what was
    interrupted is never taken for complete.

    Raises:
        ValueError: if the cache lies under the data directory or cannot be written, if the source
            has fewer classes than `least`, or if no image can be read.
    """
    if len(listing.classes) < least:
        held = f"data_dir={str(root)!r} holds the classes {listing.classes}"
        raise ValueError(f"{held}; {least} needed")
    home = _home(cache)
    if home.is_relative_to(root):
        raise ValueError(f"cache={str(home)!r} lies under data_dir={str(root)!r}; never written to")
    facts = (*listing.classes, *listing.facts, *(listing.notes if listing.facts else ()))
    facts += (f"{listing.channels} channels",) if listing.channels > 1 else ()
    key = fingerprint(root, listing.files, facts)
    made = partial(
        builder, classes=listing.classes, find=lambda _: listing, channels=listing.channels
    )
    with _without_bars():
        return _made(made, home, key)


def download(cache: Path | str | None) -> Slices:
    """Downloads Cheng's original files (880 MB) and prepares them, unless done already.

    TFDS shows its progress on the standard error.

    Raises:
        ValueError: if the cache cannot be written, the network fails, or an MD5 is wrong.
    """
    return _made(
        partial(Figshare, classes=figshare_matlab.CLASSES, find=_fetch), _home(cache), "1512427"
    )


def _fetch(manager: tfds.download.DownloadManager) -> Listing:
    # TFDS asks again for three minutes before it gives up: ask once, whether there is a network.
    try:
        urllib.request.urlopen(HOST, timeout=30).close()
    except urllib.error.HTTPError:
        pass  # It answers.
    except urllib.error.URLError as error:
        raise ValueError(
            f"data_dir=None: {HOST} cannot be reached to download the set ({error.reason})"
        ) from error
    paths = manager.download({name: HOST + number for name, (number, _) in ARCHIVES.items()})
    for name, (_, published) in ARCHIVES.items():
        with open(paths[name], "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != published:
            os.unlink(paths[name])
            raise ValueError(f"{name} has MD5 {found}, figshare says {published}; removed")
    return figshare_matlab.of_files({name: Path(path) for name, path in paths.items()})


def _home(cache: Path | str | None) -> Path:
    path = cache or os.environ.get("JAXSAL_CACHE") or "~/.cache/jaxsal"
    return Path(path).expanduser().resolve()


def _made(builder: Callable[..., Slices], home: Path, key: str) -> Slices:
    place = home / key
    try:
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            builder(data_dir=place).download_and_prepare(download_dir=home / "downloads")
    except (OSError, tfds.core.download.util.DownloadError) as error:
        # Unless another process has prepared the same set meanwhile, and was the first to rename.
        if not builder(data_dir=place).data_path.exists():
            raise ValueError(f"cache={str(place)!r} cannot be filled: {error}") from error
    return builder(data_dir=place)


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    shown = tfds.core.utils.tqdm_utils._active  # TFDS sets it, but has no getter.
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            tfds.enable_progress_bar()
