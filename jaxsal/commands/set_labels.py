"""The labels of a prepared set of images to explain, as the network numbers its classes."""

from collections.abc import Sequence
from typing import Any

from jaxsal.data.pictures import Pictures, Prepared


class SetLabels:
    """What the names of a set's classes say of its labels; where either has no names, nothing."""

    def __init__(self, source: Pictures, classes: Sequence[str]) -> None:
        """Takes the names of the network's classes; a set's are the same in any case."""
        self._classes = classes
        self._names = source.classes if isinstance(source, Prepared) and classes else ()
        numbers = {name.casefold(): label for label, name in enumerate(classes)}
        self._numbers = [numbers.get(name.casefold()) for name in self._names]

    def of(self, label: Any) -> Any:
        """The network's label of a set's; None where it has no class of that name.

        A set's -1 is no label, as TFDS has it of tests whose answers are kept back.
        """
        if not self._names:
            return label
        return self._numbers[int(label)] if 0 <= int(label) < len(self._numbers) else None

    def notes(self) -> list[str]:
        """Whose labels are left out."""
        pairs = zip(self._names, self._numbers, strict=True)
        strange = [name for name, label in pairs if label is None]
        told = f"labels of the set's classes {strange} left out: no class of the network"
        return [told] if strange else []

    def check(self) -> None:
        """Raises where the set has other classes than the network.

        Raises:
            ValueError: so; it names them.
        """
        if self._names and all(label is None for label in self._numbers):
            raise ValueError(
                f"targets: label, but the classes of the set are {[*self._names[:5]]}, none a "
                f"class of the network: {list(self._classes)}"
            )
