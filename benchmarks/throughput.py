"""Images a second of every method, beside captum, PyTorch by hand and plain JAX."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import peers, roofline
from benchmarks.contest import Case, Contender, contest, problem_folders, workers

SMOOTH: dict[str, Any] = {"samples": 25, "noise": 0.15, "relative": False}

OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 32},
    "expected_gradients": {"samples": 25, "baselines": "@baselines"},
    "deep_lift_shap": {"baselines": "@baselines"},
    "smoothgrad": SMOOTH,
    "smoothgrad_squared": SMOOTH,
    "vargrad": SMOOTH,
    "occlusion": {"window": 16, "stride": 8},
    "feature_ablation": {"segments": "@segments"},
    "grad_cam": {"resize": False},
    "rise": {"samples": 256},
    "lime": {"segments": "@segments", "samples": 200},
    "kernel_shap": {"segments": "@segments", "samples": 200},
    "shapley_sampling": {"segments": "@segments", "samples": 4},
    "sobol": {"designs": 4},
    "hsic": {"designs": 256},
    "xrai": {"segments": "@segments", "steps": 16},
    "idgi": {"steps": 32},
    "guided_integrated_gradients": {"steps": 32},
    "blur_integrated_gradients": {"steps": 32},
    "layer_integrated_gradients": {"steps": 32},
    "internal_influence": {"steps": 32},
    "layer_conductance": {"steps": 32},
}
"""Options of the methods that have some which change their cost."""

RANDOM = {"expected_gradients", "smoothgrad", "smoothgrad_squared", "vargrad", "rise"}
RANDOM |= {"lime", "kernel_shap", "shapley_sampling", "hsic"}
RANDOM |= {"smooth_grad_cam_plus_plus"}

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
    "lrp",
    "attn_lrp",
    "deep_lift",
    "full_grad",
    "element_wise_grad_cam",
    "kpca_cam",
    "finer_cam",
    "shapley_cam",
    "layer_gradient_x_activation",
    "together",
)
LOOPS = (
    "integrated_gradients",
    "expected_gradients",
    "deep_lift_shap",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
    "occlusion",
    "feature_ablation",
    "score_cam",
    "ablation_cam",
    "smooth_grad_cam_plus_plus",
    "idgi",
    "guided_integrated_gradients",
    "blur_integrated_gradients",
    "agi",
    "layer_integrated_gradients",
    "internal_influence",
    "layer_conductance",
    "rise",
    "lime",
    "kernel_shap",
    "shapley_sampling",
    "sobol",
    "hsic",
    "xrai",
)


def options(problem: str, method: str) -> dict[str, Any]:
    """The options of a method, for images of that problem."""
    if method == "occlusion" and problem.endswith("toy"):
        return {"window": 4, "stride": 2}
    return OPTIONS.get(method, {})


def make_case(problem: str, method: str, batch: int, **given: Any) -> Case:
    """A case with the options of `OPTIONS` and those given."""
    return Case(problem, method, batch, options(problem, method) | given, method in RANDOM)


class Settings(NamedTuple):
    """What is measured.

    Attributes:
        contenders: of those that `peers.PEERS` has for a method, which there is time for.
        why_not: why the others are not timed.
        precision: of products and convolutions in float32 on an accelerator, the same on both
            sides: "highest" or "tf32".
        minutes: no case or contender begins after so many; the record names those left out.
        save: takes the record so far, after each case.
    """

    cases: tuple[Case, ...]
    contenders: tuple[str, ...] = peers.EVERY
    why_not: str = ""
    rounds: int = 7
    precision: str = "highest"
    toy: bool = False
    minutes: float = math.inf
    save: Callable[[dict[str, Any]], object] = lambda record: None


def _cases(problem: str, single: int, loops: int) -> tuple[Case, ...]:
    one_pass = [make_case(problem, method, single) for method in ONE_PASS]
    return (*one_pass, *(make_case(problem, method, loops) for method in LOOPS))


LATENCY = (make_case("cnn-128", "gradient", 1), make_case("cnn-128", "gradient", 8))

_HEADLINE = (
    make_case("cnn-128", "gradient", 512),
    make_case("cnn-128", "integrated_gradients", 64, steps=64),
    make_case("cnn-128", "occlusion", 64),
    make_case("cnn-128", "smoothgrad", 64),
    make_case("cnn-128", "grad_cam", 512),
    make_case("cnn-128", "together", 512),
    make_case("cnn-128", "guided_backprop", 512),
    make_case("cnn-128", "gradient", 1),
)
_RESNET = (make_case("resnet50-224", "gradient", 128),)

_PEERS = (
    make_case("study-128", "lrp", 32),
    make_case("study-128", "deep_lift", 32),
    *(
        make_case("study-128", name, 2, segments="@segments_49", samples=200)
        for name in ("kernel_shap", "lime")
    ),
    make_case("study-128", "ablation_cam", 8, resize=True),
    make_case("study-128", "guided_integrated_gradients", 2, steps=200),
)

_ALL = (
    *_cases("cnn-128", 512, 64),
    *LATENCY,
    make_case("cnn-128", "gradient", 64),
    make_case("cnn-128", "gradient", 4096),
    *_cases("cnn-224", 256, 32),
    make_case("resnet50-224", "gradient", 1),
    make_case("resnet50-224", "grad_cam", 128),
    make_case("resnet50-224", "smoothgrad", 32),
    make_case("resnet50-224", "integrated_gradients", 32),
    make_case("resnet50-224", "occlusion", 8),
)
_REST = tuple(each for each in _ALL if each[:3] not in {first[:3] for first in _HEADLINE})

_OURS = ("jaxsal", "plain jax", *peers.STEPS)
_WHOLE = (*_OURS, *peers.CAPTUM, *peers.BY_HAND)
_LIBRARIES = ("jaxsal", *peers.CAPTUM, *peers.IN_CHUNKS, "zennit", "grad-cam", "saliency")


def _with_chunks(*counts: int) -> tuple[str, ...]:
    """Every kind of contender, captum also in chunks of so many."""
    return (*_WHOLE, *(f"{each}, chunk {count}" for count in counts for each in peers.CAPTUM))


SETTINGS = {
    "short": Settings(
        (
            *(make_case("cnn-128", method, 32) for method in ONE_PASS),
            make_case("cnn-128", "integrated_gradients", 8),
            make_case("cnn-128", "smoothgrad", 8),
            *(
                make_case("cnn-128", method, 2)
                for method in LOOPS
                if method not in ("integrated_gradients", "smoothgrad")
            ),
            *LATENCY,
        ),
        _with_chunks(8),
        why_not="`--settings cpu` has them",
        rounds=5,
    ),
    "headline": Settings(
        (
            *(make_case("cnn-128", method, 32) for method in ("gradient", "grad_cam", "together")),
            make_case("cnn-128", "integrated_gradients", 8),
            make_case("cnn-128", "smoothgrad", 8),
            make_case("cnn-128", "occlusion", 2),
        ),
        _with_chunks(8),
        why_not="`--settings cpu` has them",
        rounds=5,
    ),
    "cpu": Settings((*_cases("cnn-128", 32, 8), *LATENCY)),
    "peers": Settings(_PEERS, _LIBRARIES, rounds=5),
    "large": Settings(
        (
            make_case("cnn-224", "gradient", 16),
            make_case("cnn-224", "integrated_gradients", 4),
            make_case("resnet50-224", "gradient", 8),
            make_case("resnet50-224", "integrated_gradients", 1),
        ),
        rounds=5,
    ),
    "gpu": Settings((*_HEADLINE, *_RESNET, *_REST), precision="tf32"),
    "gpu-headline": Settings(
        _HEADLINE,
        (*_with_chunks(64, 256), *peers.BFLOAT16),
        why_not="`--settings gpu` has them",
        precision="tf32",
    ),
    "gpu-resnet": Settings(
        _RESNET,
        (*_WHOLE, *peers.BFLOAT16),
        why_not="`--settings gpu` has them",
        precision="tf32",
    ),
    "toy": Settings(
        (
            make_case("cnn-toy", "gradient", 2),
            make_case("cnn-toy", "integrated_gradients", 2),
            make_case("cnn-toy", "together", 2),
            make_case("resnet-toy", "gradient", 2),
        ),
        rounds=1,
        toy=True,
    ),
}
"""By name: for a CPU README's table ("headline", in half an hour), every method in an hour
("short") and beside every contender ("cpu", in hours), larger images ("large"), and each method
that another library has ("peers"); for an accelerator all of it, and in minutes the headline and
the ResNet; "toy" is a trial of seconds."""


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """The device's peak rates, and a row for each case and contender."""
    with workers(peer_python) as running, problem_folders(running, settings.cases) as folders:
        rates = running.ask("jax", "ceilings", precision=settings.precision, toy=settings.toy)
        known = {
            "precision": settings.precision,
            "ceilings": rates,
            "not_asked": {"contenders": not_asked(settings), "why": settings.why_not},
        }
        rows, left_out, end = [], [], time.monotonic() + 60 * settings.minutes
        for case in settings.cases:
            if time.monotonic() > end:
                left_out.append(str(case))
                continue
            print(f"\n{case}", flush=True)
            place = {"problem": str(folders[case.problem]), "batch": case.batch}
            cost = running.ask("jax", "cost", method=case.method, options=case.options, **place)
            if time.monotonic() > end:
                left_out.append(str(case))
                continue
            for row in contest(
                running,
                case,
                asked(settings, case),
                folders[case.problem],
                rounds=settings.rounds,
                precision=settings.precision,
                end=end,
            ):
                rows.append({**row, **cost, **_share(row, cost, rates)})
                print(row_text(rows[-1]), flush=True)
            settings.save({**known, "left_out": left_out, "rows": rows, "finished": False})
        about = {name: running.ask(name, "about") for name in running}
    return {**known, "frameworks": about, "left_out": left_out, "rows": rows}


