"""No answer depends on chunks, batches or devices, and few programs are compiled."""

import contextlib
import functools
import gc
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

import jaxsal
from jaxsal.compiler import batch_size, checks, chunks, execute, memory, transfer, values
from jaxsal.compiler.batch_size import BatchSize
from jaxsal.compiler.parameters import Copies
from jaxsal.compiler.placement import place_batch
from jaxsal.compiler.plan import CAPS, TEMPORARIES_TARGET
from tests import toy

P = toy.params()
PATH = functools.partial(jaxsal.integrated_gradients, steps=3)
BOTH = {"gradient": jaxsal.gradient, "path": PATH}


@functools.cache
def reference(count: int) -> dict:
    """Maps on one device, in one piece, with the points of a path one by one."""
    explain = jax.jit(jaxsal.explainer(toy.apply, BOTH, rewrite=False))
    return jax.device_get(explain(P, toy.images(count), toy.targets(count)))


@pytest.mark.parametrize("count", [1, 5, 8, 13])
def test_the_same_maps_on_eight_devices_as_on_one(count: int) -> None:
    assert jax.local_device_count() == 8
    explain = jaxsal.explainer(toy.apply, BOTH)
    maps = explain(P, toy.images(count), toy.targets(count))
    assert len(maps["gradient"].sharding.device_set) == {1: 1, 5: 4, 8: 8, 13: 8}[count]
    toy.close(maps, reference(count))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_the_same_maps_in_any_chunks(batch_size: int) -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("batch",))
    explain = jaxsal.explainer(toy.apply, BOTH, batch_size=batch_size, mesh=mesh)
    toy.close(explain(P, toy.images(5), toy.targets(5)), reference(5))


def test_a_bound_chunk_counts_towards_the_batch_size() -> None:
    explain = jaxsal.explainer(toy.apply, PATH, chunk=4, batch_size=8)
    call = explain._prepare(P, {"image": toy.images(64)}, 0, None)
    assert explain._execute.plan(call)[0].images == 2


MESHES = {
    "plain": lambda: Mesh(np.array(jax.devices()[:4]), ("data",)),
    "explicit": lambda: jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,)),
    "auto": lambda: jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,)),
    "two axes": lambda: jax.make_mesh((2, 2), ("data", "model")),
}


@pytest.mark.parametrize("kind", MESHES)
@pytest.mark.parametrize("placed", [False, True])
def test_meshes_of_both_kinds(kind: str, placed: bool) -> None:
    mesh = MESHES[kind]()
    images, params = jnp.asarray(toy.images(4)), P
    if placed:
        images = jax.device_put(images, NamedSharding(mesh, Spec("data")))
        params = jax.device_put(params, NamedSharding(mesh, Spec()))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=None if placed else mesh)
    maps = explain(params, images, toy.targets(4))
    assert maps.sharding.device_set == set(mesh.devices.flat)
    toy.close(maps, reference(4)["gradient"])
    if placed:  # maps lie on the caller's own mesh, whatever its axes: to be used beside the images
        assert maps.sharding.mesh == images.sharding.mesh
        toy.close(maps * images, reference(4)["gradient"] * toy.images(4))


