"""A worker without a framework, for the tests: "quick" and "slow" agree, the others fail."""

import itertools
import os
import time

import numpy as np

from benchmarks.worker import Absent, Prepared, serve

VALUES = {"other": [1.0, 1.0, 1.0, -1.0], "nan": [1.0, 1.0, 1.0, np.nan]}
"""Of an image; by default ones."""


def die() -> None:
    os.write(2, b"out of memory\n")
    os._exit(9)


def prepare(contender: str, batch: int, **_: object) -> Prepared:
    if contender == "nobody":
        raise Absent("not installed")
    if contender == "broken":
        raise ValueError("no such thing\nand more")
    if contender == "killed":
        die()
    calls = itertools.count()

    def call() -> np.ndarray:
        if contender == "killed later" and next(calls) == 2:  # prepared, and warm
            die()
        print("a library's chatter is not an answer")
        time.sleep(0.03 if contender == "slow" else 0.01)
        image = np.reshape(VALUES.get(contender, [1.0] * 4), (2, 2, 1))
        return np.broadcast_to(image, (batch, 2, 2, 1))

    return Prepared(call, lambda result: {"map": result})


if __name__ == "__main__":
    serve(prepare, about=lambda: {"python": "3"}, peak=lambda: 1.0)
