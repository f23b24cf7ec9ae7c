"""An option that has no effect is refused; every option is known to be read, or by what."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from jaxsal.commands import effects
from jaxsal.commands.settings import Evaluate, Explain, Preprocessing, Train
from jaxsal.data.reading import Reading
from jaxsal.training.config import TrainConfig, TrainOptions

EVERYWHERE = {
    Explain: "images out checkpoint apply params classes preprocess mean std method targets "
    "image_size channels window intensity spatial_axes batch_size seed strict json "
    "distributed coordinator processes process",
    Train: "images out labels masks exclude test_images group image_size epochs batch_size "
    "learning_rate class_weights channels test_fold validation_fold patience parallel devices seed "
    "volumes init dry_run force strict json distributed coordinator processes process",
    Evaluate: "images out checkpoint apply params classes labels masks exclude test_images group "
    "image_size channels preprocess mean std explain seed strict json",
}
"""Read by every call, or refused elsewhere where they do not go with the others."""


def options(settings: object) -> set[str]:
    found: set[str] = set()
    for field in fields(settings):
        value = getattr(settings, field.name)
        found |= options(value) if is_dataclass(value) else {field.name}
    return found


def explain(out: str = "maps.zarr", images: str = "x.png", **given: object) -> Explain:
    return Explain(images, Path(out), **{"checkpoint": Path("net"), **given})


CALLS = {Explain: explain(), Train: Train(Path("x")), Evaluate: Evaluate(Path("x"), Path("out"))}


@pytest.mark.parametrize("command", CALLS)
def test_every_option_is_read_or_has_a_rule(command) -> None:
    ruled = {name for rule in effects.RULES[command] for name in rule.options}
    assert ruled | set(EVERYWHERE[command].split()) == options(CALLS[command])
    effects.check(CALLS[command])  # defaults are never refused


REFUSED = {
    "style": explain(style="contour"),
    "colormap": explain("m.nii.gz", colormap="magma"),
    "masks": explain("m.nii", masks=Path("m")),
    "opacity": explain("folder", style="side-by-side", opacity=0.5),
    "dtype": explain("folder", dtype="float16"),
    "chunk": explain("m.nii.gz", chunk=4),
    "keep_images": explain("folder", keep_images=True),
    "split": explain(split="train"),
    "slices": explain(images="tfds:mnist", slices="0::2"),
    "volumes": explain(images="tfds:mnist", volumes=True),
    "output": explain(output="probability"),
    "columns": Train(Path("x"), reading=Reading(columns=("label=dx",))),
    "mean": Train(Path("x"), mean=(0.5,), std=(0.2,)),
    "dropout": Train(Path("x"), init=Path("w.npz"), training=TrainOptions(dropout=0.1)),
    "widths": Train(Path("x"), init=Path("w.npz"), training=TrainOptions(widths=(4,))),
    "slices of none": Train(Path("x"), volumes=True, reading=Reading(slices="axial")),
    "volumes of a checkpoint": Evaluate(Path("x"), Path("out"), Path("c"), volumes=True),
    "method": Evaluate(Path("x"), Path("out"), explain=0, method=("gradient",)),
    "seen": Evaluate(Path("x"), Path("out"), seen=True),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_without_effect_is_refused(name) -> None:
    with pytest.raises(
        ValueError, match=f"{name.split()[0]}: of no effect in this call; it is for "
    ):
        effects.check(REFUSED[name])


def test_an_option_with_effect_is_not() -> None:
    for call in (
        explain("folder", style="contour", opacity=0.5, colormap="magma", masks=Path("m")),
        explain(dtype="float16", chunk=4, keep_images=True, slices="axial"),
        explain(images="tfds:mnist", split="train", window=(1.0, 2.0)),
        Explain("x.npy", Path("out"), apply="a:b", params=Path("p"), output="value"),
        Train(Path("x"), reading=Reading(labels=Path("l.csv"), columns=("label=dx",))),
        Train(Path("x"), init=Path("w.npz"), mean=(0.5,), std=(0.2,)),
        Evaluate(Path("x"), Path("out"), checkpoint=Path("net"), seen=True),
        Evaluate(Path("x"), Path("out"), apply="a:b", preprocessing=Preprocessing(mean=(0.5,))),
    ):
        effects.check(call)


def test_options_of_a_split_without_effect_are_refused() -> None:
    default = TrainConfig(validation_fold=4)
    effects.check_split(TrainConfig(test_fold=3, validation_fold=1), default, set(), 5)
    effects.check_split(TrainConfig(validation_fold=1), default, {"train", "test"}, 5)
    effects.check_split(default, default, {"train", "validation", "test"}, 5)
    effects.check_split(TrainConfig(validation_fold=0), default, set(), 0)
    for config, parts in (
        (TrainConfig(test_fold=3, validation_fold=4), {"train", "test"}),
        (TrainConfig(validation_fold=0), {"train", "validation", "test"}),
    ):
        with pytest.raises(ValueError, match="_fold: of no effect, the images are split by"):
            effects.check_split(config, default, parts, 5)
    with pytest.raises(ValueError, match="patience: of no effect, no image is validated on"):
        effects.check_split(TrainConfig(validation_fold=0, patience=3), default, set(), 0)
