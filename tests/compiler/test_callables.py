"""Structure and arrays of a callable: what shares a program, and what is traced."""

import dataclasses
import functools
import gc
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st

import jaxsal
from jaxsal.compiler.callables import Split, assemble

TAKEN: list[Split] = []
"""What explainers keep alive."""


def split(value: object, concrete: tuple = ()) -> tuple:
    TAKEN.append(Split())
    return TAKEN[-1].structure(value, concrete), TAKEN[-1].arrays


def nested(array: object, window: tuple = (2, 3)) -> object:
    inner = functools.partial(jaxsal.occlusion, 1, baseline=array, window=window)
    return {"z": jaxsal.smoothgrad(inner, samples=3), "b": [inner, None, "text", 0.5]}


def test_arrays_of_floats_and_keys_are_taken_out_and_put_back() -> None:
    key = jax.random.key(0)
    structure, arrays = split(nested(np.ones(3)) | {"a": key})
    assert len(arrays) == 3
    joined = assemble(structure, [arrays[0] * 2, arrays[1] * 3, arrays[2]])
    assert list(joined) == ["z", "b", "a"] and joined["z"].samples == 3
    np.testing.assert_array_equal(joined["z"].inner.keywords["baseline"], np.full(3, 2.0))
    inner = joined["b"][0]
    assert inner.func is jaxsal.occlusion and inner.args == (1,)
    assert inner.keywords["window"] == (2, 3)
    np.testing.assert_array_equal(inner.keywords["baseline"], np.full(3, 3.0))
    assert joined["b"][1:] == [None, "text", 0.5] and joined["a"] is key


def test_equal_parts_have_equal_structures() -> None:
    one, other = split(nested(np.ones(3)))[0], split(nested(jnp.zeros(5)))[0]
    assert one == other and hash(one) == hash(other)
    assert one != split(nested(np.ones(3), window=(2, 4)))[0]


def test_plain_values_are_equal_where_they_are_written_alike() -> None:
    same = [(0.5, 0.5), (float("nan"), float("nan")), ("a", "a"), (np.float32(2), np.float32(2))]
    assert all(split(a)[0] == split(b)[0] for a, b in same)
    other = [(1, 1.0), (True, 1), (0.0, -0.0), (np.int64(2), np.int32(2)), (np.float32(2), 2.0)]
    assert all(split(a)[0] != split(b)[0] for a, b in other)


def function(*args: object, **options: object) -> tuple:
    return args, options


class Pair(NamedTuple):
    first: object
    second: object


def test_containers_of_equal_values_are_equal() -> None:
    for make in (
        lambda: Pair(np.ones(2), slice(1, None)),
        lambda: {("b", 1): [range(3), ...], ("a", 1): (1.5,)},
    ):
        (one, arrays), other = split(make()), split(make())[0]
        assert one == other
        assert jax.tree.structure(assemble(one, arrays)) == jax.tree.structure(make())
    table = np.arange(3).astype(jnp.bfloat16)
    assert assemble(split({"labels": table}, ("labels",))[0], [])["labels"].dtype == jnp.bfloat16


@dataclasses.dataclass(frozen=True)
class Equal:
    """Equal to all others of its kind, whatever it holds."""

    array: object = dataclasses.field(compare=False)

    def __call__(self, *args: object) -> object:
        return self.array


FUNCTIONS = {
    "a function": lambda: lambda: 0,
    "a bound method": lambda: nn.Dense(3).apply,
    "a partial": lambda: functools.partial(function, table={"b": np.ones(2), "a": np.zeros(2)}),
    "an object that equals others": lambda: Equal(np.ones(2)),
    "a pytree that can be called": lambda: jax.tree_util.Partial(function, np.ones(2)),
    "an object without weak references": lambda: operator.attrgetter("T"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_equal_to_themselves_alone_and_bound_as_they_are(name: str) -> None:
    made, twin = FUNCTIONS[name](), FUNCTIONS[name]()
    (structure, arrays), again = split(made), split(made)[0]
    assert arrays == [] and assemble(structure, []) is made
    assert structure != split(twin)[0]
    assert structure == again or name == "an object without weak references"


@pytest.mark.parametrize(
    "value", [2.5, np.float32(2), np.float64(2), jnp.asarray(2.5), jnp.int8(3)]
)
def test_scalars_keep_their_dtype_and_weakness(value: Any) -> None:
    back = assemble(*split({"value": value}))["value"]
    with jax.numpy_dtype_promotion("standard"):
        for dtype in (jnp.bfloat16, jnp.uint8):
            assert jnp.result_type(dtype, back) == jnp.result_type(dtype, value)


@given(st.lists(st.integers(-5, 5), min_size=1), st.sampled_from([np.int32, np.int8, bool]))
def test_arrays_that_must_be_concrete_are_structure_by_their_contents(
    values: list, dtype: type
) -> None:
    array = np.array(values).astype(dtype)
    structure, arrays = split({"labels": array}, ("labels",))
    assert arrays == [] and structure == split({"labels": jnp.asarray(array)}, ("labels",))[0]
    back = assemble(structure, [])["labels"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    changed = array.copy()
    changed[0] = not changed[0]
    other = split({"labels": changed}, ("labels",))[0]
    assert (other == structure) == bool((changed == array).all())


def test_segments_are_structure_and_other_integers_are_data() -> None:
    labels = np.arange(4)
    method = functools.partial(jaxsal.feature_ablation, segments=labels, baseline=labels + 7)
    structure, arrays = split({"a": jaxsal.smoothgrad(method), "segments": labels})
    assert len(arrays) == 2
    joined = assemble(structure, [arrays[0] * 2, arrays[1]])
    np.testing.assert_array_equal(joined["a"].inner.keywords["segments"], labels)
    np.testing.assert_array_equal(joined["a"].inner.keywords["baseline"], (labels + 7) * 2)


def test_integers_without_axes_are_known_when_a_program_is_traced() -> None:
    for value in (np.int64(2), np.uint8(2), np.array(2), jnp.int32(2), jnp.asarray(2)):
        structure, arrays = split(value)
        assert arrays == [] and operator.index(assemble(structure, [])) == 2
    assert assemble(*split(np.bool_(True))) is True


def test_objects_that_may_change_are_equal_to_nothing() -> None:
    class Odd:
        __hash__ = None

    odd = Odd()
    structure = split(odd)[0]
    assert assemble(structure, []) is odd and structure == structure
    assert structure != split(odd)[0] and structure != split(Odd())[0]


def test_nothing_is_kept_alive_by_a_structure() -> None:
    def closure() -> None:
        pass

    taken = Split()
    structure = taken.structure({"baseline": closure})
    assert assemble(structure, [])["baseline"] is closure
    taken.kept.clear()
    del closure
    gc.collect()
    assert assemble(structure, [])["baseline"] is None and structure == structure
