"""At least a thousand malformed inputs: each is refused with a clear message, or does no harm.

    python -m tests.fuzz [--every 1] [--only PART] [--seed 0]

A clear message is one line of a ValueError, TypeError or OSError (of the command: exit code 1 or 2)
that names an argument. Prints every case that ends otherwise, hangs or writes outside its folder,
and the counts; the exit code is 1 where there is one. About ten minutes on two cores.
"""

import argparse
import collections
import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

# Cases compile far longer than they run.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

from tests.fuzz import calls, commands, documents, scans
from tests.fuzz.calls import Case
from tests.fuzz.values import OWN

SECONDS = 60
"""After which a case counts as hanging."""

GOOD = ("refused", "accepted")

CHECKED = "TypeCheckError"
"""What the suite's type checker, which is off in the command's form, sees before we do."""


class Hung(BaseException):
    pass


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def files(place: Path) -> set[str]:
    return {os.path.join(root, name) for root, _, names in os.walk(place) for name in names}


def outcome(case: Case, place: Path) -> tuple[str, str]:
    """`refused` or `accepted`; or what went wrong, and how."""
    own = place / "own"
    own.mkdir()
    try:
        with limited(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.call(own)
        found = "accepted", ""
    except (ValueError, TypeError, OSError) as error:
        text = str(error)
        named = re.search(rf"\b({'|'.join(map(re.escape, case.arguments))})\b", text)
        clear = named and len(text) < 700 and text.count("\n") < 3
        clear = clear or type(error).__name__ == CHECKED
        found = ("refused" if clear else "unclear"), f"{type(error).__name__}: {text[:300]}"
    except Hung:
        found = "hangs", ""
    except BaseException as error:
        if str(error) == OWN or type(error).__name__ == CHECKED:
            return "refused", ""
        found = "crashes", f"{type(error).__name__}: {str(error)[:300]}"
    strayed = {name for name in files(place) if not name.startswith(f"{own}{os.sep}")}
    return ("strays", str(strayed)) if strayed else found


def run(chosen: list[Case]) -> collections.Counter:
    """Tries the cases, and prints those that end badly."""
    counts: collections.Counter = collections.Counter()
    for case in chosen:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            os.chdir(place)
            with contextlib.redirect_stderr(io.StringIO()):
                found, why = outcome(case, Path(place))
            os.chdir("/")
        counts[found] += 1
        if sum(counts.values()) % 250 == 0:
            print(f"{sum(counts.values())} of {len(chosen)}: {dict(counts)}", flush=True)
        if found not in GOOD:
            print(f"{found}: {case.name}: {' '.join(why.split())}", flush=True)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="each so manieth case only")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = [c for c in everything(given.seed) if c.name.startswith(given.only)][:: given.every]
    counts = run(chosen)
    told = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"{sum(counts.values())} malformed inputs: {told}")
    sys.exit(any(name not in GOOD for name in counts))


def everything(seed: int) -> list[Case]:
    return [*calls.cases(), *documents.cases(seed), *scans.cases(seed), *commands.cases()]


if __name__ == "__main__":
    main()
