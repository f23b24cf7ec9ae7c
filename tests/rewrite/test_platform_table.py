"""The table of rewrites is the records': a rule is on where they say, together, that it pays."""

import importlib.util
import math
from collections import defaultdict

import jax
import pytest

from benchmarks import records, summary
from benchmarks.topologies import ACCELERATORS
from jaxsal.rewrite import optimize
from jaxsal.rewrite.optimize import GPUS, REWRITES

MEND = {"extremum_gradient"}
"""On for what XLA computes wrongly or loses without it, whatever it costs."""

SIDES = {"before jax 0.11": (0, 10), "since jax 0.11": (0, 11)}


def side_of(version):
    return list(SIDES)[tuple(version) >= (0, 11)]


def evidence(folder=records.RESULTS):
    """By platform, rule and side how many times as fast programs are, measured or predicted."""
    found = defaultdict(lambda: defaultdict(list))
    for record in records.read(folder):
        side = side_of(map(int, record["versions"]["jax"].split(".")[:2]))
        for row in record["rows"]:
            if record["name"] == "rewrites":
                name = summary.RENAMED.get(row["rewrite"], row["rewrite"])
                found[record["device"]["platform"], name][side].append(row["off_over_on"])
            if record["name"] == "targets" and row["contender"].startswith(records.ONLY):
                platform = ACCELERATORS[row["target"]].platform
                key = GPUS.get(platform, platform), row["contender"].removeprefix(records.ONLY)
                found[key][side] += [row["times_as_fast"]] if "times_as_fast" in row else []
    return found


def table(version):
    """The table as it is with a version of JAX."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "__version_info__", version)
        spec = importlib.util.find_spec(optimize.__name__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module.REWRITES


TABLES = {side: table(version) for side, version in SIDES.items()}
EVIDENCE = evidence()


def judged(tables):
    """Every rule that is on somewhere, with its platform and the sides that judge it.

    A rule that is on before and since jax 0.11 is judged by both sides' records together.
    """
    for name in REWRITES:
        for platform in ("cpu", "gpu", "tpu"):
            sides = [side for side, rules in tables.items() if rules[name].is_on(platform)]
            if sides and name not in MEND:
                yield platform, name, sides


def pays(platform, name, sides, known=EVIDENCE):
    """Whether programs are faster by a rule in the geometric mean of all that is known."""
    times = [x for side in sides for x in known[platform, name][side]]
    return bool(times) and math.prod(times) > 1


@pytest.mark.parametrize(("platform", "name", "sides"), judged(TABLES))
def test_a_rule_that_is_on_pays_there_by_the_records(platform, name, sides):
    assert pays(platform, name, sides), EVIDENCE[platform, name]


def test_the_table_is_that_of_the_installed_jax():
    assert TABLES[side_of(jax.__version_info__)].keys() == REWRITES.keys()
    for name, rule in TABLES[side_of(jax.__version_info__)].items():
        assert rule.platforms == REWRITES[name].platforms
    assert TABLES["before jax 0.11"]["winograd"].is_on("cpu")
    assert not TABLES["since jax 0.11"]["winograd"].is_on("cpu")


@pytest.mark.parametrize("name", ["max_pool", "max_pool_gradient"])
def test_a_rule_without_a_record_or_with_a_slower_one_would_not_pass_on_a_tpu(name, monkeypatch):
    rules = TABLES["since jax 0.11"]
    before = {name for platform, name, _ in judged(TABLES) if platform == "tpu"}
    assert name not in before
    on = rules[name]._replace(platforms=rules[name].platforms | {"tpu": True})
    monkeypatch.setitem(rules, name, on)
    (found,) = [each for each in judged(TABLES) if each[0] == "tpu" and each[1] not in before]
    assert bool(EVIDENCE["tpu", name]) == (name == "max_pool_gradient")
    assert not pays(*found)


def test_without_a_record_there_is_no_evidence(tmp_path):
    assert not evidence(tmp_path)
