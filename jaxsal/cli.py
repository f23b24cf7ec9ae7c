"""The `jaxsal` command: arguments in, lines out; what it does lies in `jaxsal.commands`."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from jaxsal.commands.settings import Command, Explain, Methods, Train

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

DESCRIPTION = """Saliency maps of any JAX classifier, from one image to ten million.

jaxsal train makes a classifier of a folder of images; jaxsal explain shows what it, or any other,
looks at; jaxsal methods lists the ways. Each has --help. Exit codes: 0 done, 1 failed (one line
says why), 2 misused, 130 interrupted. Interrupted, the same command goes on with a
training or a .zarr where it stopped; PNG pictures are drawn anew."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code."""
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    given: Any = tyro.cli(
        Command,  # type: ignore[arg-type]
        prog="jaxsal",
        description=DESCRIPTION,
        args=arguments,
        config=config,
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        done = RUN[type(given)](given)
    except KeyboardInterrupt:
        return _failed(given, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        return FAILED
    except MemoryError:
        return _failed(given, "out of memory; a smaller --batch-size or --chunk may help")
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        return _failed(given, _line(error))
    except Exception as error:
        if os.environ.get("JAXSAL_TRACEBACK"):
            raise
        return _failed(given, f"{type(error).__name__}: {_line(error)}")
    if given.json or not _process():
        told = json.dumps(done, allow_nan=False) if given.json else TOLD[type(given)](done)
        print(told, flush=True)
    return DONE


def explain(settings: Explain) -> dict[str, Any]:
    """Runs `jaxsal explain`; returns what is told of it."""
    from jaxsal.commands import explain

    return explain.explain(settings)


def train(settings: Train) -> dict[str, Any]:
    """Runs `jaxsal train`."""
    from jaxsal.commands import train

    return train.train(settings)


def methods(settings: Methods) -> dict[str, Any]:
    """Runs `jaxsal methods`."""
    from jaxsal.commands import method_syntax

    del settings
    return method_syntax.listed()


def _explained(done: dict[str, Any]) -> str:
    first = (
        f"{done['out']}: {done['explained']} images explained, {len(done['skipped'])} skipped, "
        f"{done['resumed']} of them before; {done['images_per_second']} images/s"
    )
    layers = [f"  class activation maps of {layer}" for layer in done["layers"]]
    skipped = _skipped(f"{e['source']}: {e['fault']}" for e in done["skipped"])
    unsound = done["not_finite"]
    names = ", ".join(e["source"] for e in unsound[:5]) + (", ..." if unsound[5:] else "")
    wrong = [f"  {len(unsound)} not finite, in map or output: {names}"] if unsound else []
    return "\n".join([first, *layers, *skipped, *wrong])


def _trained(done: dict[str, Any]) -> str:
    low, high = done["accuracy_interval"]
    tested = sum(map(sum, done["confusion"]))
    first = (
        f"{done['out']}: trained on {done['trained_on']} images, "
        f"{done['images_per_second']} images/s; accuracy on {tested} others "
        f"{done['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f})"
    )
    return "\n".join([first, *_skipped(done["skipped"])])


def _skipped(lines: Any) -> list[str]:
    listed = [f"  skipped: {line}" for line in lines]
    return [*listed[:5], *([f"  {len(listed)} skipped in all"] if len(listed) > 5 else [])]


def _listed(done: dict[str, Any]) -> str:
    lines = []
    for title, inner in (("methods", ""), ("combinators", "METHOD, ")):
        lines.append(f"{title}:" if title == "methods" else f"{title}, of any method:")
        for name, about in done[title].items():
            options = ", ".join(
                f"{option}={value}" if value else f"{option} (needed)"
                for option, value in about["options"].items()
            )
            given = f"{inner}{options}".rstrip(", ")
            lines += [f"  {name}({given})", f"      {about['about']}"]
    return "\n".join(lines)


RUN: dict[type, Callable[[Any], dict[str, Any]]] = {
    Explain: explain,
    Train: train,
    Methods: methods,
}
TOLD: dict[type, Callable[[dict[str, Any]], str]] = {
    Explain: _explained,
    Train: _trained,
    Methods: _listed,
}


def _failed(given: Any, message: str, code: int = FAILED) -> int:
    print(f"jaxsal: error: {message}", file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps({"error": message}), flush=True)
    if _process() is not None:  # JAX would wait at the exit for those that may be gone
        os._exit(code)
    return code


def _process() -> int | None:
    """Which of several processes this is; None where it is the only one."""
    import jax

    several = jax.distributed.is_initialized() and jax.process_count() > 1
    return jax.process_index() if several else None


def _line(error: BaseException) -> str:
    from jaxsal.compiler import processes

    text = " ".join(str(error).split())
    text = text if len(text) <= 500 else f"{text[:497]}..."
    return f"another process has stopped: {text}" if processes.lost(error) else text


if __name__ == "__main__":
    sys.exit(main())
