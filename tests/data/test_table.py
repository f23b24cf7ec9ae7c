"""Labels from a table: columns by their usual names, or named; nonsense is refused."""

import pytest

from jaxsal.data import folder, pipeline, volumes
from jaxsal.data.reading import Reading
from tests.data import collections as kept


def _read(tmp_path, header, rows, names=kept.FLAT, **options):
    kept.touch(tmp_path / "set", names)
    table = kept.table(tmp_path / "labels.csv", header, rows)
    return folder.listing(tmp_path / "set", Reading(labels=table, **options))


def _all(found):
    return {i.name: (*i.read.args[2:], i.part, i.fold) for i in found.items}


def test_a_table_says_label_patient_and_split(tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2], f"p{n // 2}", ("train", "test")[n > 5]) for n in range(8)]
    found = _read(tmp_path, "image_id,dx,patient_id,split", rows)
    assert _all(found)["images/ISIC_3.bmp"] == ("b", "p1", "train", 0)
    assert _all(found)["images/ISIC_6.bmp"] == ("a", "p3", "test", 0)
    assert len(found.items) == 8 and all(len(kept.masks(item)) == 1 for item in found.items)
    assert dict(found.left_out) == {f"images/ISIC_{n}.bmp": "not in labels.csv" for n in (8, 9)}
    assert "4 patients by the table, one with 2 images the most" in found.notes


def test_class_folders_beside_a_table_are_no_patients(tmp_path):
    names = [f"images/{c}/{n}.png" for c in ("glioma", "none") for n in "12345"]
    found = _read(tmp_path, "file,class", [(n, n.split("/")[1]) for n in names], names)
    assert {i.read.args[3] for i in found.items} == {""}
    assert not any("no patient" in note for note in found.notes)


def test_breast_ultrasound_has_patients_and_masks_with_a_word_of_their_own(tmp_path):
    # BUS-BRA (Gomez-Flores et al., Medical Physics 2024; Zenodo 8231412).
    header = "ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX"
    rows = [
        (f"bus_{n}-{s}", n - 999, "Cyst", ("benign", "malignant")[n % 2], 4, "GE", 16, 16, s, "[]")
        for n in range(1000, 1010)
        for s in "lr"
    ]
    found = _read(tmp_path, header, rows, kept.BUS_BRA)
    assert not found.left_out and len(found.items) == 20
    for item in found.items:
        name = item.name.split("/")[-1]
        assert kept.masks(item) == [name.replace("bus", "mask")]
        number = int(name[4:8])
        assert item.read.args[2:4] == (("benign", "malignant")[number % 2], str(number - 999))


def test_folds_count_from_nought_or_one(tmp_path):
    rows = [(f"images/ISIC_{n}.bmp", "ab"[n % 2], n % 5) for n in range(10)]
    found = _read(tmp_path, "path,label,fold", rows)
    assert [entry[3] for entry in _all(found).values()] == [1, 2, 3, 4, 5] * 2


@pytest.mark.parametrize(("first", "word"), [(1, "fold_{}"), (0, "subset{}"), (1, "CV Fold {}")])
def test_folds_may_have_a_word_before_their_number(first, word, tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2], word.format(first + n % 5)) for n in range(10)]
    rows[3] = (*rows[3][:2], rows[3][2].upper())
    found = _read(tmp_path, "file,label,fold", rows)
    assert [entry[3] for entry in _all(found).values()] == [1, 2, 3, 4, 5] * 2
    assert f"labels.csv: {word.format(first)!r} and the like are folds" in found.notes


@pytest.mark.parametrize("other", ["part_1", "train", "extra", "fold_1b"])
def test_one_column_holds_one_kind_of_word(other, tmp_path):
    """Folds with a test set beside them, or of two words, are not told by their numbers."""
    rows = [(f"ISIC_{n}", "ab"[n % 2], f"fold_{n % 3}" if n else other) for n in range(10)]
    with pytest.raises(ValueError, match="2 needed; left out: 3 in no part of the split, but 'fo"):
        _read(tmp_path, "file,label,fold", rows)


def test_why_rows_are_left_out_is_told_with_how_many_and_what_to_do(tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2], ("early", "late")[n > 6]) for n in range(10)]
    with pytest.raises(ValueError, match=r"gives the classes \[\], 2 needed; left out: 7 ") as told:
        _read(tmp_path, "file,label,set", rows)
    assert (
        "7 in no part of the split, but 'early', 3 in no part of the split, but 'late'; of a "
        "column that is no split say --columns split=none" in str(told.value)
    )


@pytest.mark.parametrize("header", ["file,label,set", "file,label,set,fold"])
def test_a_column_may_be_left_aside(header, tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2], "early", n % 5) for n in range(10)]
    rows = [row[: len(header.split(","))] for row in rows]
    found = _read(tmp_path, header, rows, columns=("split=none",))
    assert {entry[2:] for entry in _all(found).values()} == {("", 0)} and len(found.items) == 10
    assert "labels.csv: file is 'file', label is 'label'" in found.notes


