"""A compiled program's text is read as XLA means it: loops by their turns, bytes as they move."""

import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks.compiled import bytes_of, parse
from benchmarks.topologies import ACCELERATORS

TPU = """HloModule jit_f, is_scheduled=true

%body (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %p = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %x = f32[4,8]{1,0:T(8,128)S(1)} get-tuple-element(%p), index=1
  %neg = f32[4,8]{1,0:T(8,128)} negate(%x), backend_config={"estimated_cycles":"100"}
  %step = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %step)
  ROOT %t = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) tuple(%next, %neg)
}

%cond (q: (s32[], f32[4,8])) -> pred[] {
  %q = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) parameter(0)
  %n = s32[]{:T(128)} constant(5)
  %j = s32[]{:T(128)} get-tuple-element(%q), index=0
  ROOT %lt = pred[]{:T(512)} compare(%j, %n), direction=LT
}

%outer (o: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %o = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %first = s32[]{:T(128)} copy(%zero)
  %y = f32[4,8]{1,0:T(8,128)S(1)} get-tuple-element(%o), index=1
  %given = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) tuple(%first, %y)
  ROOT %inner = (s32[], /*index=1*/f32[4,8]{1,0:S(1)}) while(%given), condition=%cond, body=%body
}

ENTRY %main (a: f32[4,8]) -> f32[4,8] {
  %a = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)}) parameter(0)
  %w = (s32[], f32[4,8]) while(%a), condition=%c2, body=%outer, TRIPS
  %g = f32[4,8]{1,0:T(8,128)} get-tuple-element(%w), index=1
  %r = f32[4,8]{1,0:T(8,128)} all-reduce(%g), replica_groups={{0,1}}, to_apply=%add
  %k = f32[4,8]{1,0:T(8,128)} custom-call(%r), custom_call_target="own_kernel"
  ROOT %c = f32[4,8]{1,0:T(8,128)} copy(%k), backend_config={"estimated_cycles":"7"}
}
""".replace("TRIPS", 'backend_config={"known_trip_count":{"n":"3"}}').replace("%c2", "%cond")


def test_cycles_of_nested_loops_count_as_often_as_they_turn():
    program = parse(TPU)
    assert program.cycles() == 3 * 5 * 100 + 7
    assert program.loop_cycles() == 3 * 5 * 100
    assert program.collectives() == {"all-reduce": 1}
    assert program.without_cycles() == ["all-reduce", "own_kernel"]
    assert program.without_rates() == ["all-reduce", "own_kernel"]
    assert program.unknown_loops() == []


def test_of_a_choice_the_dearest_branch_counts():
    text = """HloModule jit_f

%many (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  %s = f32[4]{0} negate(%p), backend_config={"estimated_cycles":"1"}
  %t = f32[4]{0} negate(%s), backend_config={"estimated_cycles":"1"}
  ROOT %u = f32[4]{0} negate(%t), backend_config={"estimated_cycles":"1"}
}

%one (q: f32[4]) -> f32[4] {
  %q = f32[4]{0} parameter(0)
  ROOT %v = f32[4]{0} negate(%q), backend_config={"estimated_cycles":"90"}
}

ENTRY %main (i: s32[], a: f32[4]) -> f32[4] {
  %i = s32[] parameter(0)
  %a = f32[4]{0} parameter(1)
  ROOT %c = f32[4]{0} conditional(%i, %a, %a), branch_computations={%many, %one}
}
"""
    assert parse(text).cycles() == 90
    without = re.sub(r", backend_config=\{.*\}", "", text)
    assert parse(without).bytes_moved() == 3 * 2 * 16  # a GPU's: by bytes


def test_what_devices_tell_each_other_counts_in_loops_in_fusions_and_on_the_chip():
    fused = """%fused (f: f32[4,8]) -> f32[4,8] {
  %f = f32[4,8]{1,0:S(1)} parameter(0)
  ROOT %s = f32[4,8]{1,0:S(1)} all-reduce(%f), to_apply=%add
}

%body ("""
    text = TPU.replace("%body (", fused).replace("negate(%x)", "fusion(%x), calls=%fused")
    program = parse(text)
    assert program.collectives() == {"all-reduce": 3 * 5 + 1}
    assert program.collective_bytes() == {"all-reduce": (3 * 5 + 1) * 4 * 8 * 4}


