"""How exact are maps in float32? Those of jaxsal and PyTorch beside their own in float64.

In float64 both must agree to rounding: then the two compute the same function, and what differs in
float32 is rounding too. Where two values of a pool's window agree to seven digits, it may send the
gradient to the other of them: single pixels then differ by far more than rounding.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contest import Case, Contender, Workers, prepared, problem_folders, workers
from benchmarks.throughput import OPTIONS

SINGLE = {"jaxsal": Contender("jax", "jaxsal"), "torch": Contender("torch", "torch")}
DOUBLE = {
    "jaxsal": Contender("jax", "jaxsal float64"),
    "torch": Contender("torch", "torch float64"),
}
APART = 1e-3
"""An image's maps are apart where a pixel differs by more than this share of the largest value."""


class Settings(NamedTuple):
    """What is compared: (problem, method, batch). Nothing is timed: `rounds` has no effect."""

    cases: tuple[tuple[str, str, int], ...]
    rounds: int = 1


SETTINGS = {
    "cpu": Settings((("cnn-128", "gradient", 32), ("cnn-128", "integrated_gradients", 8))),
    "gpu": Settings((("cnn-128", "gradient", 256), ("cnn-128", "integrated_gradients", 64))),
    "toy": Settings((("cnn-toy", "gradient", 4),)),
}


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each case and pair of maps: how far apart they are."""
    cases = [Case(p, m, batch, OPTIONS.get(m, {})) for p, m, batch in settings.cases]
    rows = []
    with (
        workers(peer_python) as single,
        workers(peer_python, environment={"JAX_ENABLE_X64": "1"}) as double,
        problem_folders(single, cases) as folders,
    ):
        for case in cases:
            print(f"\n{case}", flush=True)
            folder = folders[case.problem]
            found = {
                **{f"{n} float64": _maps(double, case, c, folder) for n, c in DOUBLE.items()},
                **{f"{n} float32": _maps(single, case, c, folder) for n, c in SINGLE.items()},
            }
            for left, right in PAIRS:
                rows.append(
                    {"case": str(case), "maps": left, "beside": right}
                    | compared(found[left], found[right])
                )
                print(row_text(rows[-1]), flush=True)
        about = {name: single.ask(name, "about") for name in single}
    return {"frameworks": about, "apart": APART, "rows": rows}


PAIRS = (
    ("torch float64", "jaxsal float64"),
    ("jaxsal float32", "jaxsal float64"),
    ("torch float32", "torch float64"),
    ("torch float32", "jaxsal float32"),
)


def _maps(running: Workers, case: Case, contender: Contender, folder: Path) -> Any:
    """The maps, [B, H, W, C]; a dict that says why where there are none."""
    answer, maps = prepared(running, case, contender, folder, precision="highest")
    if maps is None:
        return answer
    running.ask(contender.framework, "forget", id=contender.name)
    return maps["map"]


def compared(found: Any, reference: Any) -> dict[str, Any]:
    """How far maps [B, ...] are from others, in shares of each image's largest value.

    Returns:
        images: B. apart: of how many a pixel differs by more than `APART`. largest: difference;
        largest_of_rest: of the images that are not apart.
    """
    for side in (found, reference):
        if isinstance(side, dict):
            return side
    flat, other = (
        np.asarray(side, np.float64).reshape(len(side), -1) for side in (found, reference)
    )
    gaps = np.abs(flat - other).max(1) / np.abs(other).max(1)
    rest = gaps[gaps <= APART]
    return {
        "images": len(gaps),
        "apart": int((gaps > APART).sum()),
        "largest": float(gaps.max()),
        "largest_of_rest": float(rest.max()) if len(rest) else None,
    }


def row_text(row: dict[str, Any]) -> str:
    """A row for people."""
    told = f"  {row['maps']:<16}beside {row['beside']:<16}"
    if "largest" not in row:
        return told + str({k: v for k, v in row.items() if k in ("absent", "failed")})
    return f"{told}{row['apart']:>4} of {row['images']} apart, largest {row['largest']:.1e}"
