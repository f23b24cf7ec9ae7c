"""DICOM: what is read, in which order, in which units; and what is not told."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest

from jaxsal.data import dicom_pixels, formats, pictures, scans
from jaxsal.data.intensity import Intensity
from jaxsal.data.wanted import Wanted
from tests.data import dicoms
from tests.data.dicoms import pydicom

VOLUME = np.random.default_rng(0).integers(-200, 900, (5, 6, 4), np.int16)

RAW = Wanted(intensity=Intensity("raw"))


def shipped(name: str) -> Path:
    """A file of pydicom's own tests."""
    return Path(pydicom.data.get_testdata_file(name))


def only(path: Path) -> scans.Scan:
    found, left = formats.scans([(path, path.name)])
    assert len(found) == 1 and not left
    return found[0]


def every(folder: Path, wanted: Wanted = RAW) -> np.ndarray:
    source = pictures.find(str(folder), wanted=wanted)
    return np.stack([source[n]["image"] for n in range(len(source))])


def test_a_series_is_ordered_by_position_and_not_by_name(tmp_path) -> None:
    dicoms.series(tmp_path, VOLUME, [9.0, 0.0, 3.0, 12.0, 6.0])
    found = every(tmp_path)
    np.testing.assert_array_equal(found[..., 0], VOLUME[[1, 2, 4, 0, 3]])
    source = pictures.find(str(tmp_path), wanted=RAW)
    assert source.name(0) == "IM000"  # the file that the slice comes from
    affine = source.scans[0].affine
    # Column 2, row 1, slice 3, in millimetres right, anterior, superior.
    np.testing.assert_allclose(affine @ [2, 1, 3, 1], [10 - 2, 20 - 2, 9, 1])


def test_planes_of_a_series_are_the_patients(tmp_path) -> None:
    """Axial slices as stored; coronal ones from back to front, the head on top."""
    dicoms.series(tmp_path, VOLUME, [0.0, 3.0, 6.0, 9.0, 12.0])
    axial = every(tmp_path, RAW._replace(slicing=scans.parse("axial")))
    np.testing.assert_array_equal(axial[..., 0], VOLUME)
    coronal = every(tmp_path, RAW._replace(slicing=scans.parse("coronal:1:3")))
    np.testing.assert_array_equal(coronal[..., 0], VOLUME[::-1, ::-1][:, 1:3].swapaxes(0, 1))
    volume = every(tmp_path, RAW._replace(volumes=True))
    np.testing.assert_array_equal(volume[0, ..., 0], VOLUME.transpose(2, 1, 0)[::-1, ::-1])


def test_slices_at_one_position_are_times_and_gaps_are_told(tmp_path) -> None:
    for time in range(2):
        heights = [0.0, 3.0, 6.0, 9.0, 12.0]
        dicoms.series(tmp_path / "a", VOLUME + time, heights, AcquisitionNumber=time)
        for file in (tmp_path / "a").glob("IM*"):
            file.rename(tmp_path / f"{file.name}-{time}")
    found = pictures.find(str(tmp_path), wanted=RAW).scans[0]
    assert (found.times, found.shape, found.even) == (2, (4, 6, 5), "")
    np.testing.assert_array_equal(every(tmp_path)[..., 0], np.concatenate([VOLUME, VOLUME + 1]))
    dicoms.series(tmp_path / "gap", VOLUME, [0.0, 3.0, 6.0, 9.0, 30.0])
    assert "not evenly spaced" in pictures.find(str(tmp_path / "gap")).scans[0].even


def test_a_slice_that_is_copied_counts_once(tmp_path) -> None:
    """By its pixels too: the files here are all of one number, as some programs write them."""
    dicoms.series(tmp_path, VOLUME, [0.0, 3.0, 6.0, 9.0, 12.0])
    whole = every(tmp_path, Wanted())
    for name in ("IM001 copy", "IM001 copy 2"):
        (tmp_path / name).write_bytes((tmp_path / "IM001").read_bytes())
    source = pictures.find(str(tmp_path), wanted=Wanted())
    reason = "a copy of another slice of its series"
    assert dict(source.left) == {"IM001 copy": reason, "IM001 copy 2": reason}
    assert len(source.scans) == 1 and not source.of_scans
    np.testing.assert_array_equal(every(tmp_path, Wanted()), whole)


