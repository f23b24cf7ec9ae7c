"""What a figure was measured on: device, versions, commit, date."""

import datetime
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jaxsal", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

VECTORS = {
    "avx512_bf16": "AVX-512 and bfloat16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
"""Vector instructions, widest first, by their flags in `/proc/cpuinfo`."""


PATH = re.compile(
    r"(?<![^\s=:,'\"(])"  # where a word or its value begins
    r"(?:~?/(?![\s/])|\.\./)[^\s=:,'\")]*"
    r"(?: (?!-)[^\s=:,'\")/]+/[^\s=:,'\")]*)*"  # names may hold spaces
)
"""A path in a text: absolute, or out of the working directory by `..`."""


def describe() -> dict[str, Any]:
    """`versions`, `device`, `commit`, `command`, `date` of this process, ready for JSON."""
    return {
        "versions": {"python": platform.python_version(), **versions(*PACKAGES)},
        "device": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processor": _processor(),
            "cores": _cores(),
            "load_1min": round(os.getloadavg()[0], 1),
            "precision": jax.config.jax_default_matmul_precision or "default",  # type: ignore[attr-defined]
        },
        "commit": _commit(),
        "command": _command(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def versions(*names: str) -> dict[str, str]:
    """The versions of packages, of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cores() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


def _processor() -> str:
    """Its name and its widest vector instructions: clouds give all of theirs one name."""
    try:
        return named(Path("/proc/cpuinfo").read_text())
    except OSError:
        return platform.processor()


def named(cpuinfo: str) -> str:
    """The processor that `/proc/cpuinfo` describes: "AMD EPYC, AVX-512 and bfloat16"."""
    fields = [line.partition(":") for line in cpuinfo.splitlines()]
    known = {key.strip(): value.strip() for key, _, value in reversed(fields)}
    flags = known.get("flags", "").split()
    vectors = next((name for flag, name in VECTORS.items() if flag in flags), None)
    return ", ".join(filter(None, [known.get("model name", platform.processor()), vectors]))


def _commit() -> str:
    """The checkout's commit, "+changes" where files differ from it; "" outside a checkout.

    Installed into somebody's project, this file lies inside a checkout that knows nothing of it.
    """
    here = Path(__file__)

    def git(*args: str) -> str:
        run = subprocess.run(["git", "-C", here.parent, *args], capture_output=True, text=True)
        return run.stdout.strip() if run.returncode == 0 else ""

    try:
        if not git("ls-files", "--error-unmatch", here.name):
            return ""
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if commit and git("status", "--porcelain", "-uno") else "")
    except OSError:
        return ""


def _command() -> str:
    """This process's command as a person types it; of paths elsewhere, the last part alone."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    script = Path(sys.argv[0]).name
    program = f"python {shlex.quote(script)}" if script.endswith(".py") else script
    if spec:
        program = f"python -m {spec.name.removesuffix('.__main__')}"
    return " ".join([program, *(shlex.quote(without_paths(word)) for word in sys.argv[1:])])


def without_paths(text: str) -> str:
    """A text in which a path outside the working directory is cut down to its last part.

    A record is read on other machines: where a folder lay on this one is nobody's concern.
    """
    return PATH.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    path = Path(os.path.abspath(os.path.expanduser(found[0])))
    inside = path.is_relative_to(Path.cwd()) and path != Path.cwd()
    return str(path.relative_to(Path.cwd())) if inside else path.name or found[0]


def slug(about: dict[str, Any]) -> str:
    """Hardware, JAX's version and the date of a description, fit for a file's name."""
    device = about["device"]
    hardware = device.get("kind")
    if device["platform"] == "cpu":
        hardware = f"{device['processor']}-{device['cores']}-cores"
    jax_version = ".".join(about["versions"]["jax"].split(".")[:2])
    name = f"{hardware}-jax{jax_version}-{about['date']}"
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def describe_apart() -> dict[str, Any]:
    """`describe()` of a process that ends: this one takes no memory of the device.

    Raises:
        RuntimeError: that process failed.
    """
    asked = f"import json; from {__name__} import describe; print(json.dumps(describe()))"
    run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"no device: {run.stderr.strip().splitlines()[-1]}")
    return json.loads(run.stdout.splitlines()[-1]) | {"command": _command()}
