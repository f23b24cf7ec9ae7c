"""The `jaxsal` command: arguments in, lines out; what it does lies in `jaxsal.commands`."""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence

import tyro

from jaxsal.commands import summaries
from jaxsal.commands.settings import Command, Evaluate, Explain, Methods, Train
from jaxsal.common.version import __version__

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

DESCRIPTION = """Saliency maps of any JAX classifier, from one image to ten million.

jaxsal train makes a classifier of a folder of images; jaxsal evaluate tests it, or any other, on
other images; jaxsal explain shows what it looks at; jaxsal methods lists the ways. Each has --help;
--version alone tells the version. Exit codes: 0 done, 1 failed (one line says why), 2 misused, 130
interrupted. Interrupted, the same
command goes on with a training or a .zarr where it stopped; PNG pictures are drawn anew. With
JAXSAL_TRACEBACK=1 in the environment an error comes with its traceback, down to the line of a
model of your own."""

TRACEBACK = "JAXSAL_TRACEBACK"
"""Of the environment: whether an error's traceback is printed before its line."""
SAY_IT_ALL = (ValueError, TypeError, OSError, FloatingPointError, ImportError)
"""Errors whose message is enough without their type."""


NAMES = {Explain: "explain", Train: "train", Evaluate: "evaluate", Methods: "methods"}
"""Of each command: its module in `jaxsal.commands`, and its function in `summaries`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words == ["--version"]:
        print(f"jaxsal {__version__}")
        return DONE
    settings = _parsed(words)
    name = NAMES[type(settings)]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        result = importlib.import_module(f"jaxsal.commands.{name}").run(settings)
    except KeyboardInterrupt:
        return _failed(settings, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        return _failed(settings, _said(error))
    if settings.json:
        print(json.dumps(result, allow_nan=False), flush=True)
    elif not _process():
        print(getattr(summaries, name)(result), flush=True)
    return DONE


def _parsed(words: list[str]) -> Explain | Train | Evaluate | Methods:
    """The settings that are asked for.

    A command that is named is parsed alone: for an option that it lacks, its own are offered.
    """
    named = next((kind for kind, name in NAMES.items() if words[:1] == [name]), None)
    settings: Explain | Train | Evaluate | Methods = tyro.cli(
        named or Command,  # type: ignore[arg-type]
        prog=f"jaxsal {NAMES[named]}" if named else "jaxsal",
        description=None if named else DESCRIPTION,
        args=words[1:] if named else words,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )
    return settings


def _failed(
    settings: Explain | Train | Evaluate | Methods, message: str, code: int = FAILED
) -> int:
    print(f"jaxsal: error: {message}", file=sys.stderr, flush=True)
    if settings.json:
        print(json.dumps({"error": message}), flush=True)
    if _process() is not None:  # JAX would wait at the exit for those that may be gone
        os._exit(code)
    return code


def _process() -> int | None:
    """Which of several processes this is; None where it is the only one."""
    import jax

    several = jax.distributed.is_initialized() and jax.process_count() > 1
    return jax.process_index() if several else None


def _said(error: Exception) -> str:
    """What is said of an error, on one line."""
    if isinstance(error, MemoryError):
        return "out of memory; a smaller --batch-size or --chunk may help"
    message = _message(error)
    return message if isinstance(error, SAY_IT_ALL) else f"{type(error).__name__}: {message}"


def _message(error: BaseException) -> str:
    from jaxsal.compiler import processes

    text = " ".join(str(error).split())
    text = text if len(text) <= 500 else f"{text[:497]}..."
    return f"another process has stopped: {text}" if processes.lost(error) else text


if __name__ == "__main__":
    sys.exit(main())
