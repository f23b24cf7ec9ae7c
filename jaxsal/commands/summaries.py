"""What a command that is done prints for people; `--json` prints the same facts as they are."""

from collections.abc import Iterable
from typing import Any


def explain(result: dict[str, Any]) -> str:
    first = (
        f"{result['out']}: {result['explained']} images explained, "
        f"{len(result['skipped'])} skipped, "
        f"{result['resumed']} of them before; {result['images_per_second']} images/s"
    )
    layers = [f"  class activation maps of {layer}" for layer in result["layers"]]
    skipped = _skipped(f"{each['source']}: {each['fault']}" for each in result["skipped"])
    wrong = result["not_finite"]
    names = ", ".join(each["source"] for each in wrong[:5]) + (", ..." if wrong[5:] else "")
    nonfinite = [f"  {len(wrong)} not finite, in map or output: {names}"] if wrong else []
    undrawn = [f"  no picture of {e['source']}: {e['fault']}" for e in result["not_drawn"]]
    more = [f"  {len(undrawn)} without a picture in all"] if undrawn[5:] else []
    return "\n".join([first, *layers, *skipped, *nonfinite, *undrawn[:5], *more])


def train(result: dict[str, Any]) -> str:
    low, high = result["accuracy_interval"]
    tested = sum(map(sum, result["confusion"]))
    first = (
        f"{result['out']}: trained on {result['trained_on']} images, "
        f"{result['images_per_second']} images/s; accuracy on {tested} others "
        f"{result['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f})"
    )
    return "\n".join([first, *_skipped(result["skipped"])])


def methods(result: dict[str, Any]) -> str:
    lines = []
    for title, inner in (("methods", ""), ("combinators", "METHOD, ")):
        lines.append(f"{title}:" if title == "methods" else f"{title}, of any method:")
        for name, about in result[title].items():
            options = ", ".join(
                f"{option}={value}" if value else f"{option} (needed)"
                for option, value in about["options"].items()
            )
            arguments = f"{inner}{options}".rstrip(", ")
            lines += [f"  {name}({arguments})", f"      {about['about']}"]
    return "\n".join(lines)


def _skipped(reasons: Iterable[str]) -> list[str]:
    lines = [f"  skipped: {reason}" for reason in reasons]
    return [*lines[:5], *([f"  {len(lines)} skipped in all"] if len(lines) > 5 else [])]
