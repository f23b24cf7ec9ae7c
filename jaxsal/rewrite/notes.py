"""Notes of what the rewrites did and what they left alone, taken while a program is traced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Note(NamedTuple):
    """One operation that a rewrite replaced or left alone.

    Attributes:
        rewrite: which rewrite, e.g. `"backward"`.
        what: the operation and where it stands, e.g. `"relu f32[1,8,8,4] in CNN/Block_0"`.
        done: whether it was rewritten.
        why: why it was passed over; empty when it was not.
    """

    rewrite: str
    what: str
    done: bool
    why: str = ""

    def __str__(self) -> str:
        return f"{self.rewrite}: {self.what}" + (f": left alone, {self.why}" if self.why else "")


_NOTES: ContextVar[tuple[list[Note], ...]] = ContextVar("jaxsal_notes", default=())


@contextmanager
def collect_notes() -> Iterator[list[Note]]:
    """Collects the notes of everything that is traced inside the `with` block."""
    notes: list[Note] = []
    token = _NOTES.set((*_NOTES.get(), notes))
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def note(*notes: Note) -> None:
    """Adds to every open collection."""
    for open_notes in _NOTES.get():
        open_notes.extend(notes)
