"""A record of a batch, and the fingerprints of what decided it."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy

P, X = toy.params(), toy.images(5)
KEY = jax.random.key(0)


@pytest.mark.parametrize("batch_size", ["auto", 2])
@pytest.mark.parametrize("targets", [None, 1, "all"])
def test_a_record_is_the_maps_with_their_targets_and_logits(batch_size, targets) -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, batch_size=batch_size)
    found = explain.record(P, X, targets)
    logits = toy.apply(P, X)
    expected = {None: logits.argmax(-1), 1: np.ones(5), "all": np.tile(np.arange(3), (5, 1))}
    toy.close(found.maps, explain(P, X, targets))
    toy.close(found.logits, logits)
    np.testing.assert_array_equal(found.targets, expected[targets])


def test_a_record_of_a_dict_keeps_its_order() -> None:
    methods = {"z": jaxsal.gradient, "a": jaxsal.input_x_gradient}
    found = jaxsal.explainer(toy.apply, methods).record(P, X)
    assert list(found.maps) == ["z", "a"]


def test_a_record_computes_the_forward_pass_once() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)

    def convolutions(function) -> int:
        text = jax.jit(lambda p, x: function(p, x)).lower(P, X).compile().as_text()
        return text.count(" convolution(") + text.count("custom-call(")

    assert convolutions(explain.record) == convolutions(explain)


def identity(method=jaxsal.gradient, apply=toy.apply, params=P, targets=None, key=None, **options):
    return jaxsal.explainer(apply, method, **options).identity(params, X, targets, key=key)


CHANGES = {
    "params": {"params": toy.params(1)},
    "model": {"apply": lambda params, x: 2 * toy.apply(params, x)},
    "method": {"method": jaxsal.input_x_gradient},
    "targets": {"targets": "all"},
    "objective": {"objective": lambda logits, target: -logits[target]},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_shows_where_it_was_made(name) -> None:
    same, other = identity(), identity(**CHANGES[name])
    changed = {part for part in same if same[part] != other[part]}
    # A method's fingerprint holds its model.
    expected = {"model": {"model", "method"}, "targets": {"method"}, "objective": {"method"}}
    assert changed - {"method"} == expected.get(name, {name}) - {"method"}
    assert "method" in changed or name in ("params", "key")


def test_options_and_constants_count_and_what_changes_no_map_does_not() -> None:
    path = jaxsal.integrated_gradients
    assert identity(path, steps=3)["method"] != identity(path, steps=4)["method"]
    black, white = np.zeros(toy.SHAPE, np.float32), np.ones(toy.SHAPE, np.float32)
    assert identity(path, baseline=black)["method"] != identity(path, baseline=white)["method"]
    assert identity(path, steps=3) == identity(path, steps=3, batch_size=2, rewrite=False)
    assert identity(path, steps=3) == identity(functools.partial(path, steps=3))
    shift = [jnp.asarray(x) for x in toy.images(2, seed=3)]
    first, second = (identity(apply=lambda p, x, s=s: toy.apply(p, x + s[None])) for s in shift)
    assert first["model"] != second["model"]
    inner = [jax.jit(lambda p, x, s=s: toy.apply(p, x + s[None])) for s in shift]
    assert identity(apply=inner[0])["model"] != identity(apply=inner[1])["model"]


def test_another_process_finds_the_same() -> None:
    """Model calls print the addresses of their functions; these do not count."""
    code = (
        "import jaxsal; from tests import toy; explain = jaxsal.explainer(toy.apply,"
        " jaxsal.gradient); print(explain.identity(toy.params(), toy.images(5)))"
    )
    same = {**os.environ, "JAX_DEFAULT_MATMUL_PRECISION": "highest"}  # it is part of the program
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=same)
    assert done.stdout.strip() == str(identity())


def test_a_key_decides_only_where_something_is_drawn() -> None:
    drawing = jaxsal.smoothgrad(jaxsal.gradient, samples=2)
    first = identity(drawing, key=KEY)
    second = identity(drawing, key=jax.random.key(1))
    assert {name for name in first if first[name] != second[name]} == {"key"}
    assert identity(key=KEY) == identity()


def test_constants_deep_inside_a_model_decide_its_identity() -> None:
    def identity(mean: float) -> dict[str, str]:
        table = np.full((1, *X.shape[1:]), mean, np.float32)
        shifted = jax.checkpoint(lambda images: jax.jit(lambda images: images - table)(images))
        explain = jaxsal.explainer(lambda p, x: toy.apply(p, shifted(x)), jaxsal.gradient)
        return explain.identity(P, X)

    assert identity(0.5) == identity(0.5)
    assert identity(0.5)["model"] != identity(0.25)["model"]
