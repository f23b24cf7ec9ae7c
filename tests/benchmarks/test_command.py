"""What `python -m benchmarks` is asked for is checked before anything is measured."""

from types import SimpleNamespace

import pytest

from benchmarks import __main__

UNMEASURED = SimpleNamespace(SETTINGS={"cpu": None})
"""A measurement that nothing reaches."""

REFUSED = {
    "no round": (["--rounds", "0"], "--rounds: expected int above 0, got 0"),
    "half a round": (["--rounds", "1.5"], "--rounds: expected int above 0, got 1.5"),
    "no time": (["--minutes", "-1"], "--minutes: expected float above 0, got -1"),
    "not a time": (["--minutes", "nan"], "--minutes: expected float above 0, got nan"),
    "no such Python": (["--peer-python", "/no/python"], "a Python interpreter, got /no/python"),
    "no such settings": (["--settings", "nope"], "--settings: expected one of"),
    "chips of a measurement": (["--chips", "4"], "--chips: only of `targets`"),
    "a file for a folder": (["--out", __file__], f"--out: expected a folder, got {__file__}"),
}


@pytest.mark.parametrize(("words", "told"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_is_refused_in_one_line(words, told, monkeypatch, capsys) -> None:
    monkeypatch.setattr(__main__, "MEASURED", {**__main__.MEASURED, "training": UNMEASURED})
    monkeypatch.setattr(
        __main__.provenance, "describe_apart", lambda: {"device": {"platform": "cpu"}}
    )
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["training", *words])
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_number_of_chips_that_no_pod_has_is_refused(monkeypatch, capsys) -> None:
    monkeypatch.setattr(__main__.topologies, "without_devices", lambda: None)
    monkeypatch.setattr(__main__.provenance, "describe_apart", __main__.provenance.describe)
    for target, chips in {"tpu-v5e": "3", "h200": "4"}.items():
        with pytest.raises(SystemExit):
            __main__.main(["targets", "--targets", target, "--chips", chips])
        assert f"chips, got {chips}" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["throughput", "training", "metrics", "scaling"])
def test_what_is_published_has_five_rounds_at_least(name) -> None:
    settings = __main__.MEASURED[name].SETTINGS
    assert all(each.rounds >= 5 for key, each in settings.items() if key != "toy")
