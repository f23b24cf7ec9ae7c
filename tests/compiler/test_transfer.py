"""Arrays moved to devices: what the caller does to its own memory later changes nothing there."""

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from jaxsal.compiler.transfer import put, put_rows


@pytest.mark.parametrize("size", [8, 1024, 2**18])
def test_memory_of_the_caller_is_copied_however_deep_it_lies(size: int) -> None:
    """Else a buffer that is filled anew, before the program has run, would change the maps."""
    array = np.zeros(size, np.float32)
    placed = put({"image": array, "each": {"mask": array}}, SingleDeviceSharding(jax.devices()[0]))
    array[:] = 1
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(placed))


def test_rows_stay_in_host_memory_where_jit_takes_them_to_the_device() -> None:
    device, rows = jax.devices()[2], {"target": np.zeros(4, np.int32)}
    here = put_rows(rows, SingleDeviceSharding(device))["target"]
    assert isinstance(here, np.ndarray) and here is not rows["target"]  # a copy
    for context in (jax.disable_jit, lambda: jax.transfer_guard("disallow")):
        with context():
            placed = put_rows(rows, SingleDeviceSharding(device))["target"]
        assert placed.devices() == {device}
    rows["image"] = jax.device_put(np.zeros((4, 2)), jax.devices()[1])
    assert put_rows(rows, SingleDeviceSharding(device))["image"].devices() == {device}
