"""A table of labels: which column is the file, the label, the patient, the split, the mask."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from jaxsal.common.words import counted
from jaxsal.data.listing import stem

COLUMNS = {
    "file": "file filename file_name filepath file_path path image image_name image_id image_path "
    "image_file imageid image_index img img_name img_path name scan id",
    "label": "label labels class class_name diagnosis dx target category pathology disease grade "
    "tumor_type tumour_type finding_labels",
    "patient": "patient patient_id patientid patient_name subject subject_id case case_id pid "
    "lesion_id",
    "split": "split set subset partition fold author_fold",
    "mask": "mask mask_path mask_file mask_name segmentation",
}
"""The roles of columns, and what columns of each role are usually called."""
MAY_LACK = ("patient", "split", "mask")
"""Roles without which a table says enough."""
ABSENT = "none"
"""In place of a column: none has the role, whatever columns are called."""
FOLD = re.compile(r"(\D*[^\W\d_])[\s_\-]*(\d+)")
"""A fold that has a word before its number, as `fold_1`."""
NO_FILE, NO_MASK = "it names no file", "its mask is no file"
NOTHING = ("", "nan", "na", "n/a", "none", "null")

Row = dict[str, str]


class Entry(NamedTuple):
    """What the rows of one file say of it together; "" where they say nothing."""

    label: str
    patient: str
    split: str
    masks: tuple[str, ...]


class Table(NamedTuple):
    """A table read against files.

    Attributes:
        entries: of each file that it names.
        left_out: rows and files that are not used, each with the reason.
        idle: the masks that such rows name.
        notes: in words, which column is what.
        patients: whether it has a column of them.
    """

    entries: dict[PurePath, Entry]
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    patients: bool
    idle: tuple[str, ...] = ()


def read(
    path: Path,
    files: Sequence[PurePath],
    columns: Sequence[str] = (),
    *,
    root: PurePath = PurePath(),  # noqa: B008
    others: Sequence[PurePath] = (),
) -> Table:
    """Reads a CSV file (commas, semicolons or tabs) with a row an image.

    Of an image with several rows, such as one a lesion, the masks are gathered.

    Args:
        files: the images that it may name, relative, in any form: path or name, with its suffix or
            without.
        columns: `role=COLUMN` where names are not the usual ones; `label=A,B,C` are columns of
            which one is 1; `split=none` where none has that role, though one is called so.
        root: what the files are relative to.
        others: files there that are not used.

    Raises:
        ValueError: it cannot be read, a column is missing or could be several, or no row names a
            file.
    """
    header, rows = _rows(path)
    given = _given(columns, header)
    known = {role: _usual(role, header, path) for role in COLUMNS if role not in given}
    roles = {role: name for role, name in {**known, **given}.items() if name}
    aside = {name for role in given.keys() - roles.keys() for name in _called(role, header)}
    aside -= {*roles.values()}
    named, unused = by_names(files), by_names(others)
    if "file" not in roles:
        raise ValueError(_lacks("file", path, header))
    marked = _marked(roles, [name for name in header if name not in aside], rows, path)
    folds = _folds(row[roles["split"]].strip() for row in rows) if "split" in roles else {}
    gathered = _Gathered()
    moved: list[str] = []
    for line, row in enumerate(rows, 2):
        text = row[roles["file"]].strip()
        found, where = find(text, named), f"{path.name}, line {line}: {text[:100]}"
        label, fault = _label(row, roles, marked)
        entry = _entry(row, roles, label)
        entry = entry._replace(split=folds.get(entry.split, entry.split))
        if len(found) != 1:
            absent = "it names a file that is left out" if find(text, unused) else NO_FILE
            gathered.leave(where, "it names several files" if found else absent, entry)
        elif gathered.take(found[0], where, entry, fault):
            moved += [] if in_folder(text, root / found[0]) else [text]
    if not gathered.entries:
        raise ValueError(
            f"labels: no row of {path.name} names an image: {roles['file']!r} holds "
            f"{[row[roles['file']] for row in rows[:2]]}, images are called "
            f"{[file.as_posix() for file in files[:2]]}; expected --columns file=COLUMN"
        )
    notes = [f"{path.name}: {', '.join(f'{r} is {c!r}' for r, c in roles.items())}"]
    notes += [f"{path.name}: one of {len(marked)} columns marks the class"] if marked else []
    notes += [f"{path.name}: {word!r} and the like are folds" for word in [*folds][:1]]
    if moved:
        what = "row names a file" if len(moved) == 1 else "rows name files"
        notes.append(
            f"{path.name}: {len(moved)} {what} in other folders ({moved[0]}): taken by their names"
        )
    notes += [f"{path.name}: {note}" for note in gathered.notes()]
    left_out, idle = gathered.left_out, tuple(gathered.idle)
    return Table(gathered.entries, left_out, tuple(notes), "patient" in roles, idle)


class _Gathered:
    """What rows say of files, those of one file together; and what is not used of them."""

    def __init__(self) -> None:
        self.entries: dict[PurePath, Entry] = {}
        self.idle: list[str] = []
        self._left_out: list[tuple[str, str]] = []
        self._rows: dict[str, str] = {}
        self._again: list[PurePath] = []
        self._several: list[PurePath] = []

    def leave(self, name: str, why: str, entry: Entry) -> None:
        """Leaves out a row, and the mask that it names."""
        self._left_out.append((name, why))
        self.idle += entry.masks

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """Files and rows that are not used; of a file that another row tells of, its row."""
        used = {file.as_posix() for file in self.entries}
        named = ((self._rows[n] if n in used else n, why) for n, why in self._left_out)
        return tuple(named)

    def take(self, file: PurePath, where: str, entry: Entry, fault: str) -> bool:
        """Takes a row of a file, where it has no fault and is not against an earlier one."""
        before = self.entries.get(file, entry)
        other = "" if fault else _contrary(before, entry)
        if fault:
            self._rows[file.as_posix()] = where
            self.leave(file.as_posix(), fault, entry)
        elif other:
            self.leave(where, f"the file has another {other} in an earlier row", entry)
        else:
            self._again += [file] if file in self.entries else []
            self._several += [file] if _differ(before.patient, entry.patient) else []
            self.entries[file] = _together(before, entry)
        return not (other or fault)

    def notes(self) -> list[str]:
        """What is to be said of files with several rows."""
        found = []
        if files := self._again:
            count = counted(len(files), "rows of a file that an earlier row names")
            found.append(f"{count} ({files[0].as_posix()}): taken together")
        if files := self._several:
            count = counted(len(files), "rows of another patient than an earlier row of the file")
            found.append(f"{count} ({files[0].as_posix()}): the first patient taken")
        return found


def _entry(row: Row, roles: Mapping[str, str], label: str) -> Entry:
    """What one row says of its file."""
    patient, split, mask = (
        row[roles[role]].strip() if role in roles else "" for role in ("patient", "split", "mask")
    )
    return Entry(label, patient, split, (mask,) if mask else ())


def _differ(one: str, other: str) -> bool:
    """Whether two cells say something, and not the same."""
    return bool(one and other) and one != other


def _contrary(before: Entry, entry: Entry) -> str:
    """In what a row speaks against the rows before of its file; "" where it does not."""
    if before.label != entry.label:
        return "label"
    return "split" if _differ(before.split, entry.split) else ""


def _together(before: Entry, entry: Entry) -> Entry:
    """What two rows say of one file."""
    patient, split = before.patient or entry.patient, before.split or entry.split
    masks = tuple(dict.fromkeys((*before.masks, *entry.masks)))
    return Entry(before.label, patient, split, masks)


def _rows(path: Path) -> tuple[list[str], list[Row]]:
    try:
        text = path.read_text("utf-8-sig")
        first = text.partition("\n")[0]
        mark = max(",;\t", key=first.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, restval="")
        rows = [{k: v for k, v in row.items() if k is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"labels: {path} cannot be read: {error}") from error
    header = [name for name in reader.fieldnames or () if name]
    if not rows:
        raise ValueError(f"labels: {path} has no rows below its header {header}")
    return header, rows


def _given(columns: Sequence[str], header: list[str]) -> dict[str, str]:
    found = {}
    for text in columns:
        role, _, name = text.partition("=")
        if role in MAY_LACK and name == ABSENT and name not in header:
            found[role] = ""
            continue
        names = name.split(",") if role == "label" and name not in header else [name]
        absent = [each for each in names if each not in header]
        if role not in COLUMNS or absent:
            raise ValueError(
                f"columns: expected ROLE=COLUMN, a role of {', '.join(COLUMNS)} and a column of "
                f"{header}, or {ABSENT} of {', '.join(MAY_LACK)}; got {text!r}"
            )
        found[role] = name
    return found


def _usual(role: str, header: list[str], path: Path) -> str:
    """The column of a role by its usual names; "" where there is none.

    A file's column may have several: the first in the order of `COLUMNS` counts.
    """
    names = _called(role, header)
    if len(names) > 1 and role != "file":
        raise ValueError(
            f"labels: {path.name} has {names}, each of which may be the {role}; "
            f"expected --columns {role}={names[0]} (or another of them)"
        )
    return names[0] if names else ""


def _called(role: str, header: list[str]) -> list[str]:
    """The columns that are called as those of a role usually are, in the order of `COLUMNS`."""
    plain = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in header}
    return [plain[usual] for usual in COLUMNS[role].split() if usual in plain]


def _folds(words: Iterable[str]) -> dict[str, str]:
    """The number of each fold that is called as `fold_1`; none unless all are, by one word."""
    found = {word: FOLD.fullmatch(word) for word in words if word}
    folds = {word: match for word, match in found.items() if match}
    alike = len({match[1].casefold() for match in folds.values()}) == 1
    return {word: match[2] for word, match in folds.items()} if alike and folds == found else {}


def _marked(roles: Mapping[str, str], header: list[str], rows: list[Row], path: Path) -> list[str]:
    """The columns of which one is 1; none where a column names the label."""
    if "label" in roles:
        return [] if roles["label"] in header else roles["label"].split(",")
    others = [name for name in header if name not in roles.values()]
    marks = [name for name in others if all(_mark(row[name]) is not None for row in rows)]
    sums = [sum(_mark(row[name]) or 0 for name in marks) for row in rows]
    if len(marks) < 2 or 2 * sums.count(1) <= len(rows):
        raise ValueError(_lacks("label", path, header))
    return marks


def _mark(value: str) -> int | None:
    """0 or 1; None for what is no mark."""
    return {"": 0, "0": 0, "0.0": 0, "1": 1, "1.0": 1}.get(value.strip())


def _label(row: Row, roles: Mapping[str, str], marked: list[str]) -> tuple[str, str]:
    """The label of a row, or why it has none."""
    if marked:
        names = [name for name in marked if _mark(row[name])]
        fault = "" if len(names) == 1 else f"{len(names)} classes are marked in the table"
        return (names[0] if len(names) == 1 else ""), fault
    label = row[roles["label"]].strip()
    nothing = label.lower() in NOTHING and label.lower() != "none"
    return label, "no label in the table" if nothing else ""


def _lacks(role: str, path: Path, header: list[str]) -> str:
    usual = ", ".join(COLUMNS[role].split()[:6])
    return (
        f"labels: no column of {path.name} is known to be the {role} (as {usual}, ...): {header}; "
        f"expected --columns {role}=COLUMN"
    )


def _forms(file: PurePath) -> Iterable[str]:
    """How a table may name a file, the most exact first."""
    return file.as_posix(), file.with_name(stem(file)).as_posix(), file.name, stem(file)


def by_names(files: Iterable[PurePath]) -> list[dict[str, list[PurePath]]]:
    """Files by each form of their names."""
    found: list[dict[str, list[PurePath]]] = [defaultdict(list) for _ in range(4)]
    for file in files:
        for names, form in zip(found, _forms(file), strict=True):
            names[form].append(file)
    return found


def check(left_out: Iterable[tuple[str, str]], *, strict: bool) -> None:
    """Raises where rows name no file, or no mask that is one, if it is to be strict.

    Raises:
        ValueError: so; it names the first.
    """
    lost = [row for row, reason in left_out if reason in (NO_FILE, NO_MASK)]
    if strict and lost:
        what = counted(len(lost), "rows of a table without a file")
        raise ValueError(f"strict: {what}: {'; '.join(lost[:5])}")


def in_folder(text: str, file: PurePath) -> bool:
    """Whether a cell names a file in the folder where it is, as far as it says."""
    folders = [part for part in PurePath(text.replace("\\", "/")).parts[:-1] if part != ".."]
    return not folders or file.parts[:-1][-len(folders) :] == tuple(folders)


def find(text: str, named: list[dict[str, list[PurePath]]]) -> list[PurePath]:
    """The files that a cell names: by all of it, else by its last part."""
    cell = PurePath(text.replace("\\", "/"))
    for form, names in zip((text, text, cell.name, cell.name), named, strict=True):
        if form and form in names:
            return names[form]
    return named[3].get(stem(cell), []) if text else []
