"""The disk fills up while maps are written: an error of one line, and the same command goes on.

    python -m tests.disk_full [--mount]

Files may grow to a few kB only (RLIMIT_FSIZE), then without bound; with `--mount`, as root, the
store and the overlays lie on a file system of 1 MiB that is then made larger.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests import toy

ROOT = Path(__file__).parent.parent


def command(place: Path, out: Path, limit: int | None = None) -> tuple[int, str, dict[str, Any]]:
    """Exit code, the error's line, and what the command says, under a limit of a file's bytes."""
    arguments = ["explain", "--apply", "tests.toy:apply", "--params", str(place / "p.npz")]
    store = out.suffix == ".zarr"
    images = "x.npy" if store else "few.npy"  # pictures take longer to draw
    arguments += ["--images", str(place / images), "--method", "gradient", "--json"]
    arguments += ["--chunk", "64"] if store else []
    begin = [] if limit is None else ["prlimit", f"--fsize={limit}"]
    done = subprocess.run(
        [
            *begin,
            sys.executable,
            "-m",
            "jaxsal.cli",
            *arguments,
            "--out",
            str(out),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("jaxsal: error: ")]
    return done.returncode, "\n".join(lines), json.loads(done.stdout)


def prepare(place: Path, images: int) -> None:
    np.savez(place / "p.npz", **toy.params())
    np.save(place / "x.npy", toy.images(images))
    np.save(place / "few.npy", toy.images(24))


def files(store: Path) -> dict[str, bytes]:
    found = (file for file in store.rglob("*") if file.is_file())
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in found}


def refused(code: int, line: str, out: Path) -> None:
    """Raises unless the command failed with one line about `out`, and left nothing half written."""
    import zarr

    assert code == 1 and line.count("\n") == 0 and "out: " in line, (code, line)
    if out.suffix == ".zarr" and (out / "status/zarr.json").exists():
        found = zarr.open(str(out), mode="r")
        finished = found["status"][:] == 1
        assert np.isfinite(found["maps"][:][finished]).all()
    for picture in out.glob("*.png"):
        from PIL import Image

        Image.open(picture).load()


def by_limit(place: Path, limits: tuple[int, ...] = (100, 3000, 8000)) -> list[str]:
    """The lines of error under each limit; without one, the store is complete and a whole one's."""
    told = []
    command(place, place / "whole.zarr")
    for limit in limits:
        out = place / f"limited-{limit}.zarr"
        code, line, _ = command(place, out, limit)
        refused(code, line, out)
        told.append(f"{limit} bytes a file: {line}")
        assert command(place, out)[2]["complete"]
        assert files(out) == files(place / "whole.zarr")
    out = place / "overlays"
    code, line, _ = command(place, out, limits[-1])
    refused(code, line, out)
    return [*told, f"overlays: {line}"]


def by_mount(place: Path) -> list[str]:
    """The same on a small file system; as root."""
    small, told = place / "small", []
    small.mkdir()
    for name in ("maps.zarr", "overlays"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "jaxsal", small], check=True)
        try:
            code, line, _ = command(place, small / name)
            refused(code, line, small / name)
            told.append(f"256 kB for {name}: {line}")
            subprocess.run(["mount", "-o", "remount,size=512m", small], check=True)
            code, line, done = command(place, small / name)
            assert code == 0 and done["complete"], line
            if name == "maps.zarr":
                assert files(small / name) == files(place / "whole.zarr")
        finally:
            subprocess.run(["umount", small], check=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mount", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place), 640)
        told = by_limit(Path(place))
        if given.mount:
            told += by_mount(Path(place))
    print("\n".join([*told, "each went on, once there was room, to a complete store"]))


if __name__ == "__main__":
    main()
