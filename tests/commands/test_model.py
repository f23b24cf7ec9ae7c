"""A model of one's own: its parameters from each kind of file, put where it expects them."""

import json
import sys
from pathlib import Path

import flax.linen as nn
import flax.serialization
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

import jaxsal
from jaxsal import cli
from jaxsal.commands import model
from jaxsal.training.parameter_files import flatten, nest
from tests import toy

eqx = pytest.importorskip("equinox")
ONE = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(3)(nn.relu(nn.Conv(4, (3, 3))(x)).reshape(len(x), -1))


class Nnx(nnx.Module):
    def __init__(self, seed: int) -> None:
        rngs = nnx.Rngs(seed)
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.drop(nnx.relu(self.conv(x)).mean((1, 2))))


linen = Linen()
nnx_model = Nnx(0)
nnx_model.eval()
eqx_model = eqx.nn.Sequential(
    [eqx.nn.Lambda(jnp.ravel), eqx.nn.MLP(64, 3, 4, 1, key=jax.random.key(0))]
)


def flat(params: dict, images: jax.Array) -> jax.Array:
    """Of names that are not nested, as a PyTorch state dict has."""
    return toy.apply({name: params[f"layer.{name}"] for name in toy.params()}, images)


def save(path: Path, tree: dict) -> None:
    """Nested dicts of arrays, as the makers of each kind of file write them."""
    names = flatten(tree)
    dotted = {name.replace("/", "."): array for name, array in names.items()}
    if path.name == "dots.npz":
        np.savez(path, **dotted)
    elif path.suffix == ".npz":
        np.savez(path, **names)
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file(dotted, path)
    elif path.suffix == ".msgpack":
        path.write_bytes(flax.serialization.msgpack_serialize(tree))
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in names.items():
                file[name] = array
    else:
        with ocp.StandardCheckpointer() as writer:
            writer.save(path.absolute(), tree)


KINDS = ("p.npz", "dots.npz", "p.safetensors", "p.msgpack", "p.weights.h5", "orbax")


def arrays(tree: dict) -> dict:
    return jax.tree.map(np.asarray, tree)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    np.save("x.npy", toy.images(2))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_explained_from_each_kind_of_file(kind, here, capsys) -> None:
    save(here / kind, arrays(toy.params()))
    model = ("--apply", "tests.toy:apply", "--params", kind, "--images", "x.npy")
    options = ("--method", "gradient", "--classes", "a, b$1$, c", "--out", "out", "--json")
    assert cli.main(["explain", *model, *options]) == 0
    assert json.loads(capsys.readouterr().out)["explained"] == 2
    index = json.loads((here / "out/index.json").read_text())
    expected = np.asarray(toy.apply(toy.params(), toy.images(2)))
    np.testing.assert_allclose([each["logits"] for each in index], expected, rtol=1e-4)
    named = ["a", "b$1$", "c"]
    assert [each["predicted_class"] for each in index] == [named[k] for k in expected.argmax(-1)]


def placed(name: str, tree: dict, path: Path) -> model.Model:
    save(path, tree)
    return model.load(None, f"tests.commands.test_model:{name}", path).fitted(ONE)


@pytest.mark.parametrize("name", ["linen", "linen.apply"])
def test_linen_takes_its_params_with_and_without_the_collection(name, tmp_path) -> None:
    variables = linen.init(jax.random.key(3), jnp.zeros(ONE.shape))
    images, tree = toy.images(2), arrays(variables)
    expected = linen.apply(variables, images)
    state = {**tree, "step": np.int32(3), "opt_state": {"mu": tree["params"]}}
    for number, saved in enumerate((tree, tree["params"], state)):
        found = placed(name, saved, tmp_path / f"{number}.npz")
        np.testing.assert_allclose(found.apply(found.params, images), expected, rtol=1e-6)


