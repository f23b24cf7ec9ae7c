"""MetaImage and NRRD lie in the patient as the same volume in NIfTI does."""

import numpy as np
import pytest
import SimpleITK as itk

from jaxsal.data import pictures, scans
from jaxsal.data.intensity import Intensity
from jaxsal.data.wanted import Wanted

RAW = Wanted(intensity=Intensity("raw"))

VOLUME = np.random.default_rng(0).integers(0, 900, (5, 4, 3), np.int16)  # [Z, Y, X]


def write(path: object, spacing: tuple[float, ...] = (1.0, 2.0, 3.0)) -> None:
    image = itk.GetImageFromArray(VOLUME)
    image.SetSpacing(spacing)
    image.SetOrigin((-5.0, 7.0, 11.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    itk.WriteImage(image, str(path))


@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd"])
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_a_volume_is_what_its_nifti_is(ending, plane, tmp_path) -> None:
    found = []
    for kind in (ending, "nii"):
        (tmp_path / kind).mkdir()
        write(tmp_path / kind / f"a.{kind}")
        source = pictures.find(
            str(tmp_path / kind), wanted=RAW._replace(slicing=scans.parse(plane))
        )
        assert not source.left  # not the .raw beside a .mhd either
        found.append((source.scans[0].affine, [source[n]["image"] for n in range(len(source))]))
    (affine, images), (expected, same) = found
    np.testing.assert_allclose(affine, expected, atol=1e-5)
    np.testing.assert_array_equal(images, same)


@pytest.mark.parametrize("content", [b"", b"NDims = 3\nDimSize = 9 9 9\n", b"ObjectType = Image\n"])
def test_a_broken_one_is_named_with_a_reason(content, tmp_path) -> None:
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(pictures.BrokenImage, match="broken or cut short"):
        pictures.find(str(tmp_path / "a.mha"))[0]
