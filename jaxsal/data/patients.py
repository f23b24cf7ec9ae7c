"""Whose image it is: patients told from folders and names."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxsal.common.words import counted

VIEWS = (
    "axial axi ax coronal cor sagittal sag t1 t1c t1ce t1gd t1w t2 t2w flair dwi adc pd swi ct mr "
    "mri pet us cc mlo l r lt rt left right ap pa lat lateral frontal od os bacteria virus"
)
SUFFIX = re.compile(
    rf"(?:{'|'.join(VIEWS.split())}|(?:slice|slc|sl|s|z|image|img|im|frame|fr|f|view|series)\d*)",
    re.IGNORECASE,
)
"""A word at the end of a name that tells a view, a modality or a slice, not a patient."""
NUMBER = re.compile(r"[a-z]*\d+", re.IGNORECASE)


class Patients(NamedTuple):
    """Whose each image is.

    Attributes:
        of: the patient of each image, "" where unknown.
        how: in words, how they are known; "" where none is.
        notes: what was taken for no patient.
    """

    of: list[str]
    how: str = ""
    notes: tuple[str, ...] = ()


BY_TABLE = "by the table"
BY_DICOM = "by DICOM's PatientID"
BY_SCAN = "by the scans' names"


def by_name(stem: str) -> str:
    """What is left of a file's name without view, modality and slice; "" if it holds no digit.

    `patient12_slice3`, `TCGA-02_t1_7` and `p3_axial` are patients' slices; `glioma_3` is not, and
    nor is `image3`, which tells nothing of a slice.
    """
    words = [word for word in re.split(r"([\s_.\-()]+)", stem) if word]
    numbers, count = 0, len(words)
    while len(words) > 1:
        if SUFFIX.fullmatch(words[-1]) or re.fullmatch(r"[\s_.\-()]+", words[-1]):
            words.pop()
        elif NUMBER.fullmatch(words[-1]) and not numbers:
            words.pop()
            numbers = 1
        else:
            break
    left = "".join(words).strip(" _.-()")
    return left if len(words) < count and re.search(r"\d", left) else ""


def by_folder(folders: Sequence[str]) -> str:
    """The patient's folder inside the class's; of a name without a digit, its class's alone.

    Where folders are no classes the first is "", and a patient's name holds a digit.
    """
    for name in folders[1:]:
        if any(c.isdigit() for c in name) and not SUFFIX.fullmatch(name):
            return name
        if folders[0] and not SUFFIX.fullmatch(name):
            return f"{folders[0]}/{name}"
    return ""


def guessed(
    stems: Sequence[str], folders: Sequence[Sequence[str]], labels: Sequence[str]
) -> Patients:
    """Patients by folder, else by name.

    A group that is a class's name or a whole class is none, and nor are groups as many as images.
    """
    groups = [by_folder(f) or by_name(s) for s, f in zip(stems, folders, strict=True)]
    named = {*groups}  # beside `p3_axial` there may be `p3`
    groups = [g or (s if s in named else "") for s, g in zip(stems, groups, strict=True)]
    whole = _whole_classes(groups, labels)
    notes = []
    for why in sorted({*whole.values()}):
        own = sorted(name for name, reason in whole.items() if reason == why)
        notes.append(f"no patient, but {why}: {', '.join(map(repr, own[:3]))}")
        notes[-1] += f", ... ({len(own)})" if len(own) > 3 else ""
    groups = ["" if group in whole else group for group in groups]
    sizes = Counter(group for group in groups if group)
    if sizes and len(sizes) == sizes.total():
        notes.append("no patient is known by name: no two images share one")
        return Patients([""] * len(groups), "", tuple(notes))
    return Patients(groups, "by name or folder", tuple(notes))


def by_pattern(names: Sequence[str], pattern: str) -> Patients:
    """Patients by a regular expression: its first group, or all that it matches.

    Raises:
        ValueError: it is none, or matches no name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group: {pattern!r} is no regular expression ({error})") from error
    matches = [compiled.search(name) for name in names]
    groups = [(m[1] if compiled.groups else m[0]) or "" if m else "" for m in matches]
    if names and not any(groups):
        raise ValueError(f"group: {pattern!r} matches none of {len(names)} names as {names[0]!r}")
    return Patients(groups, "by --group")


def numbered(groups: Sequence[str]) -> list[str]:
    """The same groups by other names, "patient 1" being the first that comes; "" stays.

    Outputs have these. A hash of a number or a name is found again by whoever has a list of them; a
    place in the order of the files says nothing, needs no secret, and is the same in all files of
    a run and after a resume.
    """
    order = {name: n for n, name in enumerate(dict.fromkeys(filter(None, groups)), 1)}
    return [f"patient {order[name]}" if name else "" for name in groups]


def summary(groups: Sequence[str], how: Sequence[str]) -> tuple[str, ...]:
    """How many patients there are, and how many images one has at most; no name.

    Args:
        how: the patient of each image is known.
    """
    sizes = Counter(group for group in groups if group)
    if not sizes:
        return ()
    largest = max(sizes.values())
    known = f", of {sizes.total()} of {len(groups)} images" if sizes.total() < len(groups) else ""
    ways = " and ".join(dict.fromkeys(h for h, group in zip(how, groups, strict=True) if group))
    return (
        f"{counted(len(sizes), 'patients')} {ways}{known}, one with {counted(largest, 'images')} "
        "the most",
    )


def _whole_classes(groups: Sequence[str], labels: Sequence[str]) -> Mapping[str, str]:
    """Groups that are a class's own name, or hold all of a class of several images."""
    images: dict[str, list[str]] = defaultdict(list)
    for group, label in zip(groups, labels, strict=True):
        images[label].append(group)
    names = {label.lower() for label in images}
    found = {
        group: "a class's own name"
        for group in {*groups} - {""}
        if group.lower() in names or group.rpartition("/")[2].lower() in names
    }
    for label, own in images.items():
        if len(own) > 2 and len({*own}) == 1 and own[0]:
            found.setdefault(own[0], f"all of the class {label!r}")
    return found
