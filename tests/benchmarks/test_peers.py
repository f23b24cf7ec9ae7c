"""The table of peers is what the workers offer, and every setting asks for it or says why not."""

import ast
from pathlib import Path

import pytest

from benchmarks import (
    compilation,
    jax_metrics,
    jax_training,
    jax_worker,
    memory,
    metrics,
    peers,
    plain,
    precision,
    scaling,
    throughput,
    training,
)
from benchmarks.problems import PROBLEMS
from jaxsal import METHODS

FOLDER = Path(throughput.__file__).parent
CHUNK = peers.IN_CHUNKS[0]
TABLE = {
    "captum": {n for n, names in peers.PEERS.items() if set(peers.CAPTUM) <= set(names)},
    "chunked": {n for n, names in peers.PEERS.items() if set(peers.IN_CHUNKS) <= set(names)},
    "torch": {n for n, names in peers.PEERS.items() if set(peers.BY_HAND) <= set(names)},
}
"""By library the methods that the table says it has."""


def _assigned(file: str, name: str) -> ast.expr:
    """What a module assigns to a name: of a module that may not be installed."""
    for node in ast.parse((FOLDER / file).read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            return node.value  # type: ignore[union-attr]
    raise AssertionError(f"{file}: no {name}")


def test_captum_and_pytorch_have_the_methods_that_the_table_says() -> None:
    methods = _assigned("by_captum.py", "METHODS")
    assert {key.value for key in methods.keys} == TABLE["captum"]
    assert ast.literal_eval(_assigned("by_captum.py", "CHUNKED")) == TABLE["chunked"]
    of_torch = ast.parse((FOLDER / "by_torch.py").read_text()).body
    functions = {node.name for node in of_torch if isinstance(node, ast.FunctionDef)}
    assert {name for name in functions if name[0] != "_"} == TABLE["torch"]
    assert set(plain.METHODS) == TABLE["torch"]
    assert set(peers.PEERS) <= {*METHODS, "smoothgrad", "smoothgrad_squared", "vargrad"}


def test_torch_s_workers_know_the_contenders_of_the_tables() -> None:
    pytest.importorskip("torch")
    from benchmarks import torch_metrics, torch_training, torch_worker

    known = {*torch_worker.CONTENDERS}
    assert known == {*_asked("torch")}
    for module, asked in ((torch_metrics, metrics), (torch_training, training)):
        names = {each.name for each in asked.CONTENDERS if each.framework == "torch"}
        assert names == set(module.CONTENDERS)


def _asked(framework: str) -> set[str]:
    """The contenders that some measurement asks a worker of explanations for."""
    found = [
        each
        for settings in throughput.SETTINGS.values()
        for case in settings.cases
        for each in throughput.asked(settings, case)
    ]
    found += [*memory.CONTENDERS, *compilation.CONTENDERS]
    found += [*precision.SINGLE.values(), *precision.DOUBLE.values()]
    counts = {n for settings in scaling.SETTINGS.values() for n in settings.devices}
    on = {f"jaxsal on {count}" for count in counts} if framework == "jax" else set()
    return on | {each.name for each in found if each.framework == framework}


def test_every_contender_is_asked_for_somewhere() -> None:
    assert set(jax_worker.CONTENDERS) == _asked("jax")
    several = {each.name for each in metrics.SEVERAL}
    for module, asked in ((jax_metrics, metrics), (jax_training, training)):
        names = {each.name for each in asked.CONTENDERS if each.framework == "jax"}
        assert set(module.CONTENDERS) == names | (several if asked is metrics else set())


COLUMNS = (*peers.CAPTUM, *peers.BY_HAND, "plain jax", *peers.STEPS)
"""What no setting leaves out: a layout, a compiler or a form of a loop may be a peer's best."""


@pytest.mark.parametrize("name", throughput.SETTINGS)
def test_every_column_has_its_peers_or_a_record_says_why_not(name) -> None:
    settings = throughput.SETTINGS[name]
    without = throughput.not_asked(settings)
    assert bool(without) == bool(settings.why_not)
    columns = peers.CAPTUM if name == "peers" else COLUMNS
    for case in settings.cases:
        assert case.problem in PROBLEMS
        first, *others = (each.name for each in throughput.asked(settings, case))
        assert first == "jaxsal"
        wanted = peers.PEERS.get(case.method, ())
        assert set(others) - set(peers.JAXSAL) | (set(without) & set(wanted)) == set(wanted)
        assert set(columns) & set(wanted) <= set(others)
        if CHUNK in wanted:
            assert any("chunk" in each for each in others) or "resnet" in case.problem
