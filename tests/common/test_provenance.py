"""What a figure was measured on, told apart where it decides the figure."""

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jaxsal.common import provenance

CPUINFO = """processor	: 0
model name	: AMD EPYC
flags		: fpu sse2 {}

processor	: 1
model name	: AMD EPYC
flags		: fpu sse2 {}
"""


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("avx avx2", "AMD EPYC, AVX2"),
        ("avx avx2 avx512f", "AMD EPYC, AVX-512"),
        ("avx avx2 avx512f avx512_bf16", "AMD EPYC, AVX-512 and bfloat16"),
        ("", "AMD EPYC"),
    ],
)
def test_processors_of_one_name_are_told_apart_by_their_vectors(flags: str, name: str) -> None:
    assert provenance.named(CPUINFO.format(flags, flags)) == name


def test_a_processor_that_says_nothing_has_the_name_that_python_knows() -> None:
    assert provenance.named("") == provenance.platform.processor()


def test_records_of_two_processors_and_days_have_names_of_their_own() -> None:
    about = provenance.describe()
    about["versions"]["jax"], about["date"] = "0.12.0.1", "2026-11-28"
    names = set()
    for flags in ("avx2", "avx2 avx512f"):
        about["device"] |= {"processor": provenance.named(CPUINFO.format(flags, flags)), "cores": 2}
        names.add(provenance.slug(about))
    cpu = "amd-epyc-{}-2-cores-jax0.12-2026-11-28"
    assert names == {cpu.format("avx2"), cpu.format("avx-512")}
    about["device"] |= {"platform": "gpu", "kind": "NVIDIA H200"}
    assert provenance.slug(about) == "nvidia-h200-jax0.12-2026-11-28"


def test_a_description_is_ready_for_json() -> None:
    about = provenance.describe()
    assert json.loads(json.dumps(about)) == about
    assert set(about) == {"versions", "device", "commit", "command", "date"}
    assert about["versions"]["jax"] and about["device"]["count"] >= 1


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_commit_is_never_that_of_a_project_that_jaxsal_is_installed_in(
    tmp_path, monkeypatch
) -> None:
    def git(*words: str) -> None:
        named = "-c user.name=a -c user.email=a@b.c -c commit.gpgsign=false".split()
        subprocess.run(["git", "-C", tmp_path, *named, *words], check=True, capture_output=True)

    (tmp_path / "own.py").touch()
    (tmp_path / "installed.py").touch()
    git("init")
    git("add", "own.py")
    git("commit", "-m", "a project")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "installed.py"))
    assert provenance.describe()["commit"] == ""
    git("add", "installed.py")
    git("commit", "-m", "as a checkout of jaxsal has it")
    assert re.fullmatch("[0-9a-f]{12}", provenance.describe()["commit"])
    (tmp_path / "own.py").write_text("changed")
    assert provenance.describe()["commit"].endswith("+changes")


COMMANDS = {
    "a package": ("benchmarks.__main__", ["toy"], "python -m benchmarks toy"),
    "a module": ("experiments.folds", ["--folds", "2"], "python -m experiments.folds --folds 2"),
    "a script": (None, ["x"], "python run.py x"),
    "folders elsewhere": (
        "benchmarks.__main__",
        ["--out=/a/b/c", "--data-dir", "../set/x", "~/d", "1/2", "//", "https://a.b/c"],
        "python -m benchmarks --out=c --data-dir x d 1/2 // https://a.b/c",
    ),
    "a folder with a space": (None, ["/a b/c d/e"], "python run.py e"),
    "folders here": (
        "benchmarks.__main__",
        ["{here}/runs/a", "runs/b"],
        "python -m benchmarks runs/a runs/b",
    ),
    "what a shell reads": (
        "benchmarks.__main__",
        ["smoothgrad(gradient)"],
        "python -m benchmarks 'smoothgrad(gradient)'",
    ),
}


@pytest.mark.parametrize(("module", "words", "typed"), COMMANDS.values(), ids=list(COMMANDS))
def test_a_command_is_written_as_a_person_types_it(
    module, words, typed, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = SimpleNamespace(name=module) if module else None
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    words = [word.format(here=tmp_path) for word in words]
    monkeypatch.setattr(sys, "argv", ["/some/where/run.py", *words])
    assert provenance.describe()["command"] == typed


def test_the_installed_command_has_its_own_name(monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", ["/some/where/bin/jaxsal", "methods"])
    assert provenance.describe()["command"] == "jaxsal methods"


BINARY = {".pyc", ".npz", ".png"}


def test_no_committed_file_names_a_folder_of_a_machine() -> None:
    root = provenance.Path(__file__).parents[2]
    rooms = [root / name for name in ("jaxsal", "experiments", "benchmarks", "tests", ".ci")]
    files = [path for room in rooms for path in room.rglob("*") if path.suffix not in BINARY]
    files = [path for path in (root / "README.md", *files) if path.is_file()]
    assert len(files) > 100
    ours = re.compile(rb"/(tmp|root|home|work|Users|mnt|scratch)/\w")
    found = {str(path) for path in files if ours.search(path.read_bytes())}
    assert not found


def test_a_sentence_keeps_its_words() -> None:
    told = "set, from /a/b/c to /d, and / or 1/2 of it: python x --data-dir /e/f --out ../g"
    left = "set, from c to d, and / or 1/2 of it: python x --data-dir f --out g"
    assert provenance.without_paths(told) == left
