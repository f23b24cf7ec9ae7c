"""Thousands of batches by one explainer: memory stays flat, and nothing is compiled again.

    python -m tests.soak [--batches 2000]

Batches of several lengths, NumPy's and JAX's, with a key for each, through an explainer of two
methods. Prints resident memory, live device arrays and compilations after a tenth of the batches
and at the end; the exit code is 1 where memory grows by more than 5 % and 16 MiB, live arrays grow,
or a program is compiled after the first tenth. About a minute on two cores.
"""

import argparse
import gc
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxsal
from tests import toy

LENGTHS = (32, 17, 5, 1)


class Seen(NamedTuple):
    """Memory of this process in MiB, arrays on the devices, their MiB, and compilations so far."""

    resident: float
    arrays: int
    held: float
    compiled: int


def look(compiled: int) -> Seen:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            resident = int(line.split()[1]) / 1024
    live = jax.live_arrays()
    return Seen(resident, len(live), sum(x.nbytes for x in live) / 2**20, compiled)


def soak(batches: int) -> list[Seen]:
    """Explains the batches; looks after a tenth of them, and at ten moments from there on."""
    methods = {
        "gradient": jaxsal.gradient,
        "smoothgrad": jaxsal.smoothgrad(jaxsal.gradient, samples=2),
    }
    explain, params = jaxsal.explainer(toy.apply, methods), toy.params()
    key, images = jax.random.key(0), toy.images(32)
    seen = []
    with toy.compilations() as counter:
        for number in range(batches):
            rows = images[: LENGTHS[number % len(LENGTHS)]] + np.float32(number)
            batch = jnp.asarray(rows) if number % 8 >= 4 else rows
            maps = explain(params, batch, number % 3, key=jax.random.fold_in(key, number))
            if number % 16 == 0:
                assert np.isfinite(np.asarray(maps["smoothgrad"])).all()
            if (number + 1) % max(batches // 10, 1) == 0:
                seen.append(look(counter.count))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=2000)
    given = parser.parse_args()
    seen = soak(given.batches)
    first, last = seen[0], seen[-1]
    for name, at in (("a tenth", first), ("all", last)):
        print(
            f"after {name} of {given.batches} batches: {at.resident:.1f} MiB resident, "
            f"{at.arrays} device arrays of {at.held:.2f} MiB, {at.compiled} compilations"
        )
    grown = last.resident - first.resident
    bad = grown > max(16, 0.05 * first.resident) or last.arrays > first.arrays
    sys.exit(bool(bad or last.compiled > first.compiled))


if __name__ == "__main__":
    main()
