"""A store holds what the explainer gives, whatever it was interrupted by."""

import functools
import json
from pathlib import Path
from typing import ClassVar

import grain.python as grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr

import jaxsal
from jaxsal.store.dataset import FACTS
from jaxsal.store.source import Source
from jaxsal.store.stream import prefetch
from tests import toy

P = toy.params()
X = toy.images(11)
LABELS = toy.targets(11)
KEY = jax.random.key(3)
GRADIENT = jaxsal.explainer(toy.apply, jaxsal.gradient)
ONE = jax.sharding.Mesh(jax.devices()[:1], ("batch",))
NOISY = jaxsal.explainer(toy.apply, jaxsal.smoothgrad(jaxsal.gradient, samples=2), mesh=ONE)


def records(count: int = 11) -> list[dict]:
    return [{"image": X[i], "label": LABELS[i], "name": f"ü/{i}.png"} for i in range(count)]


def files(path: Path) -> dict[str, bytes]:
    """Every file of a store by its path."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def test_a_store_opens_in_plain_zarr_and_holds_what_the_explainer_gives(tmp_path) -> None:
    done = jaxsal.explain_dataset(GRADIENT, P, records(), tmp_path / "m.zarr", chunk=4)
    assert done[1:] == (11, 0, 0, True, (), (), ())
    found = zarr.open(str(tmp_path / "m.zarr"), mode="r")
    maps = GRADIENT(P, X)
    toy.close(found["maps"][:], maps)
    toy.close(found["logits"][:], toy.apply(P, X))
    np.testing.assert_array_equal(found["targets"][:], toy.apply(P, X).argmax(-1))
    assert list(found["source"][:]) == [f"ü/{i}.png" for i in range(11)]
    assert found["maps"].dtype == np.float32 and found["maps"].chunks == (4, 8, 8, 1)
    assert (found["status"][:] == 1).all()
    assert found.attrs["jaxsal"]["count"] == 11
    shares = jax.nn.softmax(toy.apply(P, X))
    toy.close(found["probabilities"][:], shares)
    np.testing.assert_array_equal(found["predicted"][:], shares.argmax(-1))
    np.testing.assert_array_equal(found["labels"][:], LABELS)
    assert "images" not in found


def test_a_store_keeps_names_of_classes_and_images_where_asked(tmp_path) -> None:
    kept = {"classes": ["a", "b", "c"], "keep_images": True, "chunk": 4}
    jaxsal.explain_dataset(GRADIENT, P, records(), tmp_path / "m.zarr", **kept)
    found = zarr.open(str(tmp_path / "m.zarr"), mode="r")
    np.testing.assert_array_equal(found["images"][:], X)
    assert found.attrs["jaxsal"]["classes"] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="classes: expected 3 names"):
        jaxsal.explain_dataset(GRADIENT, P, records(), tmp_path / "n.zarr", classes=["a"])
    with pytest.raises(ValueError, match="another keep_images"):
        jaxsal.explain_dataset(GRADIENT, P, records(), tmp_path / "m.zarr", chunk=4)


def test_names_of_classes_come_later_and_are_never_others(tmp_path) -> None:
    def made(*classes: str) -> list[str] | None:
        jaxsal.explain_dataset(GRADIENT, P, records(), tmp_path / "m", classes=classes, chunk=4)
        return zarr.open(str(tmp_path / "m"), mode="r").attrs["jaxsal"].get("classes")

    assert made() is None
    before = files(tmp_path / "m")
    assert made("a", "b", "c") == ["a", "b", "c"]
    after = files(tmp_path / "m")
    assert [name for name in after if after[name] != before[name]] == ["zarr.json"]
    with pytest.raises(ValueError, match=r"classes: .*m has a, b, c, this run has b, a, c; leave"):
        made("b", "a", "c")
    assert files(tmp_path / "m") == after
    assert made() == ["a", "b", "c"] and files(tmp_path / "m") == after


SOURCES = {
    "array": lambda: X,
    "pairs": lambda: list(zip(X, LABELS, strict=True)),
    "grain map": lambda: grain.MapDataset.source(records()),
    "grain stream": lambda: grain.MapDataset.source(records()).to_iter_dataset(),
    "generator": lambda: (record for record in records()),
}


@pytest.mark.parametrize("name", SOURCES)
def test_any_source_gives_the_same_maps(name, tmp_path) -> None:
    done = jaxsal.explain_dataset(GRADIENT, P, SOURCES[name](), tmp_path / "m", chunk=4)
    assert (done.explained, done.complete) == (11, True)
    found = zarr.open(str(tmp_path / "m"), mode="r")
    toy.close(found["maps"][:], GRADIENT(P, X))
    assert len(found["source"][:]) == 11


@pytest.mark.parametrize(
    ("targets", "expected"),
    [("label", LABELS), (2, 2), (LABELS[::-1], LABELS[::-1]), ("all", "all"), (None, None)],
)
def test_targets_are_given_in_every_way(targets, expected, tmp_path) -> None:
    jaxsal.explain_dataset(GRADIENT, P, records(), tmp_path / "m", targets=targets, chunk=4)
    found = zarr.open(str(tmp_path / "m"), mode="r")
    toy.close(found["maps"][:], GRADIENT(P, X, expected))
    if targets is not None:
        given = (
            np.tile(np.arange(3), (11, 1)) if isinstance(expected, str) else np.asarray(expected)
        )
        np.testing.assert_array_equal(*np.broadcast_arrays(found["targets"][:], given))


def of_one(params: dict, images: jax.Array) -> jax.Array:
    """A binary logit, or the one number of a regression."""
    return toy.apply(params, images)[:, :1]


@pytest.mark.parametrize("targets", [0, 1, "label"])
def test_one_logit_has_two_classes(targets, tmp_path) -> None:
    binary = jaxsal.explainer(of_one, jaxsal.gradient)
    labelled = [{"image": x, "label": i % 2} for i, x in enumerate(X[:4])]
    jaxsal.explain_dataset(binary, P, labelled, tmp_path / "m", targets=targets)
    found = zarr.open(str(tmp_path / "m"), mode="r")
    toy.close(found["maps"][:], binary(P, X[:4], [0, 1, 0, 1] if targets == "label" else targets))


def test_a_column_says_what_the_model_s_outputs_are(tmp_path) -> None:
    value = jaxsal.explainer(of_one, jaxsal.gradient, output="value")
    jaxsal.explain_dataset(value, P, X[:4], tmp_path / "m")
    found = zarr.open(str(tmp_path / "m"), mode="r")
    toy.close(found["values"][:], of_one(P, X[:4]))
    assert "logits" not in found and found.attrs["jaxsal"]["output"] == "value"
    np.testing.assert_array_equal(found["targets"][:], np.zeros(4))
    with pytest.raises(ValueError, match=r"targets: .*\[0, 1\), got 1"):
        jaxsal.explain_dataset(value, P, X[:4], tmp_path / "other", targets=1)
    same_model = jaxsal.explainer(of_one, jaxsal.gradient)
    with pytest.raises(ValueError, match="maps of another output"):
        jaxsal.explain_dataset(same_model, P, X[:4], tmp_path / "m")


def test_an_example_draws_by_its_number_in_the_source(tmp_path) -> None:
    jaxsal.explain_dataset(NOISY, P, X[:8], tmp_path / "m", key=KEY, chunk=4)
    found = zarr.open(str(tmp_path / "m"), mode="r")
    toy.close(found["maps"][:], NOISY(P, X[:8], key=KEY))


def test_a_dict_of_methods_is_a_group_of_maps(tmp_path) -> None:
    both = jaxsal.explainer(toy.apply, {"b c": jaxsal.gradient, "a": jaxsal.grad_cam})
    jaxsal.explain_dataset(both, P, X, tmp_path / "m", dtype="float16")
    found = zarr.open(str(tmp_path / "m"), mode="r")
    maps = both(P, X)
    for name in ("b c", "a"):
        assert found[f"maps/{name}"].dtype == np.float16
        toy.close(found[f"maps/{name}"][:].astype(np.float32), maps[name], 1e-3)


@pytest.mark.parametrize("source", ["array", "generator"])
def test_interrupted_it_goes_on_to_the_same_files(source, tmp_path) -> None:
    jaxsal.explain_dataset(GRADIENT, P, SOURCES[source](), tmp_path / "whole", chunk=2)

    class Stop(Exception):
        pass

    start = 0

    def stop(progress) -> None:
        if progress.finished - start >= 4:
            raise Stop

    for begun in (0, 4):
        start = begun
        with pytest.raises(Stop):
            jaxsal.explain_dataset(
                GRADIENT, P, SOURCES[source](), tmp_path / "m", chunk=2, on_progress=stop
            )
        finished = files(tmp_path / "m")
        # What is half written is written again: columns without their status do not count.
        (tmp_path / "m/status/c/0").unlink()
        (tmp_path / "m/maps/c/0/0/0/0").write_bytes(b"half")
    done = jaxsal.explain_dataset(GRADIENT, P, SOURCES[source](), tmp_path / "m", chunk=2)
    assert done.resumed >= 6 and done.explained == 11
    assert files(tmp_path / "m") == files(tmp_path / "whole")
    assert finished.keys() <= files(tmp_path / "m").keys()


def test_finished_chunks_are_neither_read_nor_written_again(tmp_path) -> None:
    class Watched(list):
        read: ClassVar[list] = []

        def __getitem__(self, number):
            self.read.append(number)
            return super().__getitem__(number)

    jaxsal.explain_dataset(GRADIENT, P, list(X), tmp_path / "m", chunk=4)
    (tmp_path / "m/status/c/1").unlink()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "m").rglob("c/*") if p.is_file()}
    watched = Watched(X)
    done = jaxsal.explain_dataset(GRADIENT, P, watched, tmp_path / "m", chunk=4)
    assert (done.resumed, done.explained) == (7, 11)
    assert set(watched.read) == {0, 4, 5, 6, 7}  # the first tells the shape
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "m").rglob("c/*") if p.is_file()}
    changed = {p.name for p in after if after[p] != before.get(p)}
    assert changed <= {"1"}


def test_broken_images_are_listed_and_skipped(tmp_path) -> None:
    class Broken(list):
        def __getitem__(self, number):
            if number == 2:
                raise OSError("image file is truncated\n(3 bytes)")
            return super().__getitem__(number)

    source = Broken(records())
    source[5] = {"image": X[5] * np.nan, "name": "nan.png"}
    source[6] = {"image": X[6, :3], "name": "small.png"}
    source[10] = None
    done = jaxsal.explain_dataset(GRADIENT, P, source, tmp_path / "m", chunk=4)
    assert (done.explained, done.skipped, done.complete) == (7, 4, True)
    assert dict(done.faults) == {
        "2": "OSError: image file is truncated (3 bytes)",
        "nan.png": "pixels that are not finite",
        "small.png": "shape (3, 8, 1), the others have (8, 8, 1)",
        "10": "the source gave None",
    }
    found = zarr.open(str(tmp_path / "m"), mode="r")
    bad = np.isin(np.arange(11), (2, 5, 6, 10))
    np.testing.assert_array_equal(found["status"][:], np.where(bad, 2, 1))
    assert np.isnan(found["maps"][:][bad]).all() and (found["targets"][:][bad] == -1).all()
    toy.close(found["maps"][:][~bad], GRADIENT(P, X)[~bad])
    assert [bool(fault) for fault in found["fault"][:]] == bad.tolist()
    with pytest.raises(ValueError, match="strict: 2: OSError: image file is truncated"):
        jaxsal.explain_dataset(GRADIENT, P, source, tmp_path / "s", chunk=4, strict=True)


def normed(params, images):
    """x / norm(x): 0 / 0 on a black image."""
    return toy.apply(params, images / jnp.linalg.norm(images, axis=(1, 2), keepdims=True))


def rooted(params, images):
    """Finite logits, whose derivative at 0 is not."""
    size = jnp.sqrt(jnp.square(images).sum((1, 2, 3)))
    return size[:, None] * jnp.array([[1.0, 2.0, 3.0]]) + params["bias"].sum()


def test_what_is_not_finite_has_a_status_of_its_own(tmp_path) -> None:
    source = records()
    source[2], source[5], source[6] = (
        {**source[n], "image": 0 * X[n]} if n != 6 else {"image": X[6, :3]} for n in (2, 5, 6)
    )
    for model, why in {normed: "the map and the logits are", rooted: "the map is"}.items():
        out = tmp_path / model.__name__
        explain = jaxsal.explainer(model, jaxsal.gradient)
        done = jaxsal.explain_dataset(explain, P, source, out, chunk=4)
        assert (done.explained, done.skipped, done.complete) == (8, 1, True)
        assert done.not_finite == tuple((f"ü/{n}.png", f"{why} not finite") for n in (2, 5))
        assert len(done.faults) == 3
        found = zarr.open(str(out), mode="r")
        status = [3 if n in (2, 5) else 2 if n == 6 else 1 for n in range(11)]
        assert found["status"][:].tolist() == status
        assert [bool(fault) for fault in found["fault"][:]] == [each != 1 for each in status]
        assert (found["targets"][:] == -1)[2] == (model is normed)
        assert jaxsal.explain_dataset(explain, P, source, out, chunk=4).resumed == 11


def test_broken_parameters_explain_nothing(tmp_path) -> None:
    broken = {**P, "bias": P["bias"] * jnp.nan}
    done = jaxsal.explain_dataset(GRADIENT, broken, X, tmp_path / "m", chunk=4)
    assert (done.explained, done.skipped, len(done.not_finite)) == (0, 0, 11)
    assert (zarr.open(str(tmp_path / "m"), mode="r")["targets"][:] == -1).all()


def run(out: Path, *, explain=GRADIENT, params=P, source=X, **options):
    return jaxsal.explain_dataset(explain, params, source, out, chunk=4, **options)


OTHERS = {
    "params": {"params": toy.params(1)},
    "model": {"explain": jaxsal.explainer(lambda p, x: 2 * toy.apply(p, x), jaxsal.gradient)},
    "method": {"explain": jaxsal.explainer(toy.apply, jaxsal.input_x_gradient)},
    "targets": {"targets": 1},
    "dtype": {"dtype": "float16"},
    "count": {"source": X[:9]},
    "source": {"source": np.concatenate([X[:9], X[7:9]])},
    "note": {"about": {"note": "mine"}},
}


def test_about_speaks_in_the_place_of_no_fact(tmp_path) -> None:
    """Else a store would be known by what is said of it, and give another model's maps."""
    cam = jaxsal.explainer(toy.apply, jaxsal.grad_cam)
    kept = {"classes": ["a", "b", "c"], "keep_images": True, "targets": "label"}
    run(tmp_path / "m", explain=cam, source=records(), **kept)
    facts = zarr.open(str(tmp_path / "m"), mode="r").attrs["jaxsal"]
    assert set(facts) == set(FACTS)
    for name in FACTS:
        with pytest.raises(ValueError, match=f"about: the store itself says its .{name}."):
            run(tmp_path / "other", about={name: "the same"})
    assert not (tmp_path / "other").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("store") / "m"
    run(out)
    return out


