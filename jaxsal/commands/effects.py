"""Which options a call reads: one that is given and would have no effect is refused."""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, NamedTuple

from jaxsal.commands.settings import Evaluate, Explain, Train
from jaxsal.data.pictures import TFDS
from jaxsal.training.config import TrainConfig
from jaxsal.viz.maps import ALONE


class Rule(NamedTuple):
    """Options that not every call reads.

    Attributes:
        options: their names.
        read: whether a call with these settings reads them.
        by: what reads them, in words.
    """

    options: tuple[str, ...]
    read: Callable[[Any], bool]
    by: str


def _pictures(settings: Explain) -> bool:
    return not _store(settings) and not settings.out.name.lower().endswith((".nii", ".nii.gz"))


def _store(settings: Explain) -> bool:
    return settings.out.suffix == ".zarr"


def _tfds(settings: Explain) -> bool:
    return settings.images.startswith(TFDS)


OWN = Rule(
    ("output",),
    lambda s: s.checkpoint is None,
    "a model of --apply, a checkpoint's network returns logits",
)
TABLE = Rule(("columns",), lambda s: s.reading.labels is not None, "a table, --labels FILE.csv")

SLICES = Rule(("slices",), lambda s: not s.volumes, "slices; --volumes takes whole scans")

RULES: dict[type, tuple[Rule, ...]] = {
    Explain: (
        OWN,
        Rule(("style", "colormap", "masks"), _pictures, "pictures, --out FOLDER"),
        Rule(
            ("opacity",),
            lambda s: _pictures(s) and s.style != ALONE,
            "pictures of maps over their images, --out FOLDER",
        ),
        Rule(("dtype", "chunk", "keep_images"), _store, "a store, --out NAME.zarr"),
        Rule(("split",), _tfds, "a set, tfds:NAME"),
        Rule(("slices", "volumes"), lambda s: not _tfds(s), "files and arrays; a set has pictures"),
    ),
    Train: (
        TABLE,
        SLICES,
        Rule(("mean", "std"), lambda s: s.init is not None, "a network of --init"),
        Rule(("widths", "dropout"), lambda s: s.init is None, "the study's CNN, not --init's"),
    ),
    Evaluate: (
        OWN,
        TABLE,
        SLICES,
        Rule(("volumes",), lambda s: s.checkpoint is None, "--apply; a checkpoint knows"),
        Rule(("method",), lambda s: s.explain > 0, "maps; --explain 0 makes none"),
        Rule(("seen",), lambda s: s.checkpoint is not None, "a checkpoint, that knows its images"),
    ),
}
"""By command; what stands in no rule is read by every call."""


def check(settings: object) -> None:
    """Raises where an option differs from its default and has no effect.

    Raises:
        ValueError: so; it says what reads the option.
    """
    given = {*changed(settings)}
    for options, read, by in RULES.get(type(settings), ()):
        if not read(settings) and (unread := [name for name in options if name in given]):
            raise ValueError(f"{unread[0]}: of no effect in this call; it is for {by}")


def check_split(config: TrainConfig, default: TrainConfig, parts: set[str], validated: int) -> None:
    """Raises where options of a split have no effect on how the images are split.

    Args:
        default: the settings where none are given.
        parts: the names of the images' own parts; none where they are not split.
        validated: how many images are validated on.

    Raises:
        ValueError: so.
    """
    apart, unseen = "the images are split by themselves", "no image is validated on"
    for name, idle, why in (
        ("test_fold", bool(parts), apart),
        ("validation_fold", {"validation", "test"} <= parts, apart),
        ("patience", not validated, unseen),
    ):
        if idle and getattr(config, name) != getattr(default, name):
            raise ValueError(f"{name}: of no effect, {why}")


def changed(settings: Any) -> Iterator[str]:
    """The names of options that differ from their defaults, those of records within too."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        default = _default(field)
        if is_dataclass(value):
            yield from (f.name for f in fields(value) if _differ(value, default, f.name))
        elif default is not MISSING and value != default:
            yield field.name


def _differ(one: object, other: object, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
