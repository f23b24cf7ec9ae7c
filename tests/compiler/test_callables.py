"""Structure and arrays of a callable: what shares a program, and what is traced."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st

import jaxsal
from jaxsal.compiler.callables import join, split


def function(*args: object, **options: object) -> tuple:
    return args, options


def nested(array: object, window: tuple = (2, 3)) -> object:
    inner = functools.partial(function, 1, baseline=array, window=window)
    return {"a": jaxsal.smoothgrad(inner, samples=3), "b": [inner, None, "text", 0.5]}


def test_arrays_of_floats_and_keys_are_taken_out_and_put_back() -> None:
    key = jax.random.key(0)
    structure, arrays = split(nested(np.ones(3)) | {"key": key})
    assert len(arrays) == 3
    joined = join(structure, [arrays[0] * 2, arrays[1] * 3, arrays[2]])
    assert joined["a"].samples == 3
    np.testing.assert_array_equal(joined["a"].inner.keywords["baseline"], np.full(3, 2.0))
    args, options = joined["b"][0]()
    assert args == (1,) and options["window"] == (2, 3)
    np.testing.assert_array_equal(options["baseline"], np.full(3, 3.0))
    assert joined["b"][1:] == [None, "text", 0.5] and joined["key"] is key


def test_equal_parts_have_equal_structures() -> None:
    one, other = split(nested(np.ones(3)))[0], split(nested(jnp.zeros(5)))[0]
    assert one == other and hash(one) == hash(other)
    assert one != split(nested(np.ones(3), window=(2, 4)))[0]
    assert split(1)[0] != split(1.0)[0] and split(True)[0] != split(1)[0]


def test_methods_of_equal_objects_are_equal() -> None:
    dense, same, other = nn.Dense(3), nn.Dense(3), nn.Dense(4)
    assert dense is not same and split(dense.apply)[0] == split(same.apply)[0]
    assert hash(split(dense.apply)[0]) == hash(split(same.apply)[0])
    assert split(dense.apply)[0] not in (split(other.apply)[0], split(dense.init)[0])
    variables = dense.init(jax.random.key(0), np.ones((1, 2)))
    given = np.arange(4.0).reshape(2, 2)
    found = join(*split(dense.apply))(variables, given)
    np.testing.assert_array_equal(found, dense.apply(variables, given))


@given(st.lists(st.integers(-5, 5), min_size=1), st.sampled_from([np.int32, np.int8, bool]))
def test_arrays_that_must_be_concrete_are_structure_by_their_contents(
    values: list, dtype: type
) -> None:
    array = np.array(values).astype(dtype)
    structure, arrays = split({"labels": array}, ("labels",))
    assert arrays == [] and structure == split({"labels": jnp.asarray(array)}, ("labels",))[0]
    back = join(structure, [])["labels"]
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
    joined = join(structure, [arrays[0] * 2, arrays[1]])
    np.testing.assert_array_equal(joined["a"].inner.keywords["segments"], labels)
    np.testing.assert_array_equal(joined["a"].inner.keywords["baseline"], (labels + 7) * 2)


def test_an_integer_of_numpy_is_that_integer() -> None:
    for value, plain in ((np.int64(2), 2), (np.uint8(2), 2), (np.bool_(True), True)):
        structure, arrays = split(value)
        assert arrays == [] and structure == split(plain)[0]
        assert type(join(structure, [])) is type(plain)


def test_what_cannot_be_hashed_equals_itself_only() -> None:
    class Odd:
        __hash__ = None

    odd = Odd()
    assert split(odd)[0] == split(odd)[0] and split(odd)[0] != split(Odd())[0]