def test_files_that_are_no_stack_say_why(tmp_path) -> None:
    heights = [0.0, 3.0, 6.0, 9.0, 12.0]
    dicoms.series(tmp_path / "s", VOLUME, heights)
    tags = dicoms.place(3.0) | {"InstanceNumber": 1}
    dicoms.write(tmp_path / "s" / "other", VOLUME[0], **tags)  # of the same number and place
    source = pictures.find(str(tmp_path), wanted=RAW)
    assert len(source) == 6 and not source.left
    told = (
        "6 files taken each as a scan, at its own intensities: no stack of slices "
        "(s/IM000's series: 1 to 2 of them lie at a place, expected as many at each)"
    )
    assert source.notes()[0] == told
    with pytest.raises(ValueError, match="no stack of slices: 1 to 2 of them lie at a place"):
        pictures.find(str(tmp_path), wanted=RAW._replace(volumes=True))
    dicoms.series(tmp_path / "t", VOLUME, [5.0] * 5)
    (note,) = pictures.find(str(tmp_path / "t"), wanted=RAW).of_scans
    assert note.startswith("5 files taken each as a scan") and "all 5 lie at one place" in note


def test_a_gap_is_told_where_slices_are_seen_together(tmp_path) -> None:
    dicoms.series(tmp_path, VOLUME, [0.0, 3.0, 6.0, 9.0, 30.0])
    for wanted in (RAW._replace(volumes=True), RAW._replace(slicing=scans.parse("coronal"))):
        (note,) = pictures.find(str(tmp_path), wanted=wanted).of_scans
        assert note.startswith("1 scan read as though evenly spaced (") and "up to 14 mm" in note
    assert not pictures.find(str(tmp_path), wanted=RAW).of_scans


def test_several_series_of_a_folder_stay_apart(tmp_path) -> None:
    dicoms.series(tmp_path / "b", VOLUME, [0.0, 1, 2, 3, 4])
    for number, file in enumerate(sorted((tmp_path / "b").iterdir())):
        file.rename(tmp_path / f"old{number}")
    dicoms.series(tmp_path, VOLUME[:3], [0.0, 1, 2], SeriesInstanceUID="1.2.10")
    found = pictures.find(str(tmp_path), wanted=RAW)
    assert sorted(scan.shape[2] for scan in found.scans) == [3, 5]
    assert len({scan.name for scan in found.scans}) == 2 and not found.left


def test_slope_intercept_window_and_white(tmp_path) -> None:
    pixels = np.array([[0, 500], [1040, 2000]], np.uint16)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    path = dicoms.write(tmp_path / "a.dcm", pixels, **tags)
    np.testing.assert_array_equal(every(path)[0, ..., 0], 2.0 * pixels - 1000)
    window = {"WindowCenter": [500.5, 0], "WindowWidth": [1001, 5]}  # 0 to 1000
    for kind, white in (("MONOCHROME2", False), ("MONOCHROME1", True)):
        path = dicoms.write(
            tmp_path / "b.dcm", pixels, PhotometricInterpretation=kind, **tags, **window
        )
        expected = np.clip((2.0 * pixels - 1000) / 1000, 0, 1)
        found = every(path, Wanted())[0, ..., 0]
        np.testing.assert_allclose(found, 1 - expected if white else expected, atol=1e-6)
    given = Wanted(intensity=Intensity(window=(1080, 4000)))
    np.testing.assert_allclose(every(path, given)[0, ..., 0][1, 0], 0.5, atol=1e-6)


