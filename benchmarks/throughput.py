"""Images a second of every method, beside captum, PyTorch by hand and plain JAX."""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks import ceilings
from benchmarks.contest import Case, Contender, contest, workers, written

SMOOTH: dict[str, Any] = {"samples": 25, "noise": 0.15, "relative": False}

OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 32},
    "expected_gradients": {"samples": 25, "baselines": "@baselines"},
    "smoothgrad": SMOOTH,
    "smoothgrad_squared": SMOOTH,
    "vargrad": SMOOTH,
    "occlusion": {"window": 16, "stride": 8},
    "feature_ablation": {"segments": "@segments"},
    "grad_cam": {"resize": False},
    "rise": {"samples": 256},
}
"""Options of the methods; the others have none that cost."""

RANDOM = {"expected_gradients", "smoothgrad", "smoothgrad_squared", "vargrad", "rise"}

ONE_PASS = (
    "gradient",
    "input_x_gradient",
    "guided_backprop",
    "deconvnet",
    "grad_cam",
    "grad_cam_plus_plus",
    "hires_cam",
    "layer_cam",
    "x_grad_cam",
    "eigen_cam",
    "guided_grad_cam",
    "together",
)
LOOPS = (
    "integrated_gradients",
    "expected_gradients",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
    "occlusion",
    "feature_ablation",
    "score_cam",
    "rise",
)

JAX = ("jaxsal", "jaxsal without rewrites", "jaxsal bfloat16", "plain jax", "plain jax, loop")
TORCH = (
    "captum",
    "captum, chunk 1",
    "captum, chunk 8",
    "captum, chunk 32",
    "captum, chunk 64",
    "captum, chunk 256",
    "torch",
    "torch channels_last",
    "torch compiled",
    "torch compiled channels_last",
    "torch bfloat16",
)
CONTENDERS = tuple(Contender("jax", n) for n in JAX) + tuple(Contender("torch", n) for n in TORCH)


class Settings(NamedTuple):
    """What is measured.

    Attributes:
        cases: (problem, method, batch).
        precision: of products and convolutions in float32 on an accelerator, the same on both
            sides: "highest" or "tf32".
        minutes: after which no further case begins; the record names those left out.
    """

    cases: tuple[tuple[str, str, int], ...]
    contenders: tuple[Contender, ...] = CONTENDERS
    rounds: int = 7
    precision: str = "highest"
    toy: bool = False
    minutes: float = math.inf


def _cases(problem: str, single: int, loops: int) -> tuple[tuple[str, str, int], ...]:
    return tuple((problem, m, single) for m in ONE_PASS) + tuple((problem, m, loops) for m in LOOPS)


LATENCY = (("cnn-128", "gradient", 1), ("cnn-128", "gradient", 8))

_FEW = tuple(
    each
    for each in CONTENDERS
    if each.name
    in ("jaxsal", "plain jax", "captum", "captum, chunk 8", "torch", "torch channels_last")
)

