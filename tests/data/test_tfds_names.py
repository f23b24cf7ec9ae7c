"""`--images tfds:NAME`: sets that TFDS has prepared, found by their names alone."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxsal.commands.preparing import Images
from jaxsal.commands.set_labels import SetLabels
from jaxsal.data import pictures
from jaxsal.data.intensity import Intensity
from jaxsal.data.tfds_builders import Info
from jaxsal.data.wanted import Wanted

SCANS = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), np.uint8)


class ToyScans(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Five colour images with classes."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=["a", "b"]),
            }
        )
        return Info(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples()}

    def _generate_examples(self):
        for number, image in enumerate(SCANS):
            png = io.BytesIO()  # arrays would be encoded by TensorFlow
            Image.fromarray(image).save(png, "PNG")
            yield number, {"image": io.BytesIO(png.getvalue()), "label": number % 2}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where TFDS keeps its sets; this one's code is not registered, only its files are there."""
    ToyScans(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def test_a_prepared_set_is_found_by_its_name(home) -> None:
    source = pictures.find("tfds:toy_scans", wanted=Wanted(channels=3))
    assert len(source) == len(SCANS)
    np.testing.assert_allclose(source[3]["image"], SCANS[3] / np.float32(255), rtol=1e-6)
    assert (source[3]["label"], source[2]["label"]) == (1, 0)
    assert "toy_scans" in source.text


def test_it_is_resized_and_made_grey(home) -> None:
    source = pictures.find("tfds:toy_scans", wanted=Wanted(size=4))
    assert source[0]["image"].shape == (4, 4, 1)


def test_its_intensities_are_asked_for_as_of_files(home) -> None:
    asked = Intensity(window=(100.0, 50.0))
    source = pictures.find("tfds:toy_scans", wanted=Wanted(channels=3, intensity=asked))
    expected = np.clip((SCANS[3] - np.float32(75)) / 50, 0, 1)
    np.testing.assert_allclose(source[3]["image"], expected, atol=1e-6)
    assert source.notes() == ["1 image: intensities: the window given"]
    raw = Wanted(channels=3, intensity=Intensity("raw"), range=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"values from .*, the network takes 0 to 1"):
        pictures.find("tfds:toy_scans", wanted=raw)[3]


def test_labels_are_compared_by_the_names_of_classes(home) -> None:
    """The set's are a and b, in this order."""
    source = pictures.find("tfds:toy_scans", wanted=Wanted(channels=3))
    assert source.classes == ("a", "b")

    def labels(*classes: str) -> list[int | None]:
        images = Images(source, classes=classes)
        return [images[n].get("label") for n in range(3)]

    assert labels("B", "a") == [1, 0, 1]
    assert labels() == [0, 1, 0]
    assert labels("b", "c") == [None, 0, None]
    told = "labels of the set's classes ['a'] left out: no class of the network"
    assert Images(source, classes=("b", "c")).notes()[0] == told
    Images(source, classes=("b", "c")).check_labels()
    with pytest.raises(ValueError, match=r"targets: label, but the classes of the set are \['a', "):
        Images(source, classes=("no", "yes")).check_labels()


def test_a_record_without_a_label_has_none(home) -> None:
    """TFDS calls it -1, which counts from the end of a list."""
    labels = SetLabels(pictures.find("tfds:toy_scans", wanted=Wanted(channels=3)), ("a", "b"))
    assert [labels.of(n) for n in (-1, 0, 1, 2)] == [None, 0, 1, None]


def test_classes_that_are_numbers_have_no_names() -> None:
    features = {"label": tfds.features.ClassLabel(num_classes=3)}
    assert pictures._classes(features) == pictures._classes({}) == ()
    assert pictures._classes({"label": tfds.features.Scalar(np.int64)}) == ()


def test_a_split_that_is_not_there_is_named(home) -> None:
    with pytest.raises(ValueError, match="nosuch"):
        pictures.find("tfds:toy_scans", split="nosuch")