@pytest.mark.parametrize("current", [False, True])
@pytest.mark.parametrize("kind", MESHES)
def test_chunks_of_a_mesh_are_cut_on_its_devices(
    kind: str, current: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an accelerator, or over several processes, where NumPy cannot read the rows."""
    monkeypatch.setattr(chunks, "on_host", lambda array: None)
    mesh = MESHES[kind]()
    spread = NamedSharding(mesh, Spec("data"))
    images, targets = jax.device_put((toy.images(8), toy.targets(8)), spread)
    with jax.set_mesh(mesh) if current else contextlib.nullcontext():
        for size, given in ((1, mesh), (3, None)):  # in several chunks, or with rows repeated
            explain = jaxsal.explainer(toy.apply, jaxsal.gradient, batch_size=size, mesh=given)
            maps = explain(P, images, targets)
            assert maps.sharding.mesh == mesh
            toy.close(maps, reference(8)["gradient"])


def test_parameters_keep_their_sharding() -> None:
    mesh = jax.make_mesh((2, 2), ("data", "model"))
    sharded = NamedSharding(mesh, Spec(None, "model"))
    params = P | {"dense": jax.device_put(toy.params(classes=4)["dense"], sharded)}
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    maps = explain(params, toy.images(6), 3)
    assert maps.sharding.spec[0] in ("data", ("data",))
    single = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=MESHES["plain"]())
    toy.close(maps, single(jax.device_get(params), toy.images(6), 3))


def test_under_a_mesh_of_explicit_axes_that_the_user_has_set() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    with jax.set_mesh(jax.make_mesh((8,), ("data",))):
        maps = explain(P, toy.images(8), toy.targets(8))
        doubled = maps + maps
        few = jnp.abs(explain(P, toy.images(3), toy.targets(3)))
    toy.close(doubled, 2 * np.asarray(reference(8)["gradient"]))
    toy.close(few, np.abs(reference(3)["gradient"]))


def test_arrays_committed_to_other_devices() -> None:
    images = jax.device_put(toy.images(1), jax.devices()[3])
    params = jax.device_put(P, jax.devices()[5])
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    maps = explain(params, images, 0)
    assert maps.devices() == {jax.devices()[3]}
    toy.close(maps, reference(1)["gradient"])
    many = explain(params, jax.device_put(toy.images(8), jax.devices()[3]), toy.targets(8))
    toy.close(many, reference(8)["gradient"])


def test_weak_types_are_the_same_program() -> None:
    traced = []

    def apply(params, images):
        traced.append(images)
        return toy.apply(params, images)

    explain = jaxsal.explainer(apply, jaxsal.gradient)
    explain(P, jnp.asarray(toy.images(4)), jnp.arange(4) % 3)
    shape, before = (4, *toy.SHAPE), len(traced)
    weak, ones = jnp.full(shape, 0.5), jnp.full((4,), 1)
    assert weak.weak_type and ones.weak_type
    maps = explain(P, weak, ones)
    assert len(traced) == before
    toy.close(maps, explain(P, np.full(shape, 0.5, np.float32), np.ones(4, int)))


def test_nothing_is_compiled_twice() -> None:
    mesh = MESHES["plain"]()
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    explain(P, toy.images(16), toy.targets(16))
    other, images = toy.params(5), toy.images(16, seed=9)
    on_device = (jnp.asarray(images), jnp.asarray(toy.targets(16)))
    with toy.compilations() as again:
        explain(other, images, toy.targets(16))
        explain(jax.device_get(other), *on_device)
        explain(jax.device_put(other, jax.devices()[0]), images, 1)
        jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)(P, images, toy.targets(16))
    assert again.count == 0
    with toy.compilations() as smaller:
        explain(P, toy.images(13), toy.targets(13))  # padded to 16, of which 13 are cut out
    assert smaller.count <= 1
    with toy.compilations() as again:
        explain(P, toy.images(13, seed=3), toy.targets(13))
    assert again.count == 0


def test_any_number_of_batch_sizes_is_few_programs() -> None:
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.linear, jaxsal.gradient, mesh=mesh, batch_size=128)
    weights, images = jnp.asarray(toy.images(3, shape=(4,)).T), toy.images(90, shape=(4,))
    expected = np.asarray(explain(weights, images, 0))
    with toy.compilations() as counter:
        for size in range(1, 90):
            maps = explain(weights, images[:size], 0)
            np.testing.assert_array_equal(maps, expected[:size])
            assert isinstance(maps, jax.Array) and maps.committed
    assert counter.count <= 7  # the powers of two below 128


def test_parameters_of_numpy_are_placed_once_while_they_do_not_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = jax.tree.map(np.array, P) | {"free": np.full((3, 2), np.nan), "number": 2}
    explain, images = jaxsal.explainer(toy.apply, jaxsal.gradient), toy.images(4)
    first = explain(params, images, 0)
    placed, real = [], transfer.put_parameter
    monkeypatch.setattr(
        transfer,
        "put_parameter",
        lambda leaf, place: placed.append(leaf.shape) or real(leaf, place),
    )
    toy.close(explain(params, images, 0), first, 0)
    assert placed == [()]  # Python's number, which is another array at each call
    params["conv"][0, 0, 0, 0] += 1
    changed = explain(params, images, 0)
    assert placed[1:] == [params["conv"].shape, ()]
    toy.close(changed, jaxsal.explainer(toy.apply, jaxsal.gradient)(params, images, 0), 0)
    assert np.abs(changed - first).max() > 1e-3
    toy.close(explain(params | {"conv": np.array(P["conv"])}, images, 0), first, 0)
    strided = params | {"dense": np.asfortranarray(P["dense"])}
    explain(strided, images, 0)
    placed.clear()
    explain(strided, images, 0)
    assert placed == [()]  # however it lies
    for factor in (1, 2):
        strided["dense"][:] = P["dense"] * factor
        toy.close(
            explain(strided, images, 0), explain(jax.tree.map(jnp.asarray, strided), images, 0), 0
        )


def test_copies_go_with_the_explainer_and_with_their_arrays() -> None:
    gc.disable()  # no cycle keeps them until it comes round
    try:
        explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
        explain(jax.tree.map(np.array, P), toy.images(2), 0)
        resident = explain._prepare._parameters._copies
        params = jax.tree.map(np.array, P)
        explain(params, toy.images(2), 0)
        placed = [weakref.ref(copy.of(params["conv"])) for copy in resident._last[2]]
        del resident, explain
        assert [ref() for ref in placed] == [None] * 3
    finally:
        gc.enable()


def test_copies_of_numpys_parameters_go_with_them() -> None:
    resident = Copies()
    place = place_batch(None, jnp.zeros((1, 2)), {})
    array = np.arange(3.0, dtype=np.float32)
    placed = weakref.ref(resident({"a": array}, place)["a"])
    assert placed() is not None and resident({"a": array}, place)["a"] is placed()
    del array
    gc.collect()
    assert placed() is None


def test_parameters_are_placed_once() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    call = explain._prepare(P, {"image": toy.images(8)}, 0, None)
    placement = explain._execute.placement(call)
    first = call.params.on(placement, P)
    assert first["conv"].sharding.is_fully_replicated
    assert call.params.on(placement, P)["conv"] is first["conv"]
    params = toy.params(1)
    other, _ = explain._prepare._parameters(params)
    assert other.on(placement, params)["conv"] is not first["conv"]


@pytest.mark.parametrize("there", [True, False])
def test_parameters_live_no_longer_than_the_callers(there: bool) -> None:
    placement = place_batch(None, toy.images(8), P)
    resident, params = Copies(), toy.params(3)
    params = jax.device_put(params, placement.replicated) if there else params
    placed = weakref.ref(resident(params, placement)["conv"])
    assert placed() is not None
    del params
    gc.collect()
    assert placed() is None


def test_automatic_size_scales_down_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    images, targets = toy.images(64), toy.targets(64)
    call = explain._prepare(P, {"image": images}, targets, None)
    monkeypatch.setattr(memory, "free_bytes", lambda devices: 1e9)
    assert explain._execute.plan(call)[0].images == CAPS["cpu"]
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    monkeypatch.setattr(memory, "free_bytes", lambda devices: 1e5)
    assert 1 <= explain._execute.plan(call)[0].images < CAPS["cpu"]
    toy.close(explain(P, images, targets), reference(64)["gradient"])


def test_more_images_leave_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that take nothing: images and results alone, of 768 bytes, 104 of which fit."""
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    monkeypatch.setattr(memory, "free_bytes", lambda devices: 1e5)
    monkeypatch.setattr(memory, "program_bytes", lambda compiled: 0)
    few, many = (explain._prepare(P, {"image": toy.images(n)}, 0, None) for n in (64, 256))
    assert explain._execute.plan(few)[0].images == CAPS["cpu"]
    assert explain._execute.plan(many)[0].images < CAPS["cpu"]


@pytest.mark.parametrize(
    ("method", "count", "size", "one"),
    [
        (functools.partial(jaxsal.occlusion, window=4), 4, "auto", True),
        (functools.partial(jaxsal.occlusion, window=4), 3, "auto", True),  # padded to four
        (functools.partial(jaxsal.occlusion, window=4), 2, "auto", False),
        (functools.partial(jaxsal.occlusion, window=4), 4, 32, False),
        (functools.partial(jaxsal.sobol, designs=2), 4, "auto", True),
        (
            jaxsal.smoothgrad(functools.partial(jaxsal.occlusion, window=4), samples=40),
            4,
            "auto",
            False,
        ),
        ({"o": functools.partial(jaxsal.occlusion, window=4), "i": PATH}, 4, "auto", False),
        (PATH, 4, "auto", False),
    ],
)
def test_windows_that_all_images_share_are_taken_one_by_one(
    monkeypatch: pytest.MonkeyPatch, method: object, count: int, size: int | str, one: bool
) -> None:
    """As on a TPU, where a window is cut out of all images at once, a chunk of them in a loop."""
    monkeypatch.setattr(batch_size, "ONE_WINDOW", {"cpu": 4})
    monkeypatch.setattr(batch_size, "WINDOWS_CAPS", {"cpu": 6})
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.apply, method, mesh=mesh, batch_size=size)
    call = explain._prepare(P, {"image": toy.images(count)}, 0, jax.random.key(0))
    execute = explain._execute
    for chunk in (execute.plan(call)[0].chunk, execute._batch_size.whole(call).chunk):
        assert (chunk == 1) == one
        if count == 2:  # of fewer images a few windows at a time
            assert chunk == 3


