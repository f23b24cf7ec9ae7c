"""A first call is kept beside a warm one, and why there is none."""

from benchmarks.compilation import calls
from benchmarks.contest import Case, Contender, workers

ECHO = {"jax": "tests.benchmarks.echo"}
CASE = Case("none", "gradient", 2)


def test_a_first_call_has_a_warm_one_beside_it_or_says_why_not(tmp_path) -> None:
    with workers(modules=ECHO) as running:
        quick, nobody, broken = (
            calls(running, CASE, Contender("jax", name), tmp_path)
            for name in ("quick", "nobody", "broken")
        )
    assert quick["cold_s"] > 0 and quick["cached_s"] > 0 and quick["warm_s"] >= 0.01
    for row in (nobody, broken):
        assert row["cold_s"] is row["cached_s"] is row["warm_s"] is None
    assert nobody["absent"] == "not installed" and "no such thing" in broken["failed"]
