"""The explainer as a part of the user's own programs: jit, vmap, grad, shard_map, export."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

import jaxsal
from jaxsal.compiler import placement
from tests import toy

P = toy.params()
KEY = jax.random.key(0)
NOISY = functools.partial(jaxsal.integrated_gradients, steps=2)
METHODS = {"gradient": jaxsal.gradient, "path": NOISY}


@functools.cache
def reference(count: int) -> dict:
    explain = jaxsal.explainer(toy.apply, METHODS, rewrite=False)
    return jax.device_get(explain(P, toy.images(count), toy.targets(count)))


@pytest.mark.parametrize("batch_size", ["auto", 1, 3, 4])
def test_inside_jit(batch_size: object) -> None:
    explain = jaxsal.explainer(toy.apply, METHODS, batch_size=batch_size)
    toy.close(jax.jit(explain)(P, toy.images(4), toy.targets(4)), reference(4))


@pytest.mark.parametrize(("batch_size", "loops"), [("auto", False), (2, True), (4, False)])
def test_inside_jit_a_number_is_a_loop_and_auto_the_whole_batch(
    batch_size: object, loops: bool
) -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, batch_size=batch_size)
    program = str(jax.make_jaxpr(explain)(P, toy.images(4), toy.targets(4)))
    assert ("scan[" in program) == loops


def test_inside_jit_nothing_else_is_compiled() -> None:
    explain = jax.jit(jaxsal.explainer(toy.apply, METHODS))
    given = (jax.device_put(P), jax.device_put(toy.images(4)), jax.device_put(toy.targets(4)))
    with toy.compilations() as counter:
        explain(*given)
    assert counter.count == 1


def test_inside_vmap() -> None:
    images = toy.images(6).reshape(2, 3, *toy.SHAPE)
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    maps = jax.vmap(explain, in_axes=(None, 0, 0))(P, images, toy.targets(6).reshape(2, 3))
    toy.close(maps.reshape(6, *toy.SHAPE), reference(6)["gradient"])


@pytest.mark.parametrize("compiled", [True, False])
def test_the_gradient_of_a_function_of_the_maps(compiled: bool) -> None:
    """Of a quadratic model s = xᵀQx/2: the map is Qx, and half its square has the gradient Q²x."""
    root = toy.images(1, shape=(6, 6))[0]
    quadratic = jnp.asarray(root + root.T)

    def apply(params: jax.Array, images: jax.Array) -> jax.Array:
        return jnp.sum(images @ params * images, axis=-1, keepdims=True) / 2

    explain = jaxsal.explainer(apply, jaxsal.gradient)

    def energy(params: jax.Array, images: jax.Array) -> jax.Array:
        return jnp.sum(explain(params, images, 1) ** 2) / 2

    images = toy.images(3, shape=(6,))
    derivative = jax.grad(energy, argnums=(0, 1))
    by_params, by_images = (jax.jit(derivative) if compiled else derivative)(quadratic, images)
    toy.close(by_images, images @ quadratic @ quadratic)
    maps = images @ quadratic
    toy.close((by_params + by_params.T) / 2, (maps.T @ images + images.T @ maps) / 2)
    _, tangent = jax.jvp(lambda x: energy(quadratic, x), (images,), (images,))
    toy.close(tangent, jnp.sum(maps**2))  # energy is homogeneous of degree two


def test_a_penalty_on_relevance_outside_a_mask_falls() -> None:
    images, targets = toy.images(8), toy.targets(8)
    outside = np.ones((8, *toy.SHAPE), np.float32)
    outside[:, 2:6, 2:6] = 0
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)

    def penalty(params: dict) -> jax.Array:
        return jnp.mean((explain(params, images, targets) * outside) ** 2)

    def loss(params: dict) -> jax.Array:
        logits = jax.nn.log_softmax(toy.apply(params, images))
        return -jnp.mean(logits[jnp.arange(8), targets]) + penalty(params)

    @jax.jit
    def step(params: dict) -> dict:
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    before, params = penalty(P), P
    for _ in range(20):
        params = step(params)
    assert float(penalty(params)) < 0.5 * float(before)
    assert float(loss(params)) < float(loss(P))


def over_four_devices(explain):
    """The explainer inside the user's own `shard_map`, types checked."""
    return jax.jit(
        jax.shard_map(
            explain,
            mesh=jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,)),
            in_specs=(Spec(), Spec("data"), Spec("data")),
            out_specs=Spec("data"),
            check_vma=True,
        )
    )


