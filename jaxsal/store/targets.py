"""Which class of each example of a source is explained."""

import hashlib

import jax
import numpy as np

from jaxsal.store.source import Example
from jaxsal.types import Targets


class ExampleTargets:
    """The targets of any examples, by their numbers.

    Attributes:
        text: says which they are.
    """

    def __init__(self, targets: Targets, count: int | None) -> None:
        self.by_label = isinstance(targets, str) and targets == "label"
        self.rows = None
        self.classes: int | None = None
        if not self.by_label and targets is not None and not isinstance(targets, str):
            try:
                values = np.asarray(targets)
            except ValueError:  # of several lengths
                values = np.zeros(0)
            if values.dtype.kind not in "iu":
                raise TypeError(
                    'targets: expected integers, None, "all" or "label", got '
                    f"{values.dtype} {values.shape}"
                )
            if values.ndim and values.shape != (count,):
                raise ValueError(
                    f"targets: expected one, or one an example ({count}), got {values.shape}"
                )
            self.rows = values.astype(np.int64)
        self.given = self.by_label or self.rows is not None
        self.word = targets if isinstance(targets, str) and not self.given else None
        self.text = targets if isinstance(targets, str) else self._described()

    @property
    def abstract(self) -> jax.ShapeDtypeStruct | str | None:
        """Targets of one example, by shape where they are numbers."""
        return jax.ShapeDtypeStruct((1,), np.int32) if self.given else self.word

    def check_labelled(self, labelled: bool) -> None:
        """Raises where each record's own label is wanted of a source that has none.

        Args:
            labelled: whether its first image has one.

        Raises:
            ValueError: it has not.
        """
        if self.by_label and not labelled:
            raise ValueError(
                'targets: "label", but the first image of the source has no label (an image file '
                "has that of the folder it lies in, where that is named as a class, and a record "
                "of a set its own, where the model has a class of that name)"
            )

    def set_classes(self, classes: int) -> None:
        """Sets how many classes there are: labels beyond them are faults of their records.

        Raises:
            ValueError: a given target is none of them.
        """
        self.classes = classes
        if self.rows is not None and self.rows.size:
            low, high = int(self.rows.min()), int(self.rows.max())
            if low < 0 or high >= classes:
                wrong = low if low < 0 else high
                raise ValueError(f"targets: expected classes in [0, {classes}), got {wrong}")

    def of(self, first: int, examples: list[Example]) -> Targets:
        """The targets of consecutive examples, as an explainer takes them."""
        if self.by_label:
            return np.array([0 if self._wrong(e.label) else e.label for e in examples], np.int64)
        if self.rows is None or not self.rows.ndim:
            return self.word if self.rows is None else int(self.rows)
        return self.rows[first : first + len(examples)]

    def usable(self, examples: list[Example], *, strict: bool) -> list[Example]:
        """The examples; one that has no target has a fault, and no image.

        Raises:
            ValueError: there is a fault, and `strict`.
        """
        examples = [
            e._replace(image=None, fault=why) if (why := self.fault(e)) else e for e in examples
        ]
        for example in examples:
            if strict and example.fault:
                raise ValueError(f"strict: {example.name}: {example.fault}")
        return examples

    def fault(self, example: Example) -> str:
        """Why an example has no target; "" where it has one."""
        return self._wrong(example.label) if self.by_label and example.image is not None else ""

    def _wrong(self, label: int | None) -> str:
        if label is None:
            return "the record has no label"
        if self.classes is not None and not 0 <= label < self.classes:
            return f"the record's label is {label}, the model has {self.classes} classes"
        return ""

    def _described(self) -> str:
        if self.rows is None:
            return "predicted"
        if not self.rows.ndim:
            return str(int(self.rows))
        return "given " + hashlib.sha256(self.rows.tobytes()).hexdigest()[:12]