SETTINGS = {
    "short": Settings(
        (
            *(("cnn-128", method, 32) for method in ONE_PASS),
            ("cnn-128", "integrated_gradients", 8),
            ("cnn-128", "smoothgrad", 8),
            *(("cnn-128", m, 2) for m in LOOPS if m not in ("integrated_gradients", "smoothgrad")),
            *LATENCY,
        ),
        _FEW,
        rounds=5,
    ),
    "headline": Settings(
        (
            *(("cnn-128", method, 32) for method in ("gradient", "grad_cam", "together")),
            ("cnn-128", "integrated_gradients", 8),
            ("cnn-128", "smoothgrad", 8),
            ("cnn-128", "occlusion", 2),
        ),
        _FEW,
        rounds=3,
    ),
    "cpu": Settings((*_cases("cnn-128", 32, 8), *LATENCY)),
    "large": Settings(
        (
            ("cnn-224", "gradient", 16),
            ("cnn-224", "integrated_gradients", 4),
            ("resnet50-224", "gradient", 8),
            ("resnet50-224", "integrated_gradients", 1),
        ),
        rounds=3,
    ),
    "gpu": Settings(
        (
            *_cases("cnn-128", 512, 64),
            *LATENCY,
            ("cnn-128", "gradient", 64),
            ("cnn-128", "gradient", 4096),
            *_cases("cnn-224", 256, 32),
            ("resnet50-224", "gradient", 1),
            ("resnet50-224", "gradient", 128),
            ("resnet50-224", "grad_cam", 128),
            ("resnet50-224", "smoothgrad", 32),
            ("resnet50-224", "integrated_gradients", 32),
            ("resnet50-224", "occlusion", 8),
        ),
        precision="tf32",
    ),
    "toy": Settings(
        (
            ("cnn-toy", "gradient", 2),
            ("cnn-toy", "integrated_gradients", 2),
            ("cnn-toy", "together", 2),
            ("resnet-toy", "gradient", 2),
        ),
        rounds=1,
        toy=True,
    ),
}
"""By name: on a CPU in ten minutes, in four, in an hour, with larger images; an accelerator; a
trial."""


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """The device's ceilings, and a row for each case and contender."""
    cases = [_case(*each) for each in settings.cases]
    with workers(peer_python) as running, written(running, cases) as folders:
        rates = running.ask("jax", "ceilings", precision=settings.precision, toy=settings.toy)
        rows, left_out, begun = [], [], time.monotonic()
        for case in cases:
            if time.monotonic() - begun > 60 * settings.minutes:
                left_out.append(str(case))
                continue
            print(f"\n{case}", flush=True)
            asked = {"problem": str(folders[case.problem]), "batch": case.batch}
            cost = running.ask("jax", "cost", method=case.method, options=case.options, **asked)
            for row in contest(
                running,
                case,
                settings.contenders,
                folders[case.problem],
                rounds=settings.rounds,
                precision=settings.precision,
            ):
                rows.append({**row, **cost, **_share(row, cost, rates)})
                print(line(rows[-1]), flush=True)
        about = {name: running.ask(name, "about") for name in running}
    return {
        "precision": settings.precision,
        "ceilings": rates,
        "frameworks": about,
        "left_out": left_out,
        "rows": rows,
    }


def _case(problem: str, method: str, batch: int) -> Case:
    options = OPTIONS.get(method, {})
    if method == "occlusion" and problem.endswith("toy"):
        options = {"window": 4, "stride": 2}
    return Case(problem, method, batch, options, method in RANDOM)


def _share(row: dict[str, Any], cost: dict[str, Any], rates: dict[str, Any]) -> dict[str, float]:
    """The share of the floor that a contender reaches."""
    if "time" not in row or "flops" not in cost or "bytes" not in rates:
        return {}
    dtype = "bfloat16" if "bfloat16" in row["contender"] else "float32"
    seconds = row["time"]["median_ms"] / 1e3
    return {"of_floor": round(ceilings.floor(cost, rates, dtype) / seconds, 4)}


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    if "time" not in row:
        why = "absent: " + row["absent"] if "absent" in row else "failed: " + row.get("failed", "")
        return f"  {row['contender']:<30}{why[:90]}"
    agreed = row["agreement"]
    gap = f"{agreed['largest']:9.1e} {agreed['cosine']:7.4f}" if agreed else " " * 17
    share = f"{row['of_floor']:>9.1%} of floor" if "of_floor" in row else ""
    return (
        f"  {row['contender']:<30}{row['images_per_s']:>10.1f} img/s"
        f"{row['ratio']:>9.2f}x{gap}{share}{row['first_call_s']:>7.1f} s first"
    )


def best(rows: list[dict[str, Any]], prefix: str) -> Iterator[dict[str, Any]]:
    """The timed rows whose contender begins with a prefix, fastest first; bfloat16 apart."""
    timed = [r for r in rows if "time" in r and r["contender"].startswith(prefix)]
    exact = [r for r in timed if "bfloat16" not in r["contender"]]
    return iter(sorted(exact, key=lambda row: row["ratio"]))