def test_colour_palettes_and_frames() -> None:
    for name, frames in (
        ("examples_rgb_color.dcm", 1),
        ("examples_palette.dcm", 1),
        ("SC_rgb_rle_2frame.dcm", 2),
        ("rtdose.dcm", 15),
    ):
        source = pictures.find(str(shipped(name)), wanted=Wanted(8, 3))
        images = [source[n]["image"] for n in range(len(source))]
        assert len(images) == frames and images[0].shape == (8, 8, 3)
        assert np.ptp(images) > 0.1
        coloured = any(np.ptp(image, -1).max() > 0 for image in images)
        assert coloured == (name != "rtdose.dcm")
    palette = pictures.find(str(shipped("examples_palette.dcm")), wanted=Wanted(channels=3))[0]
    read = pydicom.dcmread(shipped("examples_palette.dcm"))
    expected = pydicom.pixels.apply_color_lut(read.pixel_array, read)
    full = np.iinfo(expected.dtype).max
    np.testing.assert_allclose(palette["image"], expected[..., :3] / full, atol=1e-6)
    assert only(shipped("rtdose.dcm")).affine is not None  # frames of a dose lie by their offsets


def test_compressed_pixels_are_read_or_the_decoder_is_named(monkeypatch) -> None:
    plain = every(shipped("MR_small.dcm"))
    np.testing.assert_array_equal(every(shipped("MR_small_RLE.dcm")), plain)
    np.testing.assert_array_equal(every(shipped("MR_small_bigendian.dcm")), plain)
    decoder = pydicom.pixels.get_decoder("1.2.840.10008.1.2.4.80")
    monkeypatch.setattr(type(decoder), "is_available", property(lambda self: False))
    source = pictures.find(str(shipped("MR_small_jpeg_ls_lossless.dcm")), wanted=RAW)
    with pytest.raises(pictures.BrokenImage, match=r"JPEG-LS Lossless.*no decoder.*pylibjpeg"):
        source[0]


def test_files_without_pixels_and_other_files_are_named(tmp_path) -> None:
    for name in ("rtplan.dcm", "CT_small.dcm", "DICOMDIR"):
        (tmp_path / name).write_bytes(shipped(name).read_bytes())
    (tmp_path / "readme").write_text("not an image")
    others = {"a.dcm": b"", "b.dcm": b"plain text\n" * 99, "c.dcm": b"\x89PNG\r\n\x1a\n" * 30}
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    found = pictures.find(str(tmp_path), wanted=RAW)
    faults = {scan.name: scan.fault for scan in found.scans}
    assert faults == {"CT_small.dcm": ""} | dict.fromkeys(others, "no DICOM file")
    assert dict(found.left) == {
        "rtplan.dcm": "a DICOM file without pixels (modality RTPLAN)",
        "DICOMDIR": "a DICOM file without pixels (modality DICOMDIR)",
        "readme": "not an image",
    }


def test_patients_are_told_apart_without_being_told(tmp_path) -> None:
    paths = [
        dicoms.write(tmp_path / f"{n}.dcm", VOLUME[n], PatientID=who)
        for n, who in enumerate(("A1", "A1", "A2", ""))
    ]
    first, again, other, nobody = [only(path).patient for path in paths]
    assert first == again != other and nobody == ""
    assert len(first) == 12 and "A1" not in first


def test_errors_do_not_quote_the_file(tmp_path) -> None:
    path = dicoms.write(tmp_path / "a.dcm", VOLUME[0])
    content = path.read_bytes()
    rows = content.index(b"(\x00\x10\x00US")  # Rows becomes a text that is no number
    path.write_bytes(
        content[: rows + 4] + b"LO\x10\x00" + dicoms.NAME.encode() + b" " * 8 + content[rows + 10 :]
    )
    for text in (only(path).fault, *_messages(path)):
        assert text and "Doe" not in text and dicoms.NUMBER not in text
    path.write_bytes(content[:-40])
    assert _messages(path)[0].startswith("its pixels cannot be decoded (The number of bytes")


def _messages(path: Path) -> list[str]:
    source = pictures.find(str(path), wanted=RAW)
    with pytest.raises(pictures.BrokenImage) as stopped:
        source[0]
    return [str(stopped.value)]


