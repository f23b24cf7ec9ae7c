"""The table of rewrites is the records': no rule is on where none of them says that it pays."""

from collections import defaultdict

import pytest

from benchmarks import records, summary
from benchmarks.topologies import ACCELERATORS
from jaxsal.rewrite.optimize import GPUS, REWRITES

PAYS = 1.02
"""How many times as fast a program is by a rule that pays: less is within what runs differ by."""


def evidence(folder=records.RESULTS):
    """By platform and rule how many times as fast programs were measured, or predicted, to be."""
    found = defaultdict(list)
    for record in records.read(folder, "rewrites"):
        for row in record["rows"]:
            name = summary.RENAMED.get(row["rewrite"], row["rewrite"])
            found[record["device"]["platform"], name].append(row["off_over_on"])
    for record in records.read(folder, "targets"):
        for row in record["rows"]:
            if "times_as_fast" in row and row["contender"].startswith(records.ONLY):
                platform = ACCELERATORS[row["target"]].platform
                name = row["contender"].removeprefix(records.ONLY)
                found[GPUS.get(platform, platform), name].append(row["times_as_fast"])
    return found


KNOWN = evidence()
ON = [
    (platform, name)
    for name, rewrite in REWRITES.items()
    for platform, on in rewrite.platforms.items()
    if on and not rewrite.mends
]


@pytest.mark.parametrize(("platform", "name"), ON)
def test_a_rule_that_is_on_pays_there_by_a_record(platform, name):
    assert max(KNOWN[platform, name], default=0.0) > PAYS


def test_no_rule_is_on_that_every_record_of_a_tpu_says_is_slower():
    tpu = {name: times for (platform, name), times in KNOWN.items() if platform == "tpu"}
    assert tpu
    for name, times in tpu.items():
        assert not REWRITES[name].is_on("tpu") or min(times) > PAYS, name


def test_without_a_record_there_is_no_evidence(tmp_path):
    assert not evidence(tmp_path)