def test_nnx_and_equinox_take_arrays_by_their_paths(tmp_path) -> None:
    images = toy.images(2)
    other = Nnx(5)
    other.eval()
    leaves = jax.tree_util.tree_flatten_with_path(nnx.state(other, nnx.Param))[0]
    dotted = {
        jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value"): leaf
        for path, leaf in leaves
    }
    found = placed("nnx_model", nest(arrays(dotted)), tmp_path / "p.npz")
    explain = jaxsal.explainer(found.apply, jaxsal.gradient)
    toy.close(
        explain(found.params, images, 0),
        jaxsal.explainer(lambda m, x: m(x), jaxsal.gradient)(other, images, 0),
    )
    trained = jax.tree.map(lambda x: 2 * x if eqx.is_array(x) else x, eqx_model)
    leaves = jax.tree_util.tree_flatten_with_path(eqx.filter(trained, eqx.is_array))[0]
    dotted = {jax.tree_util.keystr(p, simple=True, separator="."): x for p, x in leaves}
    found = placed("eqx_model", nest(arrays(dotted)), tmp_path / "q.npz")
    np.testing.assert_allclose(found.apply(found.params, images), jax.vmap(trained)(images))


def test_flat_names_are_tried_where_nested_ones_are_not_found(tmp_path) -> None:
    tree = {"layer": arrays(toy.params())}
    found = placed("flat", tree, tmp_path / "dots.npz")
    images = toy.images(2)
    np.testing.assert_allclose(
        found.apply(found.params, images), toy.apply(toy.params(), images), rtol=1e-5
    )


class Keras:
    """As much of a Keras model as the command asks for."""

    trainable_variables = non_trainable_variables = ()

    def __call__(self) -> None: ...

    def load_weights(self, path: Path) -> None:
        raise ValueError("Layer 'dense' expected shape (3, 4), got (3, 5)")


Keras.__module__, Keras.__name__ = "keras.layers", "Layer"
keras_model = Keras()


def wrong_dense() -> dict:
    tree = arrays(toy.params())
    return {**tree, "dense": tree["dense"][:32]}


def wrong_linen(**changes) -> dict:
    names = flatten(arrays(linen.init(jax.random.key(0), jnp.zeros(ONE.shape))))
    names = {k: v for k, v in (names | changes).items() if v is not None}
    return nest({name.replace("__", "/"): array for name, array in names.items()})


