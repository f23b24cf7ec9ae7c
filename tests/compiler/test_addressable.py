"""Rows of arrays on any devices, whatever mesh is set."""

import contextlib

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

import jaxsal
from jaxsal.compiler import addressable
from tests import toy

ROWS = np.arange(8 * 4, dtype=np.float32).reshape(8, 4)


def made(count: int, kind: AxisType = AxisType.Explicit) -> Mesh:
    return jax.make_mesh((count,), ("a",), axis_types=(kind,))


PLACES = {
    "a mesh": NamedSharding(made(4), Spec("a")),
    "an automatic mesh": NamedSharding(made(4, AxisType.Auto), Spec("a")),
    "every device of a mesh": NamedSharding(made(4), Spec()),
    "pieces of rows": NamedSharding(made(4), Spec(None, "a")),
    "one device": jax.sharding.SingleDeviceSharding(jax.devices()[5]),
}


@pytest.mark.parametrize("current", [None, 2, 4])
@pytest.mark.parametrize("place", PLACES)
def test_rows_are_read_where_they_lie(place: str, current: int | None) -> None:
    array = jax.device_put(ROWS, PLACES[place])
    with jax.set_mesh(made(current)) if current else contextlib.nullcontext():
        found = addressable.rows(array, [6, 0, 6])
    np.testing.assert_array_equal(found, ROWS[[6, 0, 6]])


def test_a_warning_under_a_mesh_that_is_set_names_the_image() -> None:
    """What is said of it takes a look at the image."""
    mesh, weights = made(4), toy.images(3, shape=(4,)).T
    images = jax.device_put(ROWS, NamedSharding(mesh, Spec("a")))
    apply = lambda weights, x: toy.linear(weights, x) + 1e38 * x[:, :3] ** 3  # noqa: E731
    explain = jaxsal.explainer(apply, jaxsal.gradient)
    with jax.set_mesh(mesh), pytest.warns(RuntimeWarning, match="Parameters and images are finite"):
        explain(weights, images, 2)