def test_a_store_of_another_key_is_refused(tmp_path) -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.smoothgrad(jaxsal.gradient, samples=2))
    run(tmp_path / "m", explain=explain, key=KEY)
    with pytest.raises(ValueError, match="key"):
        run(tmp_path / "m", explain=explain, key=jax.random.key(1))


@pytest.mark.parametrize("name", OTHERS)
def test_a_store_of_anything_else_is_refused(name, finished) -> None:
    before = files(finished)
    with pytest.raises(ValueError, match=f"out: .* holds maps of another ({name}|model|method)"):
        run(finished, **OTHERS[name])
    assert files(finished) == before
    assert run(finished).resumed == 11


LABELLED = {
    "pairs": lambda labels: list(zip(X, labels, strict=True)),
    "records": lambda labels: [{"image": x, "label": n} for x, n in zip(X, labels, strict=True)],
    "a stream": lambda labels: zip(X, labels, strict=True),
}


@pytest.mark.parametrize("kind", LABELLED)
def test_a_store_of_other_labels_is_refused_where_they_are_explained(kind, tmp_path) -> None:
    others = LABELS.copy()
    others[0 if kind == "a stream" else 7] += 1  # of a stream the first alone is known in time
    for targets in ("label", None):
        made = functools.partial(run, tmp_path / str(targets), targets=targets)
        made(source=LABELLED[kind](LABELS))
        assert made(source=LABELLED[kind](LABELS.tolist())).resumed == 11
    with pytest.raises(ValueError, match="holds maps of another labelling"):
        run(tmp_path / "label", targets="label", source=LABELLED[kind](others))
    assert run(tmp_path / "None", source=LABELLED[kind](others)).resumed == 11
    facts = zarr.open(str(tmp_path / "None"), mode="r").attrs["jaxsal"]
    assert "labelling" not in facts


