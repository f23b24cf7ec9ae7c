"""What results may replace: those of the same command, never a file that is read or a user's own.

A folder holds the results of one command: another one's are not replaced either.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from jaxsal.common import results


def check(out: Path, kind: str, names: Iterable[str], given: Iterable[Path | None]) -> None:
    """Raises where a result would take the place of something else, before any is written.

    Args:
        out: the folder to write into.
        kind: of the results, one of `jaxsal.common.results`.
        names: of the files that will be written there.
        given: files that the call reads.

    Raises:
        ValueError: the folder holds another command's results; a file would replace one that is
            read; or one that is there already, and no run has written into the folder.
    """
    # The files first: another process of this run may begin to write meanwhile.
    there = [path for name in names if os.path.lexists(path := out / name)]
    found = results.kind(out)
    if found not in ("", kind):
        text = f"holds {found}; expected another folder, or none yet, for {kind}"
        raise ValueError(f"out: {str(out)[:200]!r} {text}")
    read = _identities(given) if there else set()
    for path in there:
        if _identities([path]) & read:
            why = "is one of the files that are read"
        elif not found:
            why = "is there, in a folder that is no run's"
        else:
            continue
        raise ValueError(f"out: {str(path)[:200]!r} {why}; expected another folder")


def _identities(paths: Iterable[Path | None]) -> set[tuple[int, int]]:
    """Which files on the disk the paths lead to, whatever they are called."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path) if path is not None else None
        except (OSError, ValueError):  # ValueError: a name that no file can have
            continue
        found |= {(status.st_dev, status.st_ino)} if status else set()
    return found
