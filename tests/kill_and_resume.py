"""A study killed at three random moments ends as an unbroken one.

Run as `python -m tests.kill_and_resume`: about three minutes on two CPU cores. Each kill is
SIGKILL, at a moment of the unbroken run's duration drawn from a seed; the same command then runs
again in the same folder.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TOY = ["--count", "240", "--image-size", "32", "--epochs", "40", "--widths", "4", "8"]
VOLATILE = ("timings", "throughput", "command", "settings", "date", "resumed", "trained", "device")


def study(out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "experiments.brain_tumor", *TOY, "--explain", "12"]
    with open(out.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(
            [*command, "--out", str(out), *options], cwd=ROOT, stdout=log, stderr=log
        )


def finish(out: Path) -> dict[str, Any]:
    process = study(out)
    if process.wait():
        raise RuntimeError(out.with_suffix(".log").read_text()[-2000:])
    metrics = json.loads((out / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name not in VOLATILE}


def killed(out: Path, seconds: float) -> list[str]:
    """Starts the study, kills it after so many seconds, and says which epochs are saved."""
    process = study(out)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return sorted(path.name for path in (out / "checkpoints").glob("[0-9]*"))


def main(seed: int = 3) -> None:
    random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        whole = finish(Path(folder) / "whole")
        duration = time.monotonic() - start
        broken = Path(folder) / "broken"
        # The earliest first: a later run that resumes spends less time in training.
        for moment in sorted(random.uniform(0.2, 0.9) * duration for _ in range(3)):
            print(
                f"killed after {moment:.1f} s; epochs saved: {killed(broken, moment)}", flush=True
            )
        resumed = finish(broken)
    different = [name for name in whole if whole[name] != resumed[name]]
    if different:
        sys.exit(f"the resumed run differs in {different}")
    print(f"the resumed run equals the unbroken one in {sorted(whole)}")


if __name__ == "__main__":
    main()
