"""Scans that are cut short, mangled, mislabelled, bombs or absurdly large."""

import gzip
import io
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from jaxsal.data import pictures, scans
from jaxsal.data.wanted import Wanted
from tests.data import dicoms
from tests.fuzz.calls import Case
from tests.fuzz.material import PLACES, command, mangled, network, put

KINDS = ("dcm", "rgb.dcm", "rle.dcm", "nii", "nii.gz", "mgz", "tif", "gif", "png", "npy", "mha")

PER_KIND = 60

VOLUME = np.random.default_rng(0).integers(0, 900, (4, 9, 7), np.int16)


@cache
def whole() -> dict[str, bytes]:
    """A good file of each kind."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        dicoms.write(place / "a.dcm", VOLUME[0], **dicoms.place(0.0))
        dicoms.write(place / "a.rgb.dcm", np.stack([VOLUME[1].astype(np.uint8)] * 3, -1))
        packed = dicoms.pydicom.dcmread(place / "a.dcm")
        packed.compress(dicoms.pydicom.uid.RLELossless)
        packed.save_as(place / "a.rle.dcm")
        for kind in ("nii", "nii.gz"):
            nibabel.save(nibabel.Nifti1Image(VOLUME, np.diag([2.0, 2, 3, 1])), place / f"a.{kind}")
        nibabel.save(nibabel.MGHImage(VOLUME, np.eye(4)), place / "a.mgz")
        for kind, pages in (("tif", VOLUME.astype(np.uint16)), ("gif", VOLUME), ("png", VOLUME)):
            first, *rest = [Image.fromarray(p if kind == "tif" else p.astype("u1")) for p in pages]
            first.save(place / f"a.{kind}", save_all=True, append_images=rest)
        np.save(place / "a.npy", VOLUME)
        (place / "a.mha").write_bytes(
            b"ObjectType = Image\nNDims = 3\nDimSize = 7 9 4\nElementType = MET_SHORT\n"
            b"ElementDataFile = LOCAL\n" + VOLUME.tobytes()
        )
        for kind in KINDS:
            found[kind] = (place / f"a.{kind}").read_bytes()
    return found


def read(path: Path, wanted: Wanted = Wanted(8)) -> None:  # noqa: B008
    """Every record of a file; what is broken is told of the images."""
    source = pictures.find(str(path), wanted=wanted)
    try:
        for number in range(len(source)):
            assert np.isfinite(source[number]["image"]).all()
    except pictures.BrokenImage as error:
        raise ValueError(f"images: {error.source_name}: {error}") from error


def mangled_scans(seed: int) -> Iterator[Case]:
    """By themselves, of their own and of another ending, as slices and as volumes."""
    draw = np.random.default_rng(seed + 10)
    for kind, content in whole().items():
        for number in range(PER_KIND):
            bad = mangled(content, draw)
            bad = (
                gzip.compress(mangled(gzip.decompress(content), draw))
                if (kind == "nii.gz" and number % 2)
                else bad
            )
            ending = kind if number % 4 else KINDS[int(draw.integers(len(KINDS)))]
            wanted = Wanted(8, volumes=bool(number % 5 == 0))
            wanted = wanted._replace(slicing=scans.parse("coronal")) if number % 7 == 0 else wanted

            def call(place: Path, name: str = f"a.{ending}", bad: bytes = bad, w: Wanted = wanted):
                read(put(place, {name: bad}) / name, w)

            yield Case(f"scan {kind} {number} as {ending}", call, ("images", "slices"))


def to_the_command(seed: int) -> Iterator[Case]:
    """Mixed folders, some of whose files are broken, to all three kinds of output."""
    draw = np.random.default_rng(seed + 11)
    for number in range(24):
        files = {
            f"{n}.{kind}": content if draw.integers(3) else mangled(content, draw)
            for n, (kind, content) in enumerate(whole().items())
        }
        out = ("pictures", "m.zarr", "m.nii.gz")[number % 3]
        kept = {n: c for n, c in files.items() if out != "m.nii.gz" or n.endswith((".nii", ".gz"))}

        def call(place: Path, files: dict[str, bytes] = kept, out: str = out) -> None:
            put(place / "scans", files)
            put(place / "net", network())
            given = ("--checkpoint", str(place / "net"), "--images", str(place / "scans"))
            command("explain", *given, "--method", "gradient", "--out", str(place / out))

        yield Case(f"command scans {number} to {out}", call, PLACES)


def absurd(seed: int) -> Iterator[Case]:
    """Small files that promise much, and names that lead elsewhere."""
    del seed
    nifti = bytearray(whole()["nii"])
    for label, at, value in (
        ("large", 42, np.array([30000] * 3, "<i2")),
        ("negative", 42, np.array([-5] * 3, "<i2")),
        ("seven axes", 40, np.array([7, 9, 9, 9, 9, 9, 9, 9], "<i2")),
        ("no axes", 40, np.array([0], "<i2")),
        ("far away", 108, np.array([1e30], "<f4")),
        ("before the file", 108, np.array([-1e9], "<f4")),
        ("an unknown kind", 70, np.array([777], "<i2")),
        ("a slope of nothing", 112, np.array([np.nan, np.inf], "<f4")),
        ("a flat affine", 280, np.zeros(12, "<f4")),
    ):
        content = bytes(nifti[:at]) + value.tobytes() + bytes(nifti[at + value.nbytes :])
        for kind in ("nii", "nii.gz"):
            packed = gzip.compress(content) if kind == "nii.gz" else content

            def call(place: Path, kind: str = kind, packed: bytes = packed) -> None:
                read(put(place, {f"a.{kind}": packed}) / f"a.{kind}")

            yield Case(f"scan absurd {label} {kind}", call, ("images",))

    def bomb(place: Path) -> None:
        """A GiB of nothing behind a header of 4 x 9 x 7 voxels, and before the first of them."""
        far = bytearray(nifti)
        far[108:112] = np.float32(2**24).tobytes()
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
            file.write(bytes(far))
            for _ in range(1024):
                file.write(bytes(2**20))
        read(put(place, {"a.nii.gz": buffer.getvalue()}) / "a.nii.gz")

    yield Case("scan absurd bomb", bomb, ("images",))
    for label, tags in {
        "frames": {"NumberOfFrames": 2**30},
        "rows": {"Rows": 65535, "Columns": 65535},
        "no rows": {"Rows": 0},
        "bits": {"BitsAllocated": 64, "BitsStored": 63},
        "samples": {"SamplesPerPixel": 9},
        "a kind of its own": {"PhotometricInterpretation": "NONE"},
        "a palette without one": {"PhotometricInterpretation": "PALETTE COLOR"},
        "a window of no width": {"WindowCenter": 0, "WindowWidth": 0},
        "a slope of nothing": {"RescaleSlope": 0, "RescaleIntercept": 0},
        "a flat place": {**dicoms.place(0.0), "ImageOrientationPatient": [0] * 6},
    }.items():

        def dicom(place: Path, tags: dict[str, object] = tags) -> None:
            read(dicoms.write(place / "a.dcm", VOLUME[0], **tags))

        yield Case(f"scan absurd dicom {label}", dicom, ("images",))

    def elsewhere(place: Path) -> None:
        """A MetaImage whose voxels are in another file."""
        put(place, {"elsewhere": bytes(64)})
        content = b"ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\n"
        read(
            put(place, {"scans/a.mhd": content + b"ElementDataFile = ../elsewhere\n"})
            / "scans/a.mhd"
        )

    yield Case("scan absurd elsewhere", elsewhere, ("images",))


def cases(seed: int) -> list[Case]:
    """All of them, drawn from the seed."""
    return [c for kind in (mangled_scans, to_the_command, absurd) for c in kind(seed)]