def test_inside_shard_map() -> None:
    explain = jaxsal.explainer(toy.apply, METHODS, batch_size=1)
    toy.close(over_four_devices(explain)(P, toy.images(8), toy.targets(8)), reference(8))


def test_draws_are_an_images_own_by_a_key_an_image() -> None:
    """Of one key the images of each shard draw as the first ones of a call do."""
    explain = jaxsal.explainer(toy.apply, jaxsal.smoothgrad(jaxsal.gradient, samples=1))
    images, keys = np.repeat(toy.images(1), 4, 0), jax.random.split(KEY, 4)
    first = explain(P, images, 0, key=KEY)[:1]
    of_one = over_four_devices(lambda params, images, _: explain(params, images, 0, key=KEY))
    toy.close(of_one(P, images, toy.targets(4)), np.repeat(first, 4, 0))
    of_each = over_four_devices(lambda params, images, keys: explain(params, images, 0, key=keys))
    expected = explain(P, images, 0, key=keys)
    toy.close(of_each(P, images, keys), expected)
    assert len(np.unique(np.asarray(expected).sum((1, 2, 3)))) == 4


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize(
    "baseline",
    [np.full(toy.SHAPE, 0.3, np.float32), lambda image: jnp.full(image.shape, 0.3)],
    ids=["an image", "a function"],
)
def test_baselines_inside_shard_map(baseline: Any, rewrite: bool) -> None:
    method = functools.partial(jaxsal.integrated_gradients, steps=3)
    explain = jaxsal.explainer(toy.apply, method, baseline=baseline, rewrite=rewrite)
    expected = explain(P, toy.images(4), toy.targets(4))
    toy.close(over_four_devices(explain)(P, toy.images(4), toy.targets(4)), expected)


def test_a_gradient_through_maps_on_a_mesh_of_explicit_axes() -> None:
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    images = jax.device_put(toy.images(4), NamedSharding(mesh, Spec("data")))
    params = jax.device_put(P, NamedSharding(mesh, Spec()))
    explain = jaxsal.explainer(toy.apply, jaxsal.input_x_gradient)

    def loss(params: Any, images: Any) -> Any:
        return jnp.sum(explain(params, images, toy.targets(4)) ** 2)

    found = jax.jit(jax.grad(loss))(params, images)
    toy.close(found, jax.grad(loss)(P, toy.images(4)))


def test_constants_inside_jit_are_a_part_of_its_program() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient)
    images, targets = jnp.asarray(toy.images(4)), toy.targets(4)
    maps = jax.jit(lambda factor: factor * explain(P, images, targets))(2.0)
    toy.close(maps, 2 * np.asarray(reference(4)["gradient"]))
    text = jax.jit(lambda factor: factor * explain(P, images, targets)).lower(2.0).as_text()
    assert "sharding" not in text  # nothing is placed there


def test_layers_and_windows_inside_shard_map() -> None:
    """Casts of values to the mesh's axes stand in the program there, some inside of ReLU."""
    names = ("grad_cam", "grad_cam_plus_plus", "x_grad_cam", "eigen_cam", "score_cam")
    methods = {name: jaxsal.METHODS[name] for name in names}
    methods["occlusion"] = functools.partial(jaxsal.occlusion, window=3, stride=2)
    explain = jaxsal.explainer(toy.apply, methods)
    expected = explain(P, toy.images(4), toy.targets(4))
    toy.close(over_four_devices(explain)(P, toy.images(4), toy.targets(4)), expected)


