"""What `describe` says of incremental occlusion: what a window costs, and where it stops."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxsal
from jaxsal.rewrite.cost import flops
from jaxsal.rewrite.incremental_occlusion import incremental_score
from jaxsal.rewrite.notes import collect_notes
from tests.rewrite.occlusion import test_data_movement as networks

CORNER = (np.int32(3), np.int32(5), np.int32(0))


def notes_of(score, window=networks.WINDOW):
    """The notes, and the program of one replaced window."""
    image, values = jnp.asarray(networks.IMAGE), jnp.zeros((*window, networks.CHANNELS))
    with collect_notes() as notes:
        program = jax.make_jaxpr(incremental_score(score, image))(values, (CORNER[0], CORNER[1], 0))
    return notes, program.jaxpr


@pytest.mark.parametrize("score", [networks.zero_padding, *networks.COARSE])
def test_what_a_window_costs_is_what_its_program_does(score):
    notes, program = notes_of(score)
    (cost,) = (note.what for note in notes if note.done)
    whole = flops(jax.make_jaxpr(score)(networks.IMAGE).jaxpr)
    (share,) = re.findall(r"a window costs ([\d.]+)% of the score's FLOPs", cost)
    assert float(share) == pytest.approx(100 * flops(program) / whole, rel=0.05)


def test_a_large_window_is_told_of():
    (note,) = notes_of(networks.zero_padding, (30, 20))[0]
    assert str(note).startswith("occlusion: the image: left alone, a window is more than half of")


def test_a_score_without_products_is_counted_in_values():
    done, *stops = notes_of(lambda x: jnp.sum(jnp.sort(jnp.tanh(x), 0) ** 2))[0]
    assert "of the score's values" in done.what
    (stop,) = stops
    assert stop.what == "sort f32[32,24,2]"


class Sorted(nn.Module):
    """Something in the middle that no region is followed through."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3))(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))))
        with jax.named_scope("ranks"):
            x = jnp.sort(x, 1)
        return nn.Dense(2)(nn.Conv(4, (3, 3))(x).mean((1, 2)))


@functools.cache
def described(rewrite):
    images = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype(np.float32)
    variables = Sorted().init(jax.random.key(0), images)
    explain = jaxsal.explainer(Sorted().apply, jaxsal.occlusion, window=3, rewrite=rewrite)
    return explain.describe(variables, images, 0)


def test_an_operation_that_stops_it_is_named_with_its_place():
    told = described(True)
    (cost,) = (each for each in told["rewritten"] if each.startswith("occlusion"))
    (stop,) = (each for each in told["passed_over"] if each.startswith("occlusion"))
    assert told["rewritten"][cost] == 1
    assert re.match(r"occlusion: sort f32\[1,18,18,4\] in Sorted/ranks: left alone", stop)
    assert "of the score's FLOPs are of the whole from there" in stop


def test_the_flops_are_of_model_and_method():
    plain = described(False)
    assert plain["flops"] == described(True)["flops"]
    assert not any("occlusion" in each for each in (*plain["rewritten"], *plain["passed_over"]))