def planned(monkeypatch: pytest.MonkeyPatch, temporaries: Callable[[int], int]) -> int:
    """How many of 64 images "auto" takes at a time, by the temporaries of so many."""
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    call = explain._prepare(P, {"image": toy.images(64)}, 0, None)
    monkeypatch.setattr(memory, "free_bytes", lambda devices: 1e12)
    monkeypatch.setattr(
        memory,
        "temporary_bytes",
        lambda program: temporaries(program.args_info[0][1]["image"].shape[0]),
    )
    return explain._execute.plan(call)[0].images


@pytest.mark.parametrize(("single", "taken"), [(2**10, 32), (2**23, 4), (2**26, 32)])
def test_no_more_at_a_time_than_pays(
    monkeypatch: pytest.MonkeyPatch, single: int, taken: int
) -> None:
    """Temporaries of an evaluation: few, 8 MiB of the 32 MiB that pay, or beyond them anyhow."""
    assert planned(monkeypatch, lambda images: single * images) == taken


@pytest.mark.parametrize(("fixed", "taken", "programs"), [(2**26, 32, 2), (2**24, 8, 3)])
def test_what_is_there_for_any_number_of_images_is_no_reason_for_fewer(
    monkeypatch: pytest.MonkeyPatch, fixed: int, taken: int, programs: int
) -> None:
    """Copies of kernels, beside 2 MiB an image: beyond what pays by themselves, or half of it."""
    with toy.compilations() as counter:
        assert planned(monkeypatch, lambda images: fixed + 2**21 * images) == taken
    assert counter.count <= programs