def test_what_has_no_estimate_counts_by_its_bytes_where_it_runs_alone():
    assert parse(TPU).bytes_without_cycles() == 0  # communication and custom calls are no copies
    text = TPU.replace('negate(%x), backend_config={"estimated_cycles":"100"}', "negate(%x)")
    program = parse(text)
    assert program.without_cycles() == ["all-reduce", "negate", "own_kernel"]
    assert program.bytes_without_cycles() == 3 * 5 * 4 * 8 * 4  # x lies on the chip
    started = parse(text.replace("negate(%x)", "copy-start(%x)"))
    assert started.bytes_without_cycles() == 0
    v5e = ACCELERATORS["tpu-v5e"]
    expected = 7 / v5e.clock + 1920 / v5e.bandwidth
    found = v5e.predicted_ms(7, 0, 0.0, "float32", v5e.bytes_without_estimate(program))
    assert found == pytest.approx(1e3 * expected, rel=1e-3)


def test_a_loop_counts_from_its_start_by_its_step():
    later = TPU.replace("%zero = s32[]{:T(128)} constant(0)", "%zero = s32[]{:T(128)} constant(1)")
    assert parse(later).cycles() == 3 * 4 * 100 + 7
    copied = later.replace("add(%i, %step)", "add(%held, %step)").replace(
        "%step = ", "%held = s32[]{:T(128)S(6)} copy(%i)\n  %step = "
    )
    assert parse(copied).cycles() == 3 * 4 * 100 + 7
    wider = later.replace("constant(1)\n  %next", "constant(3)\n  %next")
    assert parse(wider).cycles() == 3 * 2 * 100 + 7


UNKNOWN = {
    "bound": ("constant(5)", "get-tuple-element(%q), index=1"),
    "start": ("constant(0)", "get-tuple-element(%o), index=0"),
    "step": ("constant(1)", "get-tuple-element(%p), index=0"),
    "change": ("add(%i, %step)", "multiply(%i, %step)"),
    "backwards": ("constant(1)", "constant(-1)"),
}


@pytest.mark.parametrize(("told", "hidden"), UNKNOWN.values(), ids=list(UNKNOWN))
def test_a_loop_whose_turns_are_not_known_is_named_and_counts_once(told, hidden):
    assert TPU.count(told) == 1
    program = parse(TPU.replace(told, hidden))
    assert program.cycles() == 3 * 100 + 7
    assert "inner" in program.unknown_loops()


GPU = """HloModule jit_f

ENTRY %main (a: f32[4,8]) -> f32[4,8] {
  %a = f32[4,8]{1,0} parameter(0)
  %c = f32[4,8]{1,0} custom-call(%a), custom_call_target="__cudnn$convForward"
  %q = f32[4,8]{1,0} custom-call(%c), custom_call_target="cusolver_geqrf_ffi"
  %s = f32[4,8]{1,0} sort(%q), dimensions={1}, to_apply=%less
  ROOT %r = f32[4,8]{1,0} all-gather-start(%s)
}
"""


def test_each_target_names_what_its_prediction_leaves_out():
    left = {name: ACCELERATORS[name].without_estimate(parse(GPU)) for name in ("h200", "tpu-v6e")}
    assert left["h200"] == ["all-gather-start", "cusolver_geqrf_ffi"]
    assert left["tpu-v6e"] == sorted([*left["h200"], "__cudnn$convForward", "sort"])


def test_values_on_the_chip_are_not_moved():
    # A turn writes one array to main memory and a counter; what it reads lies on the chip.
    inner = 3 * (5 * (128 + 12 + 1 + 8) + 8)
    assert parse(TPU).bytes_moved() == inner + 3 * 9 + 3 * 2 * 128


@pytest.mark.parametrize(
    ("type", "count"),
    [("f32[2,3]{1,0}", 24), ("(bf16[8], pred[])", 17), ("u8[0]{0}", 0), ("f8e4m3fn[4]", 4)],
)
def test_bytes_of_a_type(type, count):
    assert bytes_of(type) == count


def test_a_program_of_this_machine():
    def loop(x):
        return jax.lax.fori_loop(0, 4, lambda i, x: jnp.sin(x) @ x, x)

    text = jax.jit(loop).lower(jnp.ones((16, 16))).compile().as_text()
    program = parse(text)
    kinds = [program.computations[c][op].kind for c, op, n in program.executed() if n == 4]
    assert kinds
    assert program.bytes_moved() >= 4 * 3 * 16 * 16 * 4
