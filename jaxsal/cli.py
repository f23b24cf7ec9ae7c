"""The `jaxsal` command: arguments in, lines out; what it does lies in `jaxsal.command`."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

DESCRIPTION = """Saliency maps of any JAX classifier, from one image to ten million.

jaxsal methods lists the methods; jaxsal explain applies them. Exit codes: 0 done, 1 failed (one
line says why), 2 misused, 130 interrupted; the same command goes on where a store stopped."""


@dataclass(frozen=True)
class Processes:
    """Several processes, usually one a host; each makes the same call."""

    distributed: bool = False
    """Join the others: as Slurm, GKE, Open MPI or a TPU pod say, or by the three that follow."""
    coordinator: str | None = None
    """HOST:PORT where process 0 can be reached."""
    processes: int | None = None
    """How many there are."""
    process: int | None = None
    """Which one this is, from 0."""


@dataclass(frozen=True)
class Explain:
    """Explains what a model sees in images: PNG overlays in a folder, or maps in a Zarr store.

    jaxsal explain --checkpoint runs/mine --images scans/ --out overlays

    jaxsal explain --checkpoint runs/mine --images 'scans/**/*.png' --out maps.zarr
      --method "integrated_gradients(steps=64)" "smoothgrad(gradient, samples=50)"

    jaxsal explain --apply mymodel:apply --params weights.npz --images images.npy --out maps.zarr
    """

    images: str
    """An image file, a folder, a pattern such as 'scans/*.png', a .npy or .npz of [N, H, W] or
    [N, H, W, C], or tfds:NAME."""
    out: Path
    """A folder for PNG overlays, or a store NAME.zarr for maps, targets, logits and names."""
    checkpoint: Path | None = None
    """The --out folder of the study."""
    apply: str | None = None
    """package.module:function, a function (params, images) -> logits; with --params."""
    params: Path | None = None
    """Its parameters: .npz (names with slashes become nested dicts), .npy or .msgpack."""
    method: tuple[str, ...] = ("integrated_gradients(steps=64)",)
    """One or more, as Python calls: gradient, "occlusion(window=8)"."""
    targets: str = "predicted"
    """The class to explain: predicted, all, label (of the image's own), a number or a name."""
    image_size: int | None = None
    """Side in pixels that files are resized to; a checkpoint knows it."""
    channels: Literal[1, 3] = 1
    """1: files are read as grey; 3: as colour."""
    split: str = "test"
    """Of a TFDS set."""
    dtype: Literal["float32", "float16"] = "float32"
    """Of the maps in a store."""
    chunk: int | None = None
    """Images a chunk of a store; none: about 16 MiB of maps."""
    batch_size: int | None = None
    """Model evaluations in flight on a device; none: as many as pay and fit."""
    seed: int = 0
    """Of methods that draw random numbers."""
    strict: bool = False
    """Stop at an image that cannot be read, instead of listing and skipping it."""
    json: bool = False
    """One line of JSON on the standard output, and no progress bar."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = field(default_factory=Processes)


@dataclass(frozen=True)
class Methods:
    """Lists the methods, each with a line about it and its options."""

    json: bool = False
    """One line of JSON."""


Command = (
    Annotated[Explain, tyro.conf.subcommand("explain")]
    | Annotated[Methods, tyro.conf.subcommand("methods")]
)


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
    print(json.dumps(done) if given.json else _told(done), flush=True)
    return DONE


def explain(settings: Explain) -> dict[str, Any]:
    """Runs `jaxsal explain`; returns what is told of it."""
    import jax

    import jaxsal
    from jaxsal import parallel
    from jaxsal.command import network, overlays, wording
    from jaxsal.data import pictures

    join(settings.processes)
    methods = wording.methods(settings.method)
    model = network.load(settings.checkpoint, settings.apply, settings.params)
    size = settings.image_size or model.image_size
    source = pictures.find(
        settings.images, size=size, channels=settings.channels, split=settings.split
    )
    batch_size = settings.batch_size or "auto"
    explain = jaxsal.explainer(model.apply, methods, batch_size=batch_size)
    key = jax.random.key(settings.seed) if explain.keyed else None
    targets = network.target(settings.targets, model.classes)
    begun = time.monotonic()
    with Bar(settings.json or jax.process_index() > 0) as bar:
        common: dict[str, Any] = {"targets": targets, "key": key, "strict": settings.strict}
        if settings.out.suffix == ".zarr":
            stored = jaxsal.explain_dataset(
                explain,
                model.params,
                source,
                settings.out,
                dtype=settings.dtype,
                chunk=settings.chunk or "auto",
                about={"images": source.text, "methods": list(settings.method)},
                on_progress=bar,
                **common,
            )
        else:
            stored = overlays.explain_folder(
                explain,
                model.params,
                source,
                settings.out,
                classes=model.classes,
                names=settings.method,
                shard=(jax.process_index(), jax.process_count()),
                on_progress=bar,
                **common,
            )
    seconds = time.monotonic() - begun
    parallel.wait("explained")
    new = stored.explained + stored.skipped - stored.resumed
    return {
        "out": str(stored.path),
        "explained": stored.explained,
        "skipped": [{"source": name, "fault": fault} for name, fault in stored.faults],
        "resumed": stored.resumed,
        "complete": stored.complete,
        "seconds": round(seconds, 3),
        "images_per_second": round(new / seconds, 2),
    }


def methods(settings: Methods) -> dict[str, Any]:
    """Runs `jaxsal methods`."""
    from jaxsal.command.wording import options
    from jaxsal.methods import COMBINATORS, METHODS

    del settings

    def about(function: Callable[..., Any]) -> dict[str, Any]:
        return {"about": (function.__doc__ or "").split("\n")[0], "options": options(function)}

    return {
        "methods": {name: about(function) for name, function in METHODS.items()},
        "combinators": {name: about(function) for name, function in COMBINATORS.items()},
    }


def join(settings: Processes) -> None:
    """Joins the other processes, if there are any."""
    from jaxsal import parallel

    given = (settings.coordinator, settings.processes, settings.process)
    if settings.distributed:
        parallel.join(*given)
    elif any(value is not None for value in given):
        raise ValueError("distributed: --coordinator, --processes and --process go with it")


class Bar:
    """A progress bar with images a second and the time left, on the standard error."""

    def __init__(self, silent: bool) -> None:
        self.silent = silent
        self.bar: Any = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, progress: Any) -> None:
        if self.silent:
            return
        import tqdm

        if self.bar is None:
            initial, total = progress.finished, progress.total
            self.bar = tqdm.tqdm(initial=initial, total=total, unit="image", desc="explain")
        self.bar.update(progress.finished - self.bar.n)


RUN: dict[type, Callable[[Any], dict[str, Any]]] = {Explain: explain, Methods: methods}


def _told(done: dict[str, Any]) -> str:
    if "methods" in done:
        return "\n".join(_listed(done))
    lines = [
        f"{done['out']}: {done['explained']} images explained, {len(done['skipped'])} skipped, "
        f"{done['resumed']} of them before; {done['images_per_second']} images/s"
    ]
    lines += [f"  skipped: {each['source']}: {each['fault']}" for each in done["skipped"][:5]]
    if len(done["skipped"]) > 5:
        lines.append(f"  {len(done['skipped'])} skipped in all")
    return "\n".join(lines)


def _listed(done: dict[str, Any]) -> list[str]:
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
    return lines


def _failed(given: Any, message: str, code: int = FAILED) -> int:
    print(f"jaxsal: error: {message}", file=sys.stderr, flush=True)
    if getattr(given, "json", False):
        print(json.dumps({"error": message}), flush=True)
    return code


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else f"{text[:497]}..."


if __name__ == "__main__":
    sys.exit(main())
