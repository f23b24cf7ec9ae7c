"""The labelled images that a command is given: read, told, and split."""

from pathlib import Path

from jaxsal.data import pipeline, splits, understood
from jaxsal.data import volumes as whole
from jaxsal.data.examples import Dataset
from jaxsal.data.reading import Reading
from jaxsal.data.splits import FOLDS
from jaxsal.training.config import TrainConfig


def read_and_split(
    images: Path,
    reading: Reading,
    config: TrainConfig,
    *,
    channels: int | None,
    strict: bool,
    force: bool,
    silent: bool,
    volumes: bool = False,
) -> tuple[Dataset, splits.Division, understood.Record]:
    """All images, their split, and what was understood, which is printed unless silent.

    Args:
        channels: 1 for grey, 3 for colour, None: what pictures are; scans are grey.
        volumes: whether they are whole scans.

    Raises:
        ValueError: what cannot be read, or a split that bears no conclusions and is not forced.
    """
    read = whole.folder if volumes else pipeline.folder
    dataset = read(
        images,
        image_size=config.image_size,
        strict=strict,
        reading=reading,
        channels=channels,
        argument="images",
    )
    division = splits.divide(
        dataset,
        test_fold=config.test_fold,
        validation_fold=_validated(dataset, config),
        seed=config.seed,
    )
    found = understood.record(dataset, division)
    if not silent:
        print("\n".join(understood.lines(found, dataset.cached)), flush=True)
    return dataset, splits.accepted(division, force=force), found


def _validated(dataset: Dataset, config: TrainConfig) -> int | None:
    """The fold to validate on: the wanted one, or the next that is not tested on.

    None where without it a class would be missing from training.
    """
    folds, labels = dataset.examples.folds, dataset.examples.labels
    if dataset.parts is None:
        trained = folds != config.test_fold
    else:
        trained = dataset.parts == "train"
    wanted = config.validation_fold
    for fold in range(wanted, wanted + FOLDS if wanted else 0):
        fold = (fold - 1) % FOLDS + 1
        left = {*labels[trained & (folds != fold)].tolist()}
        if (trained & (folds == fold)).any() and left == {*labels.tolist()}:
            return fold
    return None