def test_no_record_is_read_for_its_label(tmp_path) -> None:
    """It may be a file that is decoded."""
    read = []

    class Watched(list):
        def __getitem__(self, number):
            read.append(number)
            return super().__getitem__(number)

    for _ in range(2):
        read.clear()
        run(tmp_path / "m", source=Watched(records()), targets="label")
    assert read == [0]


def test_a_chunk_that_cannot_be_read_is_named(tmp_path) -> None:
    run(tmp_path / "m")
    (tmp_path / "m/status/c/0").write_bytes(b"mangled")
    with pytest.raises(OSError, match=r"out: .* cannot be read: .*status/c/0"):
        run(tmp_path / "m")


def test_folders_that_hold_something_else_are_refused(tmp_path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr/zarr.json").write_text(json.dumps({"node_type": "group"}))
    for name, message in {
        "full": "no store and not empty .*'thesis.txt'",
        "file": "is a file",
        "zarr": "not one of jaxsal",
    }.items():
        with pytest.raises(ValueError, match=f"out: .*{message}"):
            run(tmp_path / name)
    assert files(tmp_path / "full") == {"thesis.txt": b"mine"}


WRONG = {
    "no explainer": ({"explain": toy.apply}, TypeError, "explain: "),
    "integers": ({"source": X.astype(np.uint8)}, TypeError, "source: .*floating.*uint8"),
    "text": ({"source": "images"}, TypeError, "source: .*str"),
    "a number": ({"source": 3}, TypeError, "source: .*3"),
    "nothing": ({"source": X[:0]}, ValueError, "source: .*length .*0"),
    "an empty stream": ({"source": iter(())}, ValueError, "source: .*empty"),
    "no image in the record": ({"source": [{"picture": X[0]}]}, TypeError, "source: .*picture"),
    "only broken ones": ({"source": [X[0] * np.nan] * 3}, ValueError, "source: no image can be"),
    "endless": ({"source": grain.MapDataset.source([X[0]]).repeat()}, ValueError, "source: .*len"),
    "a stream too short": ({"source": iter(X), "count": 20}, ValueError, "source: ended after 11"),
    "a dtype": ({"dtype": "int8"}, ValueError, "dtype: .*int8"),
    "targets in words": ({"targets": "best"}, ValueError, "targets: .*best"),
    "targets that float": ({"targets": LABELS / 2}, TypeError, "targets: .*float"),
    "too few targets": ({"targets": LABELS[:3]}, ValueError, r"targets: .*\(3,\)"),
    "no labels": ({"targets": "label"}, ValueError, "targets: .*first image .* has no label"),
    "a label missing": (
        {"targets": "label", "source": [(X[0], 1), X[1]]},
        ValueError,
        "strict: 1: the record has no label",
    ),
    "a class too high": ({"targets": 3}, ValueError, "targets: .*got 3"),
    "no key": ({"explain": NOISY}, ValueError, "key: .*smoothgrad"),
    "a key that is a number": ({"explain": NOISY, "key": 3}, TypeError, "key: expected .*got 3"),
    "a key an image": ({"explain": NOISY, "key": jax.random.split(KEY, 11)}, ValueError, "key: "),
    "text as params": ({"params": {"w": np.array(["a"])}}, TypeError, "params: expected a pytree"),
    "a shard": ({"shard": (2, 2)}, ValueError, "shard: "),
    "an endless shard": ({"source": iter(X), "shard": (0, 2)}, ValueError, "count: "),
    "a fact that is NaN": ({"about": {"share": float("nan")}}, TypeError, "about: .*JSON can hold"),
    "a name that leads out": (
        {"explain": jaxsal.explainer(toy.apply, {"../a": jaxsal.gradient})},
        ValueError,
        r"method: '\.\./a'",
    ),
    "what float16 cannot hold": (
        {"params": jax.tree.map(lambda x: 100 * x, P), "dtype": "float16"},
        ValueError,
        "dtype: maps reach .*float32",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_named(name, tmp_path) -> None:
    change, error, message = WRONG[name]
    with pytest.raises(error, match="^" + message):
        run(tmp_path / "m", strict=True, **change)


def test_several_processes_write_one_store(tmp_path) -> None:
    """Without a word between them: each knows which chunks are its own."""
    run(tmp_path / "one", source=list(X))
    first = run(tmp_path / "two", source=list(X), shard=(0, 2))
    assert (first.explained, first.complete) == (7, False)
    second = run(tmp_path / "two", source=iter(X), shard=(1, 2), count=11)
    assert (second.resumed, second.explained, second.complete) == (7, 11, True)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_stream_that_grew_is_refused(tmp_path) -> None:
    run(tmp_path / "m", source=iter(X[:9]))
    assert run(tmp_path / "m", source=iter(X[:9])).resumed == 9
    with pytest.raises(ValueError, match="source: has more than the 9 records"):
        run(tmp_path / "m", source=iter(X))


def test_a_stream_that_grew_by_chunks_is_refused_and_nothing_is_written(tmp_path) -> None:
    out = tmp_path / "m"
    jaxsal.explain_dataset(GRADIENT, P, iter(X[:9]), out, chunk=4)
    before = files(out)
    for _ in range(2):
        with pytest.raises(ValueError, match="more than the 9 records"):
            jaxsal.explain_dataset(GRADIENT, P, iter(np.concatenate([X, X])), out, chunk=4)
        assert files(out) == before


def test_a_kill_before_the_group_of_maps_is_mended(tmp_path) -> None:
    explain = jaxsal.explainer(toy.apply, {"a": jaxsal.gradient, "b": jaxsal.input_x_gradient})
    out = tmp_path / "m"
    jaxsal.explain_dataset(explain, P, X, out, chunk=4)
    before = files(out)
    (out / "maps/zarr.json").unlink()
    jaxsal.explain_dataset(explain, P, X, out, chunk=4)
    assert files(out) == before


def test_a_target_that_is_no_class_leaves_no_store(tmp_path) -> None:
    for targets in (99, np.full(11, 99)):
        with pytest.raises(ValueError, match=r"targets: expected classes in \[0, \d+\), got 99"):
            jaxsal.explain_dataset(GRADIENT, P, X, tmp_path / "m", targets=targets)
    assert not (tmp_path / "m").exists()


def test_a_label_that_is_no_class_is_that_records_fault(tmp_path) -> None:
    source = [dict(record) for record in records()]
    source[5]["label"], source[6]["label"] = 99, -1
    done = jaxsal.explain_dataset(GRADIENT, P, source, tmp_path / "m", targets="label", chunk=4)
    assert (done.explained, done.skipped) == (9, 2)
    assert [name for name, _ in done.faults] == ["ü/5.png", "ü/6.png"]
    assert "label is 99" in done.faults[0][1]


def test_maps_that_float16_would_lose_are_refused(tmp_path) -> None:
    def faint(params, images):
        return 1e-12 * toy.apply(params, images)

    explain = jaxsal.explainer(faint, jaxsal.gradient)
    with pytest.raises(ValueError, match="dtype: a map lies below"):
        jaxsal.explain_dataset(explain, P, X, tmp_path / "m", dtype="float16")


def test_strict_takes_no_store_with_skipped_images(tmp_path) -> None:
    source = records(6)
    for n in (1, 2, 4, 5):
        source[n] = {"image": X[n, :3], "name": f"{n}.png"}
    run(tmp_path / "m", source=source)
    before = files(tmp_path / "m")
    told = r"strict: .*m has 4 skipped images .*, 1.png: shape .*; 2.png: .*; 4.png: [^.]*; mend"
    for _ in range(2):
        with pytest.raises(ValueError, match=told):
            run(tmp_path / "m", source=source, strict=True)
    assert files(tmp_path / "m") == before
    (tmp_path / "m/status/c/1").unlink()  # as if it had been killed there
    with pytest.raises(ValueError, match=r"has 2 skipped images"):
        run(tmp_path / "m", source=source, strict=True)


def test_float16_need_not_hold_the_map_of_a_skipped_image(tmp_path) -> None:
    """The model is given a black one in its place."""

    def steep(params, images):
        return toy.apply(params, jnp.where(images == 0, 1e9 * images, images))

    source = records()
    source[2] = {"image": X[2] * np.nan}
    explain = jaxsal.explainer(steep, jaxsal.gradient)
    done = run(tmp_path / "m", explain=explain, source=source, dtype="float16", keep_images=True)
    assert (done.explained, done.skipped) == (10, 1)
    found = zarr.open(str(tmp_path / "m"), mode="r")
    bad = np.arange(11) == 2
    for name in ("maps", "images"):
        assert np.isnan(found[name][:][bad]).all() and np.isfinite(found[name][:][~bad]).all()


def test_a_broken_record_has_its_number_whatever_its_error_is_called(tmp_path) -> None:
    class Broken:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> np.ndarray:
            return None.astype(float) if number == 1 else X[number]  # type: ignore[attr-defined]

    done = jaxsal.explain_dataset(GRADIENT, P, Broken(), tmp_path / "m")
    assert [name for name, _ in done.faults] == ["1"]


def test_the_next_is_made_while_this_one_is_used() -> None:
    made = []

    def items():
        for i in range(3):
            made.append(i)
            yield i

    stream = prefetch(items())
    assert next(stream) == 0
    stream_of_two = [next(stream)]
    assert 1 in made and stream_of_two == [1]
    assert list(stream) == [2]


def test_an_error_of_the_source_stops_the_stream(tmp_path) -> None:
    def broken():
        yield X[0]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        run(tmp_path / "m", source=broken())


def test_a_transform_makes_records_of_what_is_not(tmp_path) -> None:
    pixels = (255 * np.clip(X, 0, 1)).astype(np.uint8)

    def scaled(record):
        return {"image": record["image"] / np.float32(255), "name": "a"}

    run(tmp_path / "m", source=[{"image": x} for x in pixels], transform=scaled)
    found = zarr.open(str(tmp_path / "m"), mode="r")
    toy.close(found["maps"][:], GRADIENT(P, pixels / np.float32(255)))


def test_an_array_of_jax_is_told_from_another_by_all_its_images() -> None:
    other = X.copy()
    other[7] += 1
    of_jax, of_other, of_numpy = (
        Source(array, transform=None, count=None).peek().digest
        for array in (jnp.asarray(X), jnp.asarray(other), X)
    )
    assert of_jax == of_numpy and of_jax != of_other


def test_peeking_takes_nothing_from_a_stream() -> None:
    source = Source(iter([X[0] * np.nan, *X]), transform=None, count=None)
    assert source.peek()[:3] == ((8, 8, 1), np.dtype("float32"), False)
    assert jnp.isnan(next(source._rest)).all()