def test_a_column_that_is_left_aside_marks_no_class(tmp_path):
    rows = [(f"ISIC_{n}", n % 2, 1 - n % 2, 1) for n in range(10)]
    found = _read(tmp_path, "image,MEL,NV,fold", rows, columns=("split=none",))
    assert found.classes == ("MEL", "NV") and len(found.items) == 10


def test_patients_and_masks_may_be_left_aside_too_but_no_label(tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2], "p1", "gone.png") for n in range(10)]
    header, aside = "file,label,case,mask", ("patient=none", "mask=none")
    found = _read(tmp_path, header, rows, columns=aside)
    assert {entry[1] for entry in _all(found).values()} == {""} and len(found.items) == 10
    with pytest.raises(ValueError, match=r"columns: expected ROLE=COLUMN, .* or none of patient"):
        _read(tmp_path, header, rows, columns=("label=none",))


def test_a_column_may_be_called_none(tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2], ("train", "test")[n > 5]) for n in range(10)]
    found = _read(tmp_path, "file,label,none", rows, columns=("split=none",))
    assert {entry[2] for entry in _all(found).values()} == {"train", "test"}


def test_a_column_left_aside_in_one_role_may_have_another(tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2]) for n in range(10)]
    found = _read(tmp_path, "file,case", rows, columns=("patient=none", "label=case"))
    assert found.classes == ("a", "b") and len(found.items) == 10


def test_one_column_a_class(tmp_path):
    rows = [(f"ISIC_{n}.jpg", n % 2 == 0, n % 2 == 1 or n == 4) for n in range(10)]
    rows = [(file, f"{float(a)}", f"{float(b)}") for file, a, b in rows]
    found = _read(tmp_path, "image,MEL,NV", rows)
    assert found.classes == ("MEL", "NV") and len(found.items) == 9
    assert ("images/ISIC_4.bmp", "2 classes are marked in the table") in found.left_out


def test_a_table_may_name_masks(tmp_path):
    names = [f"{n}.png" for n in range(4)] + [f"outline{n}.png" for n in range(4)]
    rows = [(f"{n}.png", "ab"[n % 2], f"outline{n}.png") for n in range(4)]
    found = _read(tmp_path, "file,label,mask", rows, names)
    assert [kept.masks(item) for item in found.items] == [[f"outline{n}.png"] for n in range(4)]
    assert found.left_out == ()


def test_a_row_a_lesion_gathers_the_masks_of_an_image(tmp_path):
    """As CBIS-DDSM has them: each lesion has a row and a mask of its own."""
    names = [f"images/{n}.png" for n in range(4)]
    names += [f"masks/lesion{n}{k}.png" for n in range(4) for k in "ab"]
    rows = [(f"{n}.png", "ab"[n % 2], f"lesion{n}{k}.png", n) for n in range(4) for k in "ab"]
    found = _read(tmp_path, "file,label,mask,patient", rows, names)
    every = [[f"lesion{n}a.png", f"lesion{n}b.png"] for n in range(4)]
    assert [kept.masks(item) for item in found.items] == every
    assert found.left_out == ()
    told = "labels.csv: 4 rows of a file that an earlier row names (images/0.png): taken together"
    assert told in found.notes and "the masks of 4 images merged" in found.notes


def test_rows_of_one_file_that_differ_are_told(tmp_path):
    names = [*(f"{n}.png" for n in range(4)), "x.png", "y.png"]
    rows = [(f"{n}.png", "ab"[n % 2], f"p{n}", ("train", "test")[n > 1], "") for n in range(4)]
    rows += [("0.png", "a", "p0", "test", "x.png"), ("1.png", "a", "p1", "train", "y.png")]
    rows += [("2.png", "a", "p9", "", ""), ("3.png", "", "p3", "test", "")]
    found = _read(tmp_path, "file,label,patient,split,mask", rows, names)
    assert [(*i.read.args[2:], i.part) for i in found.items] == [
        *(("a", "p0", "train"), ("b", "p1", "train"), ("a", "p2", "test"), ("b", "p3", "test"))
    ]
    assert dict(found.left_out) == {
        "labels.csv, line 6: 0.png": "the file has another split in an earlier row",
        "labels.csv, line 7: 1.png": "the file has another label in an earlier row",
        "labels.csv, line 9: 3.png": "no label in the table",
        "x.png": "a mask of a row that is left out",
        "y.png": "a mask of a row that is left out",
    }
    several = "1 row of another patient than an earlier row of the file (2.png)"
    assert f"labels.csv: {several}: the first patient taken" in found.notes


def test_rows_without_a_word_for_the_split_are_trained_on_and_told(tmp_path):
    names = [f"{n}.png" for n in range(8)]
    rows = [
        (name, "ab"[n % 2], (*["test"] * 2, *["train"] * 4, "", "")[n])
        for n, name in enumerate(names)
    ]
    kept.write(tmp_path / "set", names)
    table = kept.table(tmp_path / "labels.csv", "file,label,split", rows)
    found = pipeline.folder(tmp_path / "set", image_size=8, reading=Reading(labels=table))
    assert found.parts is not None and found.parts.tolist() == ["test"] * 2 + ["train"] * 6
    assert "2 images of no part of the split, counted to its training part" in found.notes


