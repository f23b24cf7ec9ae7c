"""The labels of images to explain, by the folders that they lie in, as a training reads them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from jaxsal.data import layout as layouts
from jaxsal.data.pictures import Files, Pictures


class FolderLabels:
    """What folders say of the images of a source."""

    def __init__(self, source: Pictures, classes: Sequence[str]) -> None:
        """Takes the names of the classes; an image of a folder of none has no label."""
        self.source, self.classes = source, classes
        self._numbers = {name.casefold(): label for label, name in enumerate(classes)}
        self._known = {*self._numbers}
        self._scans: list[int | None] = []
        self._seen: set[str] = set()
        if isinstance(source, Files):
            names = [PurePath((scan.names or (scan.name,))[0]) for scan in source.scans]
            above = self._above(source.root)
            self._scans = self._labels(names, above)
            self._seen = {*above, *(folder for name in names for folder in name.parent.parts)}

    def of(self, number: int, record: Mapping[str, Any]) -> int | None:
        """The label of an image, which the record of a set may name by a path."""
        if isinstance(self.source, Files):
            return self._scans[self.source.row(number).scan]
        return self._label(PurePath(str(record.get("name", ""))).parent.parts)

    def check(self) -> None:
        """Raises where files lie in no folder of a class.

        Raises:
            ValueError: so; it names the folders.
        """
        if self._scans and not any(label is not None for label in self._scans):
            raise ValueError(
                f"targets: label, but the folders of the images are {sorted(self._seen)[:5]}, none "
                f"a class of the network: {list(self.classes) or 'unknown names'}"
            )

    def _label(self, *choices: Sequence[str]) -> int | None:
        """The class that the first of some folders say; the next ones count where it says none."""
        named = (layouts.class_folder(folders, self._known) for folders in choices)
        return next((self._numbers[name.casefold()] for name in named if name), None)

    def _labels(self, names: Sequence[PurePath], above: Sequence[str]) -> list[int | None]:
        """The labels of files by their names below a folder, or else by what lies above, too.

        Below it are all classes where a training would find several, and none but these.
        """
        found = self._layout(names)
        tops = {next(iter(folders), "").casefold() for folders in found.values()}
        if not (len(tops) > 1 and tops <= self._known):
            whole = {name: PurePath(*above, name) for name in names}
            beyond = self._layout([*whole.values()])
            found = {name: beyond[path] for name, path in whole.items() if path in beyond}
        # Those in a copy of the others are in no folder that is left.
        rest = [(name.parent.parts, above) for name in names]
        return [self._label(found.get(n, ()), *more) for n, more in zip(names, rest, strict=True)]

    def _layout(self, names: Sequence[PurePath]) -> dict[PurePath, list[str]]:
        return layouts.layout(names, classes=False, known=self._known).folders

    def _above(self, root: Path | None) -> tuple[str, ...]:
        """The folder that names begin at, and those above that are called as classes like it.

        An image that is named by itself may lie in a patient's folder.
        """
        parts = Path(os.path.abspath(root)).parts[1:] if root is not None else ()
        first = len(parts) - 1
        while (
            first > 0 and {part.casefold() for part in parts[first - 1 : first + 1]} <= self._known
        ):
            first -= 1
        return parts[max(first, 0) :]
