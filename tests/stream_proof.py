"""Phantoms streamed by `jaxsal explain` into a store: as fast as explained, whatever kills it.

    python -m tests.stream_proof [--images 20000] [--kills 5] [--folder DIR] [rate|idle|resume ...]

`rate`: images a second of the command against those of the bare explainer on the same chunks, each
in a process of its own, compilation included. `idle`: how long the device had nothing to do because
the next chunk was not read yet, or the last not written. `resume`: killed by SIGKILL at random
moments and started again, the store ends as an unbroken run's, file for file. All three unless
named; about five minutes on two cores. `--folder` keeps the phantoms for another time.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
METHOD = "gradient"
CHUNK = 512
ROUNDS = 2


def prepare(folder: Path, images: int, size: int) -> None:
    """Phantoms and a network that has learned nothing, as files."""
    import jax
    import numpy as np

    from jaxsal.data import phantom
    from jaxsal.models import CNN
    from jaxsal.training import checkpoint

    made = phantom.dataset(0, images, size=size)
    model = CNN(classes=len(made.classes), widths=(16, 32, 64, 128), smooth=1)
    variables = jax.jit(model.init)(jax.random.key(0), made.examples.images[:1])
    np.save(folder / "phantoms.npy", made.examples.images)
    checkpoint.save(folder, model, variables, classes=made.classes, image_size=size)


def explained(command: list[str], out: Path) -> dict[str, Any]:
    """What the command says when it has finished."""
    done = subprocess.run([*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def opened(folder: Path) -> tuple[Any, Any, Any]:
    """The explainer, its network's parameters and the phantoms."""
    import numpy as np

    import jaxsal
    from jaxsal.training import checkpoint

    network = checkpoint.load(folder)
    images = np.load(folder / "phantoms.npy", mmap_mode="r")
    return jaxsal.explainer(network.apply, jaxsal.gradient), network.variables, images


def bare(folder: Path) -> float:
    """Images a second of the explainer alone: chunks in memory, results waited for."""
    import jax
    import numpy as np

    explain, variables, images = opened(folder)
    chunks = [np.asarray(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]
    begun = time.perf_counter()
    for chunk in chunks:
        jax.block_until_ready(explain.record(variables, chunk))
    return len(images) / (time.perf_counter() - begun)


def rate(folder: Path, command: list[str]) -> None:
    """The command's images a second against the bare explainer's, in turns."""
    alone = [sys.executable, "-m", "tests.stream_proof", "--folder", str(folder), "bare"]
    shares = []
    for number in range(ROUNDS):
        told = subprocess.run(alone, cwd=ROOT, capture_output=True, text=True, check=True)
        first = float(told.stdout.split()[-1])
        out = folder / f"rate-{number}.zarr"
        second = explained(command, out)["images_per_second"]
        shutil.rmtree(out)
        shares.append(second / first)
        print(f"bare {first:.0f} images/s, the command {second:.0f}: {shares[-1]:.1%}", flush=True)
    print(f"median {statistics.median(shares):.1%}; load {os.getloadavg()[0]:.1f}", flush=True)


def idle(folder: Path) -> None:
    """From the end of a chunk on the device to the call of the next: nothing, if all is well."""
    import jax

    import jaxsal

    explain, variables, images = opened(folder)
    spans: list[tuple[float, float]] = []
    record = explain.record
    with ThreadPoolExecutor(8) as pool:

        def watched(*arguments: Any, **keywords: Any) -> Any:
            begun = time.perf_counter()
            result = record(*arguments, **keywords)

            def wait() -> None:
                jax.block_until_ready(result)
                spans.append((begun, time.perf_counter()))

            pool.submit(wait)
            return result

        explain.record = watched
        jaxsal.explain_dataset(explain, variables, images, folder / "idle.zarr", chunk=CHUNK)
    shutil.rmtree(folder / "idle.zarr")
    spans.sort()
    gaps = [max(0.0, late[0] - early[1]) for early, late in itertools.pairwise(spans)]
    total = spans[-1][1] - spans[0][0]
    print(
        f"the device had nothing to do for {sum(gaps):.3f} s of {total:.1f} s "
        f"({sum(gaps) / total:.2%}), between {sum(gap > 0 for gap in gaps)} of {len(gaps)} chunks",
        flush=True,
    )


def killed(command: list[str], out: Path, moments: Iterator[float]) -> None:
    """Starts the command again and again, and kills it after each of the moments."""
    for moment in moments:
        with subprocess.Popen(
            [*command, "--out", str(out)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
        finished = len(list(out.glob("status/c/*")))
        print(f"killed after {moment:.1f} s: {finished} chunks finished", flush=True)


def files(store: Path) -> dict[str, bytes]:
    found = (file for file in store.rglob("*") if file.is_file())
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in found}


def resume(folder: Path, command: list[str], kills: int, seed: int) -> None:
    """Kills spread over an unbroken run's duration, each in its own stretch of it."""
    draw = random.Random(seed)
    begun = time.monotonic()
    whole = explained(command, folder / "whole.zarr")
    seconds = time.monotonic() - begun
    start = seconds - whole["seconds"]
    print(f"unbroken: {seconds:.1f} s, {whole['images_per_second']} images/s", flush=True)
    stretch = whole["seconds"] / max(kills, 1)
    moments = (start + draw.uniform(0.1, 1.0) * stretch for _ in range(kills))
    killed(command, folder / "broken.zarr", moments)
    last = explained(command, folder / "broken.zarr")
    one, other = files(folder / "whole.zarr"), files(folder / "broken.zarr")
    different = sorted(
        name for name in one.keys() | other.keys() if one.get(name) != other.get(name)
    )
    if different or not last["complete"]:
        sys.exit(f"the resumed store differs in {different[:5]} ({len(different)} files)")
    print(
        f"resumed: {last['resumed']} of {last['explained']} images were there; "
        f"all {len(one)} files equal the unbroken run's",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["rate", "idle", "resume"])
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "model.json").exists():
            prepare(folder, given.images, given.size)
        command = [sys.executable, "-m", "jaxsal.cli", "explain", "--json", "--method", METHOD]
        command += ["--checkpoint", str(folder), "--images", str(folder / "phantoms.npy")]
        command += ["--chunk", str(CHUNK)]
        for part in given.parts:
            if part == "bare":
                print(bare(folder))
            elif part == "rate":
                rate(folder, command)
            elif part == "idle":
                idle(folder)
            else:
                resume(folder, command, given.kills, given.seed)


if __name__ == "__main__":
    main()
