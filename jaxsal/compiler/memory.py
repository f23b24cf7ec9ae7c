"""How much memory is free, and how much a program takes: known before anything runs."""

import math
import os
from collections.abc import Iterable
from pathlib import Path

import jax

SHARE = 0.8
"""The part of the free memory that `"auto"` lets a program take."""


def free_bytes(devices: Iterable[jax.Device]) -> float:
    """Free bytes on each of the devices: the least of them, infinite where nothing is known.

    Accelerators: their own statistics. CPU: the least of available memory, the control group's
    limit and the limit of the address space, shared by the devices of this process.
    """
    devices = list(devices)
    if devices[0].platform == "cpu":
        return host_free_bytes() / len(devices)
    free = math.inf
    for device in devices:
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            free = min(free, stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return free


def host_free_bytes() -> float:
    """Free bytes of this machine, control group and process, whichever is least."""
    return max(0.0, min(_available(), _control_group(), _address_space()))


def program_bytes(compiled: jax.stages.Compiled) -> int:
    """Arguments, outputs and temporaries on one device; 0 where the compiler does not say."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return int(
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )


def temporary_bytes(compiled: jax.stages.Compiled) -> int:
    """Temporaries alone on one device; 0 where the compiler does not say."""
    analysis = compiled.memory_analysis()
    return 0 if analysis is None else int(analysis.temp_size_in_bytes)


def mappings_taken() -> float:
    """The share that is in use of the memory mappings that Linux gives a process; 0 elsewhere.

    On a CPU a compiled program takes hundreds of them. Where none is left XLA ends the process.
    """
    try:
        taken = Path("/proc/self/maps").read_bytes().count(b"\n")
        return taken / int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return 0.0


def _available() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError):
        return math.inf


def _control_group(root: Path = Path("/sys/fs/cgroup"), own: Path | None = None) -> float:
    """What the control groups that this process is in (version 2, else 1) have left."""
    own = _own_group() if own is None else own
    left = math.inf
    for group in (own, *own.parents):
        for folder, limit, used, cache in (
            (root / group, "memory.max", "memory.current", "inactive_file"),
            (
                root / "memory" / group,
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
        ):
            try:
                whole, taken = (int((folder / name).read_text()) for name in (limit, used))
            except (OSError, ValueError):  # no such file, or "max"
                continue
            left = min(left, float(whole - taken + _cached(folder, cache)))
    return left


def _cached(folder: Path, name: str) -> int:
    """Bytes of files that a control group would give back before it runs out."""
    try:
        for line in (folder / "memory.stat").read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def _own_group() -> Path:
    """The path of this process's memory control group, relative to the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return Path()
    entries = [line.split(":", 2) for line in lines]
    paths = [path for _, names, path in entries if names == "" or "memory" in names.split(",")]
    return Path(paths[0].strip("/")) if paths else Path()


def _address_space() -> float:
    try:
        import resource  # not everywhere

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return math.inf
    if limit == resource.RLIM_INFINITY:
        return math.inf
    return float(limit - pages * os.sysconf("SC_PAGE_SIZE"))
