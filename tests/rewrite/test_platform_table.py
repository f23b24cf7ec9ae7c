"""The table of rewrites is the records': a rule is on only where they say that it pays.

What was measured of a rule on a platform says so, all rows together; where nothing was, what is
predicted. A rule that pays may be off all the same.
"""

import importlib.util
import math
from collections import defaultdict

import jax
import pytest

from benchmarks import records, summary, workloads
from benchmarks.timing import compiled
from benchmarks.topologies import ACCELERATORS
from jaxsal.rewrite import optimize
from jaxsal.rewrite.optimize import GPUS, REWRITES

MEND = {"extremum_gradient"}
"""On for what XLA computes wrongly or loses without it, whatever it costs."""

TWICE = {("gpu", "max_pool_gradient"): "relu_pool_gradient"}
"""What was measured of one program twice, and the rule that takes all that this one would take.

The H200's record was made before equal programs were left out.
"""

SIDES = {"before jax 0.11": (0, 10), "since jax 0.11": (0, 11)}


def side_of(version):
    return list(SIDES)[tuple(version) >= (0, 11)]


def evidence(folder=records.RESULTS):
    """By platform, rule and side how many times as fast: measured, or else predicted."""
    measured, predicted = nothing(), nothing()
    for record in records.read(folder):
        side = side_of(map(int, record["versions"]["jax"].split(".")[:2]))
        for row in record["rows"]:
            if record["name"] == "rewrites":
                name = summary.RENAMED.get(row["rewrite"], row["rewrite"])
                key = record["device"]["platform"], name
                measured[key][side].append(row["off_over_on"])
            if record["name"] == "targets" and row["contender"].startswith(records.ONLY):
                platform = ACCELERATORS[row["target"]].platform
                key = GPUS.get(platform, platform), row["contender"].removeprefix(records.ONLY)
                predicted[key][side] += [row["times_as_fast"]] if "times_as_fast" in row else []
    return predicted | {key: sides for key, sides in measured.items() if key not in TWICE}


def nothing():
    return defaultdict(lambda: defaultdict(list))


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


def test_what_was_measured_counts_more_than_any_prediction(tmp_path):
    about = {"versions": {"jax": "0.12.0"}, "date": "", "settings": ""}
    device = {"platform": "gpu", "kind": "h"}
    measured = [{"rewrite": name, "off_over_on": 0.5} for name in ("winograd", "max_pool_gradient")]
    predicted = [
        {"target": "h200", "contender": records.ONLY + name, "times_as_fast": 2.0}
        for name in ("winograd", "max_pool_gradient", "im2col_conv")
    ]
    for name, rows in {"rewrites": measured, "targets": predicted}.items():
        records.write({**about, "name": name, "device": device, "rows": rows}, tmp_path)
    found = {key[1]: dict(sides) for key, sides in evidence(tmp_path).items()}
    side = "since jax 0.11"
    assert found.pop("winograd") == {side: [0.5]}
    assert found == {key: {side: [2.0]} for key in ("max_pool_gradient", "im2col_conv")}


@pytest.mark.parametrize(("platform", "name", "other"), [(*key, by) for key, by in TWICE.items()])
def test_what_was_measured_of_one_program_twice_is_no_evidence(platform, name, other):
    on = {each for each, rule in TABLES["since jax 0.11"].items() if rule.is_on(platform)}
    fun, args, _ = workloads.builders(16, 4, 2, (4, 4))["gradient"]()

    def text(names):
        return compiled(optimize.optimize(fun, only=names), *args).text

    assert text(on) == text(on - {name})
    assert text(on - {other}) != text(on - {name, other})


def test_without_a_record_there_is_no_evidence(tmp_path):
    assert not evidence(tmp_path)
