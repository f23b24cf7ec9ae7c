"""The labelled images that a command is given: read, told, and split."""

from pathlib import Path

from jaxsal.data import pipeline, splits, understood
from jaxsal.data.examples import Dataset
from jaxsal.data.reading import Reading
from jaxsal.training.config import TrainConfig


def read_and_split(
    images: Path, reading: Reading, config: TrainConfig, *, strict: bool, force: bool, silent: bool
) -> tuple[Dataset, splits.Division, understood.Record]:
    """All images, their split, and what was understood, which is printed unless silent.

    Raises:
        ValueError: what cannot be read, or a split that bears no conclusions and is not forced.
    """
    dataset = pipeline.folder(images, image_size=config.image_size, strict=strict, reading=reading)
    division = splits.divide(
        dataset,
        test_fold=config.test_fold,
        validation_fold=config.validation_fold or None,
        seed=config.seed,
    )
    found = understood.record(dataset, division)
    if not silent:
        print("\n".join(understood.lines(found)), flush=True)
    return dataset, splits.accepted(division, force=force), found
