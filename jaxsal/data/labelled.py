"""Images with the labels that their folders give them."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from jaxsal.data import folder
from jaxsal.data.listing import directory
from jaxsal.data.pictures import Files
from jaxsal.data.reading import Reading
from jaxsal.data.tfds_builders import text


class Labelled(Files):
    """Image files as records with a label each.

    Args:
        source: the same without labels.
        labels: by the name of a record, or of the file that it is a slice of.
    """

    def __init__(self, source: Files, labels: Mapping[str, int]) -> None:
        vars(self).update(vars(source))
        self.labels = labels

    def __getitem__(self, number: int) -> dict[str, Any]:
        record = super().__getitem__(number)
        name = PurePosixPath(record["name"])
        names = (str(each) for each in (name, *name.parents))
        label = next((self.labels[each] for each in names if each in self.labels), None)
        return record if label is None else {**record, "label": label}


def by_folder(images: str, classes: Sequence[str]) -> dict[str, int]:
    """The label of each image below a directory of class folders, by its name.

    Args:
        classes: the names of labels 0, 1, ...

    Raises:
        ValueError: no directory of class folders, or none that is called as a class.
    """
    found = folder.understood(directory(Path(images)), Reading())
    known = {name.casefold(): label for label, name in enumerate(classes)}
    labels = {
        text(image.name): known[image.label.casefold()]
        for image in found.images
        if image.label.casefold() in known
    }
    if not labels:
        names = sorted({image.label for image in found.images})
        raise ValueError(
            f"targets: label, but the folders of {images} are {names[:5]}, none a class of the "
            f"network: {list(classes) or 'unknown names'}"
        )
    return labels