@pytest.mark.parametrize("given", [True, False])
def test_meshes_inside_jit(given: bool) -> None:
    plain = Mesh(np.array(jax.devices()[:4]), ("data",))
    mesh = plain if given else jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    images = toy.images(6 if given else 8)
    if not given:
        images = jax.device_put(images, NamedSharding(mesh, Spec("data")))
    explain = jaxsal.explainer(toy.apply, METHODS, mesh=mesh if given else None)
    params = jax.device_put(P, NamedSharding(mesh, Spec()))
    maps = jax.jit(explain)(params, images, toy.targets(len(images)))
    toy.close(maps, reference(len(images)))


SPREAD = {"images": ("image",), "targets": ("target",), "both": ("image", "target"), "weights": ()}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("what", SPREAD)
def test_arrays_on_a_mesh_of_explicit_axes_inside_jit(what: str, given: bool) -> None:
    """Any of them, of a batch that is padded too: six images on the four devices of `mesh=`."""
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    rows = {"image": toy.images(6), "target": toy.targets(6)}
    params = dict(P)
    for name in SPREAD[what]:
        rows[name] = jax.device_put(rows[name], NamedSharding(mesh, Spec("data")))
    if what == "weights":
        channels = NamedSharding(mesh, Spec(None, None, None, "model"))
        params["conv"] = jax.device_put(P["conv"], channels)
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh if given else None)
    expected = reference(6)["gradient"]
    toy.close(jax.jit(explain)(params, rows["image"], rows["target"]), expected)
    with jax.set_mesh(mesh):
        toy.close(jax.jit(explain)(params, rows["image"], rows["target"]), expected)


def test_targets_that_are_traced_and_out_of_range_give_no_map() -> None:
    explain = jaxsal.explainer(toy.apply, METHODS)
    for wrong in (-1, 3, 2**31 - 1):
        maps = jax.jit(explain)(P, toy.images(4), np.array([0, wrong, 2, 0], np.int32))
        nan = jax.tree.map(lambda x: np.isnan(x).all(axis=(1, 2, 3)), jax.device_get(maps))
        np.testing.assert_array_equal(nan["gradient"], [False, True, False, False])
        np.testing.assert_array_equal(nan["path"], [False, True, False, False])
    maps = jax.jit(explain)(P, toy.images(1), np.array([2**32 - 1], np.uint32))
    assert np.isnan(maps["gradient"]).all()


def test_keys_that_are_traced() -> None:
    explain = jaxsal.explainer(toy.apply, jaxsal.smoothgrad(jaxsal.gradient, samples=1))
    expected = explain(P, toy.images(2), 0, key=KEY)
    for key in (KEY, jax.random.key_data(KEY)):
        toy.close(jax.jit(explain)(P, toy.images(2), 0, key=key), expected)


ABSTRACT = (
    jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), P),
    jax.ShapeDtypeStruct((4, *toy.SHAPE), jnp.float32),
    jax.ShapeDtypeStruct((4,), jnp.int32),
)


def test_lowered_from_shapes_and_compiled() -> None:
    explain = jaxsal.explainer(toy.apply, METHODS)
    compiled = explain.lower(*ABSTRACT).compile()
    toy.close(compiled(P, toy.images(4), toy.targets(4)), reference(4))
    assert compiled.memory_analysis().argument_size_in_bytes > 0
    every = explain.lower(*ABSTRACT[:2], "all").compile()(P, toy.images(4))
    assert every["path"].shape == (4, toy.CLASSES, *toy.SHAPE)


def test_lowered_for_a_mesh() -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    explain = jaxsal.explainer(toy.apply, jaxsal.gradient, mesh=mesh)
    for count in (3, 4):
        images = jax.ShapeDtypeStruct((count, *toy.SHAPE), jnp.float32)
        maps = explain.lower(ABSTRACT[0], images, 0).compile()(P, toy.images(count), 0)
        assert maps.devices() == set(jax.devices()[:2])
        toy.close(maps, jaxsal.explainer(toy.apply, jaxsal.gradient)(P, toy.images(count), 0))


def test_exported_and_called() -> None:
    explain = jaxsal.explainer(toy.apply, METHODS)
    written = jax.export.export(explain)(*ABSTRACT).serialize()
    exported = jax.export.deserialize(written)
    toy.close(exported.call(P, toy.images(4), toy.targets(4)), reference(4))
    every = jax.export.export(explain)(*ABSTRACT[:2], "all").call(P, toy.images(4))
    assert every["path"].shape == (4, toy.CLASSES, *toy.SHAPE)


