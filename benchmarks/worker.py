"""A process of its own for each framework, which answers requests of one line of JSON each.

NumPy and the standard library only: the peers' interpreter has no JAX.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parent.parent


class Absent(Exception):
    """A contender that is not there: not installed, or not offered by its library."""


class Died(RuntimeError):
    """A worker's process ended while it was asked something."""


class Prepared(NamedTuple):
    """A contender that is ready to run.

    Attributes:
        call: runs once and waits for the end; what it returns goes to `fetch`.
        fetch: the result as NumPy arrays by name.
    """

    call: Callable[[], Any]
    fetch: Callable[[Any], Mapping[str, np.ndarray]]


class Worker:
    """The driver's side: a process of `python -m MODULE`, asked one thing at a time."""

    def __init__(
        self,
        module: str,
        *,
        python: str = sys.executable,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, "-m", module],
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, request: str, **details: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            Died: the process ended, with the last lines that it wrote.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps({"request": request, **details}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Died(f"exit {self._process.wait()}: {self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tail(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "no message"


def serve(
    prepare: Callable[..., Prepared],
    *,
    about: Callable[[], dict[str, Any]],
    peak: Callable[[], float],
    extra: Mapping[str, Callable[..., dict[str, Any]]] = {},
) -> None:
    """The worker's side: answers requests from stdin until it closes.

    Args:
        prepare: `prepare(**details) -> Prepared` for the request "prepare"; may raise `Absent`.
        about: versions and settings of the framework.
        peak: most bytes held at a time so far.
        extra: further requests.
    """
    # Whatever a library prints belongs to stderr; stdout is for answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    ready: dict[str, Prepared] = {}

    def get_ready(id: str, out: str, **details: Any) -> dict[str, Any]:
        begin = time.perf_counter()
        prepared = prepare(**details)
        result = prepared.call()
        seconds = time.perf_counter() - begin
        np.savez(out, **prepared.fetch(result))  # type: ignore[arg-type]
        ready[id] = prepared
        return {"first_call_s": seconds}

    def run(id: str) -> dict[str, Any]:
        begin = time.perf_counter()
        ready[id].call()
        return {"seconds": time.perf_counter() - begin}

    handlers: dict[str, Callable[..., dict[str, Any]]] = {
        "prepare": get_ready,
        "run": run,
        "forget": lambda id: {"forgotten": ready.pop(id, None) is not None},
        "about": about,
        "peak": lambda: {"bytes": peak()},
        **extra,
    }
    for line in sys.stdin:
        details = json.loads(line)
        answer = _answer(handlers[details.pop("request")], details)
        print(json.dumps(answer), file=answers, flush=True)


def _answer(handler: Callable[..., dict[str, Any]], details: dict[str, Any]) -> dict[str, Any]:
    try:
        return handler(**details)
    except (Absent, ImportError) as error:
        return {"absent": str(error)}
    except Exception as error:  # a contender that fails is a row of the table, not the table's end
        return {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}


def peak_resident() -> float:
    """The most bytes of memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