def test_points_of_which_many_are_small_are_taken_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a GPU: as many as fill it, for a method that has points, and for no other."""
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    monkeypatch.setattr(memory, "free_bytes", lambda devices: 1e12)
    monkeypatch.setattr(memory, "temporary_bytes", lambda program: 2**20)
    monkeypatch.setitem(TEMPORARIES_TARGET, "cpu", 8.0 * 2**20)
    path, plain = (jaxsal.explainer(toy.apply, each, mesh=mesh) for each in (PATH, jaxsal.gradient))
    plans = [
        explain._execute.plan(explain._prepare(P, {"image": toy.images(4)}, 0, None))[0]
        for explain in (path, plain)
    ]
    cap = CAPS["cpu"]
    assert [(here.images, here.chunk) for here in plans] == [(4, 8 * cap // 4), (4, 1)]
    toy.close(path(P, toy.images(4), toy.targets(4)), reference(4)["path"])


def test_values_on_an_accelerator_are_looked_at_after_dispatch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(values, "is_on_cpu", lambda array: False)
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    images, targets = jax.device_put((toy.images(4), toy.targets(4)))
    toy.close(explain(P, images, targets), reference(4)["gradient"])
    broken, far = images.at[1, 0, 0].set(jnp.nan), targets.at[2].set(7)
    for call in (explain, explain.lower, explain.describe, explain.record, explain.identity):
        with pytest.raises(ValueError, match=r"images: expected finite"):
            call(P, broken, targets)
        with pytest.raises(ValueError, match=r"targets: expected classes in \[0, 3\), got 7"):
            call(P, images, far)
        with pytest.raises(ValueError, match=r"targets: .* got -1"):
            call(P, images, -jnp.ones(4, jnp.int8))
    toy.close(explain(P, images, targets.astype(jnp.uint8)), reference(4)["gradient"])


def test_what_is_wrong_in_host_memory_is_told_before_anything_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(values, "is_on_cpu", lambda array: False)
    explain, images = jaxsal.explainer(toy.apply, jaxsal.x_grad_cam), jax.device_put(toy.images(4))
    with toy.compilations() as made, pytest.raises(ValueError, match=r"targets: .* got 99"):
        explain(P, images, 99)
    assert made.count <= 1  # the one that looks at the images


def test_threads_do_not_mix_up_parameters() -> None:
    """Two models of one structure, and of different numbers of classes, called in turn."""

    def apply(params: dict, images: jax.Array) -> jax.Array:
        return images.reshape(len(images), -1) @ params["w"]

    explain, images = jaxsal.explainer(apply, jaxsal.gradient), toy.images(2)
    several = [{"w": jnp.ones((images[0].size, classes))} for classes in (3, 5)]
    cached = explain._prepare._parameters

    def seen(params: dict) -> bool:
        shapes = [cached(params)[0].signature.value[1][0][0] for _ in range(3000)]
        return set(shapes) == {params["w"].shape}

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(seen, several))
    finally:
        sys.setswitchinterval(before)


def test_a_given_mesh_inside_jit_under_another_that_is_set() -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("batch",))
    explain, images = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh), toy.images(4)
    expected = explain(P, images, 0)
    with jax.set_mesh(mesh):
        toy.close(jax.jit(lambda params: explain(params, images, 0))(P), expected)


def test_parameters_are_known_again_and_looked_through_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    explain, images = jaxsal.explainer(toy.apply, jaxsal.gradient), toy.images(4)
    params = jax.device_put(toy.params(2))
    first = explain(params, images, 0)
    seen = []
    real = checks.check_params
    monkeypatch.setattr(checks, "check_params", lambda tree: seen.append(tree) or real(tree))
    toy.close(explain(params, images, 0), first)
    assert not seen
    other = {**params, "conv": params["conv"] + 1}
    assert np.abs(explain(other, images, 0) - first).max() > 1e-3
    host = jax.tree.map(np.array, params)  # NumPy's may change meanwhile
    toy.close(explain(host, images, 0), first)
    host["conv"] += 1
    toy.close(explain(host, images, 0), explain(other, images, 0))
    assert len(seen) == 3


def test_where_memory_runs_out_half_as_many_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, expected = [], reference(13)["gradient"]
    real = execute.compiled

    def compiled(*program: object, **options: object) -> object:
        run = real(*program, **options)

        def limited(shared: object, rows: dict) -> object:
            sizes.append(rows["image"].shape[0])
            if sizes[-1] > 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            return run(shared, rows)

        limited.lower = run.lower
        return limited

    monkeypatch.setattr(execute, "compiled", compiled)
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    toy.close(explain(P, toy.images(13), toy.targets(13)), expected)
    assert sizes == [16, 7, 4, 4, 4, 4]  # 16 evaluations would hold 13 images, as 32 do
    sizes.clear()
    explain(P, toy.images(13), toy.targets(13))
    assert sizes == [4, 4, 4, 4]


def test_maps_of_one_image_are_not_tried_again_where_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All maps of an image are in flight together: no half of them takes less."""
    tried = []

    def compiled(*program: object, **options: object) -> object:
        def exhausted(shared: object, rows: dict) -> object:
            tried.append(rows["image"].shape[0])
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

        return exhausted

    monkeypatch.setattr(execute, "compiled", compiled)
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    evaluate = jaxsal.evaluator(toy.apply, jaxsal.metrics.deletion, steps=2, mesh=mesh)
    maps = {str(number): toy.images(2) for number in range(20)}
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        evaluate(P, toy.images(2), maps, 0)
    assert tried == [1]


def test_where_compiling_runs_out_of_memory_half_as_many_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, sizes = BatchSize._measure, []

    def measure(self: object, placed: object, here: object) -> object:
        sizes.append(here.images)
        if here.images > 8:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: while trying algorithms")
        return real(self, placed, here)

    monkeypatch.setattr(BatchSize, "_measure", measure)
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    toy.close(explain(P, toy.images(64), toy.targets(64)), reference(64)["gradient"])
    assert sizes == [32, 16, 8]


def test_a_warm_call_is_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    explain, images = jaxsal.explainer(toy.linear, jaxsal.gradient), toy.images(4, shape=(4,))
    weights = jnp.asarray(toy.images(3, shape=(4,)).T)
    first, planned, real = explain(weights, images, 0), [], batch_size.plan
    monkeypatch.setattr(
        batch_size, "plan", lambda *sizes, **more: planned.append(sizes) or real(*sizes, **more)
    )
    toy.close(explain(weights, images, 0), first, 0)
    assert len(planned) == 1