def asked(settings: Settings, case: Case) -> tuple[Contender, ...]:
    """Who is timed at a case, jaxsal first."""
    return tuple(
        Contender("jax" if name.startswith(("jaxsal", "plain jax")) else "torch", name)
        for name in peers.of(case.method, settings.contenders)
    )


def not_asked(settings: Settings) -> list[str]:
    """The peers of its methods that a setting has no time for."""
    wanted = dict.fromkeys(name for case in settings.cases for name in peers.of(case.method))
    return [name for name in wanted if name not in (*settings.contenders, *peers.JAXSAL)]


def _share(row: dict[str, Any], cost: dict[str, Any], rates: dict[str, Any]) -> dict[str, float]:
    """`of_floor`: the floor of a case (`roofline.floor`) over a contender's time."""
    if "time" not in row or "flops" not in cost or "bytes" not in rates:
        return {}
    dtype = "bfloat16" if "bfloat16" in row["contender"] else "float32"
    if dtype == "bfloat16":
        cost = {**cost, "bytes": cost["bytes"] / 2}
    seconds = row["time"]["median_ms"] / 1e3
    return {"of_floor": round(roofline.floor(cost, rates, dtype) / seconds, 4)}


def row_text(row: dict[str, Any]) -> str:
    """A row for people."""
    if "time" not in row:
        why = "absent: " + row["absent"] if "absent" in row else "failed: " + row.get("failed", "")
        return f"  {row['contender']:<34}{why[:90]}"
    agreed = row["agreement"]
    gap = f"{agreed['largest']:9.1e}" + (f"{agreed['cosine']:8.4f}" if "cosine" in agreed else "")
    share = f"{row['of_floor']:>9.1%} of floor" if "of_floor" in row else ""
    return (
        f"  {row['contender']:<34}{row['images_per_s']:>10.1f} img/s"
        f"{row['ratio']:>9.2f}x{gap:<17}{share}{row['first_call_s']:>7.1f} s first"
    )
