"""What each of several processes does in `tests/test_processes.py`; and how they are started.

    python -m tests.processes OUT COORDINATOR PROCESSES PROCESS [--modes ...] [--die store|train]
        [--victim I]

Maps of a batch spread over the devices of all processes, maps into one store, and parameters
trained by `jit` and `pmap`, from the same arguments in every process. `--die` is a SIGKILL of one
process, the last unless told otherwise, amid the store or the training.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PATIENCE = 5
"""Seconds after which a silent process counts as dead."""


def start(out: Path, count: int, *options: str, devices: int = 1) -> list[subprocess.Popen[str]]:
    """The processes, started together; each writes its errors into `out/PROCESS.log`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    inherited = os.environ.get("XLA_FLAGS", "")
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", inherited)
    flags += f" --xla_force_host_platform_device_count={devices}"
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    out.mkdir(parents=True, exist_ok=True)
    running = []
    for process in range(count):
        arguments = [str(out), place, str(count), str(process), *options]
        with open(out / f"{process}.log", "w") as log:
            command = [sys.executable, "-m", "tests.processes", *arguments]
            running.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log))
    return running


def end(running: list[subprocess.Popen[str]], seconds: float) -> list[int | None]:
    """Their exit codes; None, and a kill, for one that has not ended by then."""
    deadline = time.monotonic() + seconds
    codes: list[int | None] = []
    for process in running:
        try:
            codes.append(process.wait(max(0.1, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append(None)
    return codes


def results(
    out: Path, *, modes: tuple[str, ...], die: str = "", victim: int = -1
) -> dict[str, Any]:
    """What the processes must agree on, and one process alone too; with `die`, that part alone."""
    if die == "store":
        return {"stored": stored(out / "maps.zarr", victim)}
    if die == "train":
        return trained(out, modes, victim)
    return {
        **maps(),
        "pictured": pictured(out / "pictures"),
        "stored": stored(out / "maps.zarr", None),
        **trained(out, modes, None),
    }


def maps() -> dict[str, Any]:
    """Of eleven images over all devices, one chunk after another; of eight that lie there."""
    import jax
    import numpy as np

    import jaxsal
    from jaxsal.compiler import processes
    from tests import toy

    mesh = jax.sharding.Mesh(np.asarray(processes.all_devices()), ("batch",))
    noisy = jaxsal.smoothgrad(jaxsal.gradient, samples=2)
    methods = {"gradient": jaxsal.gradient, "smoothgrad": noisy}
    found = {}
    for size in ("auto", 2):
        explain = jaxsal.explainer(toy.apply, methods, mesh=mesh, batch_size=size)
        got = explain(toy.params(), toy.images(11), toy.targets(11), key=jax.random.key(3))
        found |= {f"{name} {size}": processes.gather(values) for name, values in got.items()}
    explicit = jax.make_mesh(
        (mesh.size,), ("batch",), (jax.sharding.AxisType.Explicit,), devices=mesh.devices.flat
    )
    spread = jax.sharding.NamedSharding(explicit, jax.sharding.PartitionSpec("batch"))
    images = processes.place(toy.images(8), spread)  # in chunks of a row a device
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, batch_size=1)
    return found | {"explicit": processes.gather(explain(toy.params(), images, 1))}


def stored(out: Path, victim: int | None) -> Any:
    """Maps by way of the store, to which every process contributes its chunks."""
    import jax
    import zarr

    import jaxsal
    from jaxsal.compiler import processes
    from tests import toy

    def on_progress(progress: Any) -> None:
        if progress.finished >= 2:
            kill(victim)

    explain = jaxsal.explainer(toy.apply, jaxsal.smoothgrad(jaxsal.gradient, samples=2))
    jaxsal.explain_dataset(
        explain,
        toy.params(),
        toy.images(11),
        out,
        key=jax.random.key(3),
        chunk=2,
        on_progress=on_progress,
    )
    processes.wait("stored")
    return zarr.open(str(out), mode="r")["maps"][:]


def pictured(out: Path) -> Any:
    """The classes of five pictures, drawn two at a time; every process returns those of all."""
    import jax
    import numpy as np

    import jaxsal
    from jaxsal.commands import overlays, pages
    from jaxsal.commands.preparing import Images
    from jaxsal.data.pictures import ANYTHING, Arrays
    from jaxsal.viz.maps import Look
    from tests import toy

    overlays.CHUNK = 2
    stored = overlays.explain_folder(
        jaxsal.explainer(toy.apply, jaxsal.gradient),
        toy.params(),
        Images(Arrays(toy.images(5), None, "toy", ANYTHING)),
        out,
        targets=None,
        key=None,
        classes=(),
        names=("gradient",),
        look=Look(),
        strict=True,
        shard=(jax.process_index(), jax.process_count()),
        on_progress=lambda progress: None,
    )
    assert (stored.explained, stored.complete) == (5, True), stored
    parts = sorted(path.name for path in out.iterdir() if path.name[0] != ".")
    entries = json.loads((out / "index.json").read_text())
    beside = [overlays.INDEX, pages.PAGE, pages.SHEET, overlays.THUMBNAILS]
    assert parts == sorted([*beside, *(entry["file"] for entry in entries)]), parts
    assert all((out / entry["thumbnail"]).is_file() for entry in entries)
    return np.array([entry["target"] for entry in entries])


def trained(out: Path, modes: tuple[str, ...], victim: int | None) -> dict[str, Any]:
    """Parameters of a small network after three epochs of two steps."""
    import numpy as np

    from jaxsal.data.examples import Examples
    from jaxsal.models import CNN
    from jaxsal.training import loop
    from jaxsal.training.config import TrainConfig
    from tests import toy

    images, labels, none = toy.images(11), toy.targets(11), np.zeros(11, np.int32)
    names = none.astype(str)
    examples = Examples(images, labels, images[..., 0] > 0, none, names, names)
    model = CNN(classes=3, widths=(4,), dropout=0.5)

    def on_step(epoch: int, metrics: Any) -> None:
        if epoch == 2:
            kill(victim)

    found: dict[str, Any] = {}
    for mode in modes:
        config = TrainConfig(epochs=3, batch_size=8, widths=(4,), parallel=mode)
        run = loop.prepare(config, model, examples, examples, augment=lambda key, image: image)
        folder = out / f"checkpoints-{mode}"
        trained = loop.train(config, run, checkpoints=folder, on_step=on_step)
        found |= {mode: trained.variables, f"{mode} resumed": trained.resumed}
    return found


def kill(victim: int | None) -> None:
    """Ends this process if it is the victim: by its number, or from the end by a negative one."""
    import jax

    if victim is not None and jax.process_index() == victim % jax.process_count():
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("coordinator")
    parser.add_argument("processes", type=int)
    parser.add_argument("process", type=int)
    parser.add_argument("--modes", nargs="+", default=["jit", "pmap"])
    parser.add_argument("--die", choices=("store", "train"), default="")
    parser.add_argument("--victim", type=int, default=-1)
    given = parser.parse_args()

    from jaxsal.compiler import processes
    from jaxsal.training import parameter_files

    processes.join(given.coordinator, given.processes, given.process, patience=PATIENCE)
    import jax
    import numpy as np

    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_default_matmul_precision", "highest")
    found = parameter_files.flatten(
        results(given.out, modes=tuple(given.modes), die=given.die, victim=given.victim)
    )
    np.savez(given.out / f"results-{given.process}.npz", **found)


if __name__ == "__main__":
    main()