def test_a_file_that_a_later_row_labels_is_not_told_as_left_out(tmp_path):
    names = [f"{n}.png" for n in range(4)]
    rows = [("0.png", ""), *((name, "ab"[n % 2]) for n, name in enumerate(names))]
    kept.touch(tmp_path / "set", names)
    table = kept.table(tmp_path / "labels.csv", "file,label", rows)
    found = folder.listing(tmp_path / "set", Reading(labels=table))
    assert len(found.items) == 4
    assert dict(found.left_out) == {"labels.csv, line 2: 0.png": "no label in the table"}


def test_columns_can_be_named(tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2], n) for n in range(10)]
    found = _read(tmp_path, "x,y,z", rows, columns=("file=x", "label=y"))
    assert found.classes == ("a", "b")


BAD = {
    "no label": ("file,thing", [("ISIC_1", "a")], (), "no column of labels.csv .* the label"),
    "two labels": ("file,label,dx", [("ISIC_1", "a", "b")], (), "each of which may be the label"),
    "no file": ("thing,label", [("ISIC_1", "a")], (), "known to be the file .*--columns file=COL"),
    "other files": ("file,label", [("x", "a")], (), "no row of labels.csv names an image"),
    "one class": ("file,label", [("ISIC_1", "a")], (), r"gives the classes \['a'\]"),
    "no rows": ("file,label", [], (), "has no rows"),
    "no such column": ("file,label", [("ISIC_1", "a")], ("label=q",), "columns: expected ROLE="),
    "no such role": ("file,label", [("ISIC_1", "a")], ("who=label",), "columns: expected ROLE="),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_table_cannot_mean_is_refused(name, tmp_path):
    header, rows, columns, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, header, rows, columns=columns)


def test_rows_that_cannot_be_used_are_told(tmp_path):
    rows = [(f"ISIC_{n}", "ab"[n % 2]) for n in range(8)]
    found = _read(tmp_path, "file,label", [*rows, ("gone", "a"), ("ISIC_8", ""), ("ISIC_0", "b")])
    told = dict(found.left_out)
    assert told["labels.csv, line 10: gone"] == "it names no file"
    assert told["images/ISIC_8.bmp"] == "no label in the table"
    assert told["labels.csv, line 12: ISIC_0"] == "the file has another label in an earlier row"


def test_rows_that_name_no_file_are_named_and_refused_if_strict(tmp_path):
    """A row of a file that is left out names one; with a test folder a row names one of either."""
    rows = [(f"{n}.png", "ab"[n % 2]) for n in range(8)]
    kept.touch(tmp_path / "all", [f"{n}.png" for n in range(6)])
    kept.touch(tmp_path / "test", ["6.png", "7.png"])
    options = {"labels": kept.table(tmp_path / "l.csv", "file,label", [*rows, ("ghost.jpg", "a")])}
    told = "l.csv, line 10: ghost.jpg"
    for more in ({"test_images": tmp_path / "test"}, {"exclude": ("test/*",)}):
        place = tmp_path / ("all" if "exclude" not in more else "")
        found = folder.listing(place, Reading(**options, **more))
        assert [row for row, why in found.left_out if why == "it names no file"] == [told]
        for read in (pipeline.folder, volumes.folder):
            with pytest.raises(
                ValueError, match=f"strict: 1 row of a table without a file: {told}"
            ):
                read(place, image_size=8, reading=Reading(**options, **more), strict=True)


@pytest.mark.parametrize(("before", "count"), [("pics/", 0), ("../data/pics/", 0), ("imgs/", 8)])
def test_files_of_other_folders_are_taken_by_their_names_and_told(before, count, tmp_path):
    kept.touch(tmp_path / "data/pics", [f"{n}.png" for n in range(8)])
    rows = [(f"{before}{n}.png", "ab"[n % 2]) for n in range(8)]
    labels = kept.table(tmp_path / "l.csv", "file,label", rows)
    found = folder.listing(tmp_path / "data/pics", Reading(labels=labels))
    told = f"l.csv: {count} rows name files in other folders ({before}0.png): taken by their names"
    assert len(found.items) == 8 and (told in found.notes) == bool(count)


def test_a_table_that_lies_there_is_hinted_at(tmp_path):
    kept.touch(tmp_path, [*kept.FLAT, "meta.csv"])
    with pytest.raises(ValueError, match=r"meta\.csv lies there: --labels"):
        folder.listing(tmp_path)


def test_what_is_no_text_is_an_error(tmp_path):
    kept.touch(tmp_path, kept.FLAT)
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"labels: .* cannot be read"):
        folder.listing(tmp_path, Reading(labels=tmp_path / "labels.csv"))
    with pytest.raises(ValueError, match=r"labels: .* cannot be read"):
        folder.listing(tmp_path, Reading(labels=tmp_path / "nowhere.csv"))