def test_a_deflated_bomb_is_not_unpacked(tmp_path, monkeypatch) -> None:
    path = dicoms.write(tmp_path / "a.dcm", VOLUME[0])
    meta = pydicom.filereader.read_file_meta_info(path)
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    buffer = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(buffer, meta)
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(
        bytes(128) + b"DICM" + buffer.getvalue() + pack.compress(bytes(2**23)) + pack.flush()
    )
    assert path.stat().st_size < 2**15
    monkeypatch.setattr(dicom_pixels, "LARGEST", 2**22)
    assert "more than 4 MiB when unpacked" in only(path).fault


def test_absurd_sizes_are_refused_unread(tmp_path) -> None:
    path = dicoms.write(tmp_path / "a.dcm", VOLUME[0], NumberOfFrames=10**8)
    assert "voxels" in only(path).fault


def test_series_of_one_folder_are_called_by_their_place(tmp_path) -> None:
    for number, uid in enumerate(("1.2.7", "1.2.3")):
        dicoms.series(tmp_path / f"{number}", VOLUME, [3.0 * k for k in range(5)])
        for path in (tmp_path / f"{number}").iterdir():
            file = pydicom.dcmread(path)
            file.SeriesInstanceUID = uid
            file.save_as(tmp_path / f"{number}-{path.name}")
            path.unlink()
        (tmp_path / f"{number}").rmdir()
    source = pictures.find(str(tmp_path), wanted=RAW._replace(volumes=True))
    assert [source.name(n) for n in range(len(source))] == ["series-1", "series-2"]


def test_frames_of_an_enhanced_file_lie_and_are_scaled_each_as_its_own_groups_say(tmp_path) -> None:
    """Two times of three slices, stored in no order, every frame with a slope and a window."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def within(**tags: object) -> Sequence:
        item = Dataset()
        for tag, value in tags.items():
            setattr(item, tag, value)
        return Sequence([item])

    frames = np.random.default_rng(1).integers(0, 900, (6, 5, 4), np.int16)
    stored = [(1, 6.0), (2, 0.0), (1, 0.0), (2, 3.0), (1, 3.0), (2, 6.0)]  # time, height
    own = []
    for number, (time, height) in enumerate(stored):
        group = Dataset()
        group.FrameContentSequence = within(TemporalPositionIndex=time)
        group.PlanePositionSequence = within(ImagePositionPatient=[-10.0, -20.0, height])
        group.PixelValueTransformationSequence = within(
            RescaleSlope=number + 1.0, RescaleIntercept=-number
        )
        group.FrameVOILUTSequence = within(WindowCenter=100.0 * number, WindowWidth=51.0)
        own.append(group)
    shared = Dataset()
    shared.PlaneOrientationSequence = within(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelMeasuresSequence = within(PixelSpacing=[2.0, 1.0], SliceThickness=9.0)
    path = dicoms.write(
        tmp_path / "enhanced.dcm",
        frames[0],
        NumberOfFrames=6,
        PixelData=frames.tobytes(),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(own),
    )
    scan = only(path)
    assert (scan.times, scan.shape, scan.even) == (2, (4, 5, 3), "")
    np.testing.assert_allclose(scan.affine @ [2, 1, 2, 1], [10 - 2, 20 - 2, 6, 1])
    read = scan.read(1)
    real = frames * np.arange(1.0, 7)[:, None, None] - np.arange(6)[:, None, None]
    expected = real[[2, 4, 0, 1, 3, 5]].reshape(2, 3, 5, 4)
    np.testing.assert_allclose(read.array, expected.transpose(0, 3, 2, 1))
    assert read.units.window == (250 - 0.5 - 25, 250 - 0.5 + 25)  # the median's


def test_frames_that_are_no_stack_stay_as_they_are_stored(tmp_path) -> None:
    path = dicoms.write(
        tmp_path / "a.dcm",
        VOLUME[0],
        NumberOfFrames=5,
        PixelData=VOLUME.tobytes(),
        **dicoms.place(0),
    )
    scan = only(path)  # all at one place
    assert scan.affine is None and scan.times == 1
    np.testing.assert_array_equal(scan.read(1).array[0], VOLUME.transpose(2, 1, 0))
