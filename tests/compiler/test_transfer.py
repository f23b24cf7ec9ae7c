"""Arrays moved to devices: what the caller does to its own memory later changes nothing there."""

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from jaxsal.compiler.transfer import put


@pytest.mark.parametrize("size", [8, 1024, 2**18])
def test_memory_of_the_caller_is_copied_however_deep_it_lies(size: int) -> None:
    """Else a buffer that is filled anew, before the program has run, would change the maps."""
    array = np.zeros(size, np.float32)
    placed = put({"image": array, "each": {"mask": array}}, SingleDeviceSharding(jax.devices()[0]))
    array[:] = 1
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(placed))