WRONG = {
    "a missing name": (
        "linen",
        wrong_linen(**{"params/Dense_0/kernel": None}),
        r"params: the model expected params.Dense_0.kernel \[256, 3\], which p.npz lacks; it has .*"
        r"params.Conv_0.kernel \[3, 3, 1, 4\]",
    ),
    "another shape": (
        "linen.apply",
        wrong_linen(**{"params/Conv_0/kernel": np.ones((3, 3, 3, 4), np.float32)}),
        r"params: params.Conv_0.kernel of p.npz is \[3, 3, 3, 4\], the model expected "
        r"\[3, 3, 1, 4\]",
    ),
    "one too many": (
        "linen",
        wrong_linen(**{"params/Conv_1/kernel": np.ones((3, 3, 3, 4), np.float32)}),
        r"params: p.npz has params.Conv_1.kernel \[3, 3, 3, 4\], of which the model knows nothing",
    ),
    "of a plain function": (
        "toy.apply",
        wrong_dense(),
        r"params: p.npz: the model failed at dense \[32, 3\]: .*\(2?64",
    ),
    "not there": (
        "toy.apply",
        {"convolution": np.ones(3)},
        r"params: p.npz: the model asked for conv; the file has convolution \[3\]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_first_parameter_that_does_not_fit_is_named(case, tmp_path) -> None:
    name, tree, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        placed(name, tree, tmp_path / "p.npz")


def test_keras_says_itself_what_does_not_fit(tmp_path) -> None:
    with h5py.File(tmp_path / "p.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones(3)
    with pytest.raises(ValueError, match=r"params: p.weights.h5 does not fit .*Layer 'dense'"):
        model.load(None, "tests.commands.test_model:keras_model", tmp_path / "p.weights.h5")


def test_keras_on_jax(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    images = toy.images(2)
    with jax.numpy_rank_promotion("allow"):
        made = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        made.save_weights(tmp_path / "p.weights.h5")
        monkeypatch.setattr(sys.modules[__name__], "keras_model", made)
        expected = np.asarray(made(images))
        made.set_weights([0 * w for w in made.get_weights()])
        found = model.load(None, f"{__name__}:keras_model", tmp_path / "p.weights.h5").fitted(ONE)
        np.testing.assert_allclose(
            found.apply(found.params, jnp.asarray(images)), expected, rtol=1e-5
        )
    with h5py.File(tmp_path / "p.weights.h5") as file:
        assert found.params[0][0].shape == file["layers/conv2d/vars/0"].shape


def half(image: np.ndarray) -> np.ndarray:
    return image / 2


def test_images_are_preprocessed_and_standardised(here, capsys) -> None:
    np.savez("p.npz", **toy.params())
    call = ["explain", "--apply", "tests.toy:apply", "--params", "p.npz", "--images", "x.npy"]
    call += ["--method", "gradient", "--out", "m.zarr", "--json"]
    steps = ["--preprocess", "tests.commands.test_model:half", "--mean", "0.5", "--std", "0.25"]
    assert cli.main([*call, *steps]) == 0
    import zarr

    found = zarr.open("m.zarr", mode="r")["logits"][:]
    expected = toy.apply(toy.params(), (toy.images(2) / 2 - 0.5) / 0.25)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for wrong, message in (
        (["--std", "0"], "std: expected numbers above 0"),
        (["--mean", "1", "2", "3"], "mean, std: expected one, or one a channel"),
        (["--preprocess", "tests.toy:nothing"], "preprocess: 'tests.toy:nothing' cannot be had"),
        (["--preprocess", "builtins:print"], "TypeError: expected an array, got NoneType"),
        (["--classes", "a,,b"], "classes: expected different names"),
        (["--classes", "a,b"], "classes: expected 3 names"),
    ):
        capsys.readouterr()
        assert cli.main([*call[:-2], "n.zarr", *wrong]) == 1
        assert message in capsys.readouterr().err


def test_haiku_and_what_orbax_wrote_of_any_framework(tmp_path, monkeypatch) -> None:
    """README's lines: each framework's own tree, by its own names, slashes in them or not."""
    hk = pytest.importorskip("haiku")
    images = jnp.asarray(toy.images(2))

    def network(x: jax.Array) -> jax.Array:
        return hk.nets.MLP([4, 3])(x.reshape(len(x), -1))

    f = hk.without_apply_rng(hk.transform(network))
    params = f.init(jax.random.key(2), images)
    monkeypatch.setattr(sys.modules[__name__], "haiku", f, raising=False)
    other = Nnx(3)
    other.eval()
    trained = jax.tree.map(lambda x: 2 * x if eqx.is_array(x) else x, eqx_model)
    trees = {
        "haiku.apply": (params, f.apply(params, images)),
        "nnx_model": (nnx.state(other), other(images)),
        "eqx_model": (eqx.filter(trained, eqx.is_array), jax.vmap(trained)(images)),
    }
    with ocp.StandardCheckpointer() as writer:
        for name, (tree, _) in trees.items():
            writer.save(tmp_path / name, tree)
    np.savez(
        tmp_path / "p.npz", **{f"{m}/{n}": w for m, ws in params.items() for n, w in ws.items()}
    )
    for name, (_, expected) in trees.items():
        for path in (tmp_path / name, *([tmp_path / "p.npz"] if "haiku" in name else [])):
            found = model.load(None, f"{__name__}:{name}", path).fitted(ONE)
            np.testing.assert_allclose(found.apply(found.params, images), expected, rtol=1e-5)
