"""A compiled program's text is read as XLA means it: loops by their turns, bytes as they move."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.compiled import bytes_of, parse

TPU = """HloModule jit_f, is_scheduled=true

%body (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %p = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %x = f32[4,8]{1,0:T(8,128)S(1)} get-tuple-element(%p), index=1
  %neg = f32[4,8]{1,0:T(8,128)} negate(%x), backend_config={"estimated_cycles":"100"}
  ROOT %t = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) tuple(%i, %neg)
}

%cond (q: (s32[], f32[4,8])) -> pred[] {
  %q = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) parameter(0)
  %n = s32[]{:T(128)} constant(5)
  %j = s32[]{:T(128)} get-tuple-element(%q), index=0
  ROOT %lt = pred[]{:T(512)} compare(%j, %n), direction=LT
}

%outer (o: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %o = (s32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) parameter(0)
  ROOT %inner = (s32[], /*index=1*/f32[4,8]{1,0:S(1)}) while(%o), condition=%cond, body=%body
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
    assert program.collectives() == {"all-reduce": 1}
    assert program.without_estimate() == ["own_kernel"]


def test_a_loop_whose_turns_are_not_known_is_named():
    unknown = TPU.replace("constant(5)", "parameter(1)")
    assert "inner" in parse(unknown).without_estimate()


def test_values_on_the_chip_are_not_moved():
    # A turn writes one array to main memory; what it reads lies on the chip.
    assert parse(TPU).bytes_moved() == 3 * 5 * (128 + 1 + 8) + 3 * 9 + 3 * 2 * 128


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