SCATTER = '"stablehlo.select_and_scatter"('
POOLED = {"kernel": jnp.ones((3, 3, 1, 2))}


def pooled(params: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """A model whose gradient the rules for GPUs rewrite."""
    x = jax.nn.relu(jax.lax.conv(images, params["kernel"].transpose(3, 2, 0, 1), (1, 1), "SAME"))
    windows = (1, 1, 2, 2)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, windows, windows, "VALID").mean((2, 3))


@pytest.mark.parametrize("jitted", [True, False])
def test_an_exported_program_has_the_rules_of_the_platform_that_it_is_for(jitted: bool) -> None:
    explain: Any = jaxsal.explainer(pooled, jaxsal.gradient)
    images = toy.images(2, shape=(1, 8, 8))

    def exported(word: str) -> Any:
        whole = jax.jit(lambda *args: explain(*args)) if jitted else explain
        return jax.export.export(whole, platforms=[word])(POOLED, images, 1)

    counts = {w: exported(w).mlir_module().count(SCATTER) for w in ("tpu", "cuda")}
    assert counts == {"tpu": 1, "cuda": 0}
    read = jax.export.deserialize(exported("cpu").serialize())
    toy.close(read.call(POOLED, images, 1), explain(POOLED, images, 1))


def test_a_program_for_a_mesh_has_the_rules_of_its_devices(monkeypatch: Any) -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    explain = jaxsal.explainer(pooled, jaxsal.gradient, mesh=mesh)
    images = toy.images(2, shape=(1, 8, 8))
    for platform, count in {"tpu": 1, "gpu": 0}.items():
        monkeypatch.setattr(placement.Placement, "platform", platform)
        text = explain.lower(POOLED, images, 1).as_text()
        assert text.count(SCATTER) == count


@pytest.mark.parametrize("score", [lambda score: score, lambda s: jaxsal.neuron(s, None, 0)])
def test_a_method_knows_the_platform_that_it_is_for(monkeypatch: Any, score: Any) -> None:
    """Through a score that another is made of, too."""
    told = []

    def method(given: jaxsal.ScoreFn, image: jax.Array) -> jax.Array:
        told.append(score(given).platform)  # type: ignore[attr-defined]
        return image

    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    explain = jaxsal.explainer(toy.apply, method, mesh=mesh, check=False)
    for platform in ("cpu", "tpu"):
        monkeypatch.setattr(placement.Placement, "platform", platform)
        explain.lower(P, toy.images(2), 1)
        assert set(told) == {platform}
        told.clear()


def test_an_explainer_of_baselines_exports_too() -> None:
    baseline = np.full(toy.SHAPE, 0.5, np.float32)
    explain = jaxsal.explainer(toy.apply, jaxsal.integrated_gradients, steps=2, baseline=baseline)
    exported = jax.export.export(explain)(*ABSTRACT[:2], 1)
    toy.close(exported.call(P, toy.images(4), 1), explain(P, toy.images(4), 1))


def test_a_batch_size_is_of_each_device_of_a_mesh() -> None:
    """Each computes its own images, two at a time, however many there are; none computes all."""
    count = 48
    images, targets = toy.images(count), toy.targets(count)
    temporaries, found = {}, {}
    for devices in (1, 8):
        mesh = jax.make_mesh((devices,), ("batch",), devices=jax.devices()[:devices])
        explain = jaxsal.explainer(toy.apply, jaxsal.gradient, batch_size=2, mesh=mesh)
        rows = slice(count // 8 * devices)
        run = jax.jit(explain).lower(P, images[rows], targets[rows]).compile()
        assert "all-gather" not in run.as_text()
        temporaries[devices] = run.memory_analysis().temp_size_in_bytes
        found[devices] = run(P, images[rows], targets[rows])
    assert temporaries[8] <= 1.2 * temporaries[1]
    toy.close(found[8], jaxsal.explainer(toy.apply, jaxsal.gradient)(P, images, targets))
