"""Settings of a training that make no sense are said to be so, and only when they are looked at."""

from dataclasses import replace

import pytest

from jaxsal.training.config import LEAST, TrainConfig, TrainOptions

WRONG = {
    **{name: (least - 1, f"expected at least {least}, got") for name, least in LEAST.items()},
    "dropout": (1.0, "expected a rate from 0 to below 1, got 1.0"),
    "learning_rate": (float("nan"), "expected more than 0, got nan"),
    "widths": ((4,) * 7, "7 stages cannot be had from images of 64 pixels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_numbers(name: str) -> None:
    value, message = WRONG[name]
    options = replace(TrainOptions(), **{name: value})
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        options.checked()


def test_devices_do_not_decide_the_parameters() -> None:
    config = TrainOptions(parallel="pmap", devices=2, seed=3).checked()
    assert (config.parallel, config.seed) == ("pmap", 3)
    assert config.identity() == TrainConfig(seed=3).identity() != TrainConfig().identity()
