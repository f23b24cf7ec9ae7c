"""How much is evaluated at a time: the plan, and the memory that it is held against."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jaxsal.compiler import memory
from jaxsal.compiler.plan import (
    COMPILATIONS,
    MOST_GROWTH,
    limit_temporaries,
    plan,
    scale_down,
    scale_up,
)

SIZES = st.integers(1, 600)


@given(evaluations=SIZES, count=SIZES, devices=st.integers(1, 9), points=st.booleans())
def test_a_plan_fills_the_batch_size_and_never_passes_it(
    evaluations: int, count: int, devices: int, points: bool
) -> None:
    here = plan(evaluations, count, devices, points=points)
    assert here.images * here.chunk <= evaluations
    if points:
        assert here.images * (here.chunk + 1) > evaluations
    share = -(-count // devices)
    assert here.images < 2 * share  # padding is less than the images
    if share <= evaluations:
        assert here.images in (evaluations, 1 << (share - 1).bit_length())


@given(evaluations=SIZES, count=SIZES, maps=st.integers(1, 60), points=st.booleans())
def test_all_maps_of_an_image_are_evaluated_at_a_time(
    evaluations: int, count: int, maps: int, points: bool
) -> None:
    here = plan(evaluations, count, 1, maps=maps, points=points)
    assert here.maps == maps
    assert here.evaluations <= max(evaluations, maps)


@given(evaluations=SIZES, count=st.integers(1, 5000))
def test_more_images_than_fit_are_cut_evenly(evaluations: int, count: int) -> None:
    """As few chunks as can be, of at most eight sizes, and little of them is padding."""
    images = plan(evaluations, count, 1, points=False).images
    chunks = -(-count // images)
    assert chunks == max(1, -(-count // evaluations))
    step = -(-evaluations // 8)
    assert count <= evaluations or images % step == 0 or images == evaluations
    if count > evaluations:
        assert images * chunks - count < chunks * (step + 1)


@given(evaluations=SIZES, budget=st.floats(1, 10**4), fixed=st.integers(0, 100))
def test_what_is_taken_fits_or_was_scaled_down_three_times(
    evaluations: int, budget: float, fixed: int
) -> None:
    asked = []

    def load(size: int) -> float:
        asked.append(size)
        return (fixed + 10.0 * size) / budget

    taken = scale_down(evaluations, load)
    assert len(asked) <= COMPILATIONS
    assert asked == sorted(set(asked), reverse=True)
    assert taken == 1 or load(taken) <= 1 or len(asked) >= COMPILATIONS
    if fixed + 10 * evaluations <= budget:
        assert taken == evaluations


@given(evaluations=SIZES, temporaries=st.floats(0, 1e12), fill=st.floats(0, 1e12))
def test_what_is_small_grows_until_it_fills(
    evaluations: int, temporaries: float, fill: float
) -> None:
    """A power of two times as many, the most of them whose temporaries fill no more."""
    assert scale_up(evaluations, 0.0, fill) == evaluations
    temporaries += 1
    times, rest = divmod(scale_up(evaluations, temporaries, fill), evaluations)
    assert rest == 0 and times & (times - 1) == 0 and 1 <= times <= MOST_GROWTH
    assert times == 1 or times * temporaries <= fill
    assert times == MOST_GROWTH or 2 * times * temporaries > fill


@given(most=SIZES, pays=st.floats(1, 10**4), fixed=st.integers(0, 2000), each=st.integers(0, 99))
def test_fewer_evaluations_only_where_their_temporaries_then_pay(
    most: int, pays: float, fixed: int, each: int
) -> None:
    asked: list[int] = []

    def temporaries(evaluations: int) -> float:
        asked.append(evaluations)
        return fixed + float(each * evaluations)

    taken = limit_temporaries(most, temporaries, pays)
    assert len(asked) <= 3 and asked == sorted(set(asked), reverse=True)
    assert taken == most or temporaries(taken) <= pays < temporaries(most)
    if fixed + each * most <= pays or fixed + each > pays:
        assert taken == most
    elif most > 1 and each:
        assert taken < most and (4 * taken > most or temporaries(4 * taken) > pays)


def test_a_control_group_s_limit_counts_wherever_it_is_set(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    group = Path("outer/inner")
    assert memory._control_group(tmp_path, group) == float("inf")
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("100\n")
    assert memory._control_group(tmp_path, group) == float("inf")
    (tmp_path / "outer" / "memory.max").write_text("1000\n")
    (tmp_path / "outer" / "memory.current").write_text("300\n")
    assert memory._control_group(tmp_path, group) == 700


def test_this_machine_has_some_memory() -> None:
    assert 2**20 < memory.host_free_bytes() < 2**50
