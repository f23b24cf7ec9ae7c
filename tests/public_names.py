"""The public names and their options, as text: what users' code may rely on.

`python -m tests.public_names` writes tests/public_names.json anew; `tests/test_front_door.py` holds
the library against it. A difference is a decision, and reads as one in the commit.
"""

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jaxsal
from benchmarks import __main__ as measurements
from experiments import (
    augmentation,
    brain_tumor,
    compare_methods,
    completeness,
    interventions,
    sanity,
    tumor_shape,
)
from jaxsal.commands import settings as commands

KEPT = Path(__file__).with_suffix(".json")


def shown(function: Callable[..., Any]) -> str:
    """A signature without its types; a default that is a function, by its name."""

    def untyped(parameter: inspect.Parameter) -> inspect.Parameter:
        default = parameter.default
        if inspect.isfunction(default):
            parameter = parameter.replace(default=_Named(default.__name__))
        return parameter.replace(annotation=parameter.empty)

    signature = inspect.signature(function)
    parameters = [untyped(each) for each in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


class _Named(str):
    __repr__ = str.__str__


def flags(settings: Any) -> Iterator[str]:
    """The options of a command with their defaults, and those of records within it."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name, dataclasses.MISSING)
        if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        if dataclasses.is_dataclass(value):
            yield from flags(value)
        else:
            yield field.name if value is dataclasses.MISSING else f"{field.name}={value!s}"


def table(functions: Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    return {name: shown(function) for name, function in sorted(functions.items())}


def attributes(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """The public methods and properties of a class, inherited ones too."""
    for name, value in inspect.getmembers(kind):
        if not name.startswith("_") or name == "__call__":
            yield name, shown(value) if callable(value) else ""


def now() -> dict[str, Any]:
    """The public names as they are."""
    door = {name: getattr(jaxsal, name) for name in dir(jaxsal) if not name.startswith("_")}
    functions = {name: value for name, value in door.items() if inspect.isfunction(value)}
    return {
        "jaxsal": table(functions),
        "METHODS": sorted(jaxsal.METHODS),
        "COMBINATORS": sorted(jaxsal.COMBINATORS),
        "METRICS": table(jaxsal.METRICS),
        "Explainer": dict(attributes(jaxsal.Explainer)),
        "Evaluator": dict(attributes(jaxsal.Evaluator)),
        "ScoreFn": dict(attributes(jaxsal.ScoreFn)),
        "commands": {
            kind.__name__.lower(): sorted(flags(kind))
            for kind in (commands.Explain, commands.Train, commands.Evaluate, commands.Methods)
        },
        "experiments": {
            module.__name__: sorted(flags(module.Settings))
            for module in (
                *(augmentation, brain_tumor, compare_methods, completeness, interventions),
                *(sanity, tumor_shape),
            )
        },
        "benchmarks": sorted(measurements.MEASURED),
    }


if __name__ == "__main__":
    KEPT.write_text(json.dumps(now(), indent=1) + "\n")
