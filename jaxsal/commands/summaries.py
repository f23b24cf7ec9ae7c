"""What a command that is done prints for people; `--json` prints the same facts as they are."""

from collections.abc import Iterable
from typing import Any

from jaxsal.commands import evaluation_words, seen
from jaxsal.commands.evaluation import interval_words
from jaxsal.common.words import counted
from jaxsal.viz import page


def explain(result: dict[str, Any]) -> str:
    first = (
        f"{result['out']}: {counted(result['explained'], 'images')} explained, "
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
    done = [f"  {note}" for note in result["notes"][:6]]
    if empty := result["empty_masks"]:
        shown = ", ".join([*empty[:3], *["..."] * bool(empty[3:])])
        done.append(f"  {counted(len(empty), 'masks')} without a pixel: {shown}")
    if count := result["masks"]:
        bare = result["without_mask"]
        others = f"; {counted(bare, 'images')} without a mask" if bare else ""
        done.append(f"  {counted(count, 'masks')} outlined{others}")
    told = [*layers, *done, *skipped, *nonfinite, *undrawn[:5], *more]
    return "\n".join([*_warnings(result), first, *told, *_left(result["not_used"])])


def _left(files: list[dict[str, str]]) -> list[str]:
    """Files that were not used, those of one reason on one line."""
    names: dict[str, list[str]] = {}
    for file in files:
        names.setdefault(file["fault"], []).append(file["source"])
    return [
        f"  not used: {len(every)}, {reason}: {', '.join(every[:3])}{', ...' if every[3:] else ''}"
        for reason, every in names.items()
    ]


def train(result: dict[str, Any]) -> str:
    if "accuracy" not in result:
        return "dry run: nothing is trained"
    first = (
        f"{result['out']}: trained on {counted(result['trained_on'], 'images')}, "
        f"{result['images_per_second']} images/s{_resumed(result)}; {_accuracy(result)}"
    )
    skipped = _skipped(result["skipped"])
    epoch = [f"  {said}"] if (said := evaluation_words.kept(result)) else []
    return "\n".join([*_warnings(result), first, *epoch, *_tested(result), *skipped])


def _resumed(result: dict[str, Any]) -> str:
    count = result["resumed"]
    return f", after {count} epoch{'s' * (count > 1)} of an earlier run" if count else ""


def evaluate(result: dict[str, Any]) -> str:
    known = seen.words({part: result["seen"].get(part, 0) for part in seen.PARTS})
    left_out = f"; left out: {known}" if known and not result["seen"]["tested"] else ""
    first = f"{result['out']}: {_accuracy(result)}{left_out}"
    found = result.get("localisation") or {"methods": {}}
    maps = [
        f"  relevance mass in masks, {method}: {page.number(values['relevance_mass'][0])}"
        f" ({found['area']:.3f} if even, {counted(found['images'], 'images')})"
        for method, values in found["methods"].items()
    ]
    maps += [
        f"  not possible, {name}: {why}" for name, why in found.get("not_possible", {}).items()
    ]
    return "\n".join([*_warnings(result), first, *_tested(result), *maps])


def _warnings(result: dict[str, Any]) -> list[str]:
    return [f"WARNING: {warning}" for warning in result["warnings"]]


def _accuracy(result: dict[str, Any]) -> str:
    tested = sum(map(sum, result["confusion"]))
    return f"accuracy on {tested} others {result['accuracy']:.3f} ({interval_words(result)})"


def _tested(result: dict[str, Any]) -> list[str]:
    """A row a class: how many images, how many are found, how many of the others are not."""
    rows = [("", "images", "sensitivity", "specificity", "AUC")]
    for name, row in result["per_class"].items():
        values = (page.number(row[column]) for column in ("sensitivity", "specificity", "auc"))
        rows.append((name, str(row["count"]), *values))
    for name, (hits, count) in result.get("by_patient", {}).items():
        rows.append((name, str(count), f"{hits} right", "", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))]
        )
        for name, *cells in rows
    ]
    return [f"  {line.rstrip()}" for line in [*lines, f"report: {result['report']}"]]


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
