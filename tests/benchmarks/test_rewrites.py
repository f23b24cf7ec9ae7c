"""The benchmark of the rewrites runs, at toy size, and its two sides agree."""

import json

import jax
import numpy as np

from benchmarks import __main__, rewrites
from benchmarks.timing import compiled, interleaved, ratio, spread
from jaxsal.rewrite.optimize import REWRITES


def test_a_row_for_every_rewrite_of_a_gradient(tmp_path, monkeypatch, capsys):
    toy = rewrites.Settings(image_size=8, batch=2, widths=(4, 4), rounds=1, workloads=("gradient",))
    monkeypatch.setitem(rewrites.SETTINGS, "toy", toy)
    __main__.main(["rewrites", "--settings", "toy", "--out", str(tmp_path)])
    (path,) = tmp_path.glob("rewrites-toy-*.json")
    record = json.loads(path.read_text())
    assert {row["rewrite"] for row in record["rows"]} == set(REWRITES) - {
        "extremum_gradient",
        "kernel_gradient",
        "max_pool",
        "max_pool_tangent",
        "spread_volume_conv",
        "strided_conv_pool",  # for one image's program, and the workload's is a batch's
        "strided_conv_pool_gradient",
        "unrolled_conv",  # im2col_conv, tried before it, takes what it would take
        "winograd",
    }
    assert all(row["difference"] < 1e-5 for row in record["rows"])
    assert record["device"]["platform"] == "cpu" and record["versions"]["jax"]
    assert capsys.readouterr().out.count("gradient") >= len(record["rows"])


def test_equal_programs_of_different_lines_have_one_text():
    def sine(x):
        return jax.numpy.sin(x)

    def unchanged(x):
        return 1.0 * sine(x)

    unchanged.__name__ = sine.__name__
    x = np.ones(3, np.float32)
    assert compiled(unchanged, x).text == compiled(sine, x).text
    assert compiled(unchanged, x + 1).text != compiled(lambda x: 2.0 * sine(x), x).text


def test_contenders_take_turns():
    calls = []
    seconds = interleaved({name: lambda n=name: calls.append(n) for name in "ab"}, rounds=3)
    assert calls == list("aabb" * 3)  # each after an untimed call of its own
    assert [len(each) for each in seconds.values()] == [3, 3]


def test_ratios_are_taken_within_a_round():
    assert ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == 2.0
    assert spread([1e-3, 2e-3, 3e-3])["median_ms"] == 2.0
