"""Weights of a ResNet are the same network in whichever layout they were written."""

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization

from jaxsal import cli
from jaxsal.models import ResNet
from jaxsal.training import checkpoint, parameter_files, pretrained
from tests.data import collections as kept
from tests.training import torchvision_logits as peer

BLOCKS, WIDTH = (1, 2), 2
IMAGES = jnp.asarray(np.random.default_rng(0).random((1, 16, 16, 3)), jnp.float32)


@pytest.fixture(scope="module")
def variables() -> dict:
    """Of a small residual network, statistics drawn too."""
    model = ResNet(4, BLOCKS, WIDTH)
    flat = parameter_files.flatten(jax.jit(model.init)(jax.random.key(0), IMAGES))
    random = np.random.default_rng(1)
    drawn = {n: random.uniform(0.5, 1.5, a.shape).astype(np.float32) for n, a in flat.items()}
    return parameter_files.nest({n: drawn[n] if a.ndim == 1 else a for n, a in flat.items()})


def torch(variables: dict) -> dict[str, np.ndarray]:
    """As PyTorch names and lays out the same arrays."""
    stages = [(stage, j) for stage, count in enumerate(BLOCKS, 1) for j in range(count)]
    norms = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    written = {"bn1.num_batches_tracked": np.array(3)}
    for name, array in parameter_files.flatten(variables).items():
        *layers, kind = name.split("/")[1:]
        if layers[0] == "Dense_0":
            own = {"kernel": "fc.weight", "bias": "fc.bias"}[kind]
            written[own] = array.T
            continue
        module, number = layers[-1].split("_")
        kernel = module == "Conv"
        prefix = ""
        if len(layers) == 2:
            stage, j = stages[int(layers[0].split("_")[1])]
            prefix = f"layer{stage}.{j}."
        last = f"{'conv' if kernel else 'bn'}{int(number) + 1}"
        if number == "3":
            last = f"downsample.{0 if kernel else 1}"
        own = "weight" if kernel else norms[kind]
        written[f"{prefix}{last}.{own}"] = array.transpose(3, 2, 0, 1) if kernel else array
    return written


def flax(variables: dict) -> dict:
    """As Flax's example of ImageNet names them."""

    def renamed(name: str) -> str:
        name = name.replace("Bottleneck_", "BottleneckResNetBlock_")
        if "Bottleneck" in name:
            return name.replace("/Conv_3/", "/conv_proj/").replace("/BatchNorm_3/", "/norm_proj/")
        return name.replace("/Conv_0/", "/conv_init/").replace("/BatchNorm_0/", "/bn_init/")

    flat = parameter_files.flatten(variables)
    return parameter_files.nest({renamed(name): array for name, array in flat.items()})


def _write(layout: str, variables: dict, folder):
    if layout == "torch.npz":
        np.savez(folder / layout, **torch(variables))
    elif layout == "torch.safetensors":
        package = pytest.importorskip("safetensors.numpy")
        arrays = {name: np.ascontiguousarray(array) for name, array in torch(variables).items()}
        package.save_file(arrays, folder / layout)
    elif layout == "flax.msgpack":
        (folder / layout).write_bytes(serialization.msgpack_serialize(flax(variables)))
    else:
        np.savez(folder / layout, **parameter_files.flatten(variables))
    return folder / layout


@pytest.mark.parametrize("layout", ["torch.npz", "torch.safetensors", "flax.msgpack", "jaxsal.npz"])
def test_every_layout_is_the_same_network(layout, variables, tmp_path) -> None:
    found = pretrained.load(_write(layout, variables, tmp_path))
    assert (found.blocks, found.width, found.channels) == (BLOCKS, WIDTH, 3)
    model = found.model(2, (), ())
    assert model.mean == pretrained.MEAN and model.classes == 2
    fresh = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    fresh = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 7, leaf.dtype), fresh)
    filled, own = (parameter_files.flatten(v) for v in (found.fill(fresh), variables))
    for name, array in filled.items():
        expected = 7 if "Dense_0" in name else own[name]
        np.testing.assert_array_equal(array, np.broadcast_to(expected, array.shape))


def test_the_network_is_torchvisions(tmp_path) -> None:
    """Strides, padding, the epsilon: on sides that no stride divides each would tell."""
    arrays = peer.weights()
    np.savez(tmp_path / "w.npz", **arrays)
    found = pretrained.load(tmp_path / "w.npz")
    model = ResNet(peer.CLASSES, found.blocks, found.width)
    fresh = jax.eval_shape(model.init, jax.random.key(0), peer.image())
    fresh = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), fresh)
    variables = found.fill(fresh)
    variables["params"]["Dense_0"] = {"kernel": arrays["fc.weight"].T, "bias": arrays["fc.bias"]}
    logits = jax.jit(model.apply)(variables, peer.image())
    np.testing.assert_allclose(logits[0], peer.LOGITS, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"x": np.zeros(2)}, r"init: .* holds \['x'\], expected a ResNet"),
        (lambda a: {"conv1.weight": a["conv1.weight"]}, "found none"),
        (lambda a: a | {"bn1.bias": np.zeros(9)}, r"BatchNorm_0/bias of shape \(2,\), got \(9,\)"),
        (lambda a: {n: v for n, v in a.items() if n != "bn1.bias"}, "got none"),
    ],
)
def test_what_does_not_fit_is_named(change, message, variables, tmp_path) -> None:
    np.savez(tmp_path / "w.npz", **change(torch(variables)))
    with pytest.raises(ValueError, match=message):
        found = pretrained.load(tmp_path / "w.npz")
        fresh = jax.eval_shape(found.model(2, (), ()).init, jax.random.key(0), IMAGES)
        found.fill(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), fresh))


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.msgpack", "w.pt", "w.txt"])
def test_an_error_names_init_whatever_the_file_is(name, tmp_path) -> None:
    for _ in range(2):  # missing, then broken
        with pytest.raises(ValueError, match=rf"^init: .*{name}"):
            pretrained.load(tmp_path / name)
        (tmp_path / name).write_bytes(b"\x81broken")


def test_an_array_alone_is_no_network(tmp_path) -> None:
    np.save(tmp_path / "w.npy", np.zeros(2))
    with pytest.raises(ValueError, match=r"^init: w.npy holds \['one array'\], expected a ResNet"):
        pretrained.load(tmp_path / "w.npy")


def test_a_folder_of_orbax_is_known_by_the_weights_that_are_used(variables, tmp_path) -> None:
    """Not by an optimizer's state, which is lists of dicts, nor by the last layer."""
    norm = {"bias": np.full(WIDTH, 7.0), "scale": np.ones(WIDTH)}
    kept = flax(variables)
    trees = {
        "a": kept,
        "again": kept,
        "trained on": {**kept, "opt_state": ({"trace": np.ones(3)}, {"count": 2}), "step": 3},
        "other": {**kept, "params": {**kept["params"], "bn_init": norm}},
    }
    digests = []
    for name, tree in trees.items():
        ocp.PyTreeCheckpointer().save(tmp_path / name, tree)
        found = pretrained.load(tmp_path / name)
        digests.append(found.digest)
        assert (found.blocks, found.width, found.channels) == (BLOCKS, WIDTH, 3)
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_means_and_deviations_are_taken_off() -> None:
    plain = ResNet(2, (1,), 2)
    shifted = ResNet(2, (1,), 2, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
    variables = jax.jit(plain.init)(jax.random.key(0), IMAGES)
    moved = (IMAGES - jnp.array([[[[0.5, 0.4, 0.3]]]])) / jnp.array([[[[0.2, 0.2, 0.1]]]])
    expected = jax.jit(plain.apply)(variables, moved)
    np.testing.assert_allclose(jax.jit(shifted.apply)(variables, IMAGES), expected, rtol=1e-4)


def test_training_goes_on_from_them(variables, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path / "cache"))
    folder = kept.write(tmp_path / "set", kept.YES_NO)
    weights = _write("torch.npz", variables, tmp_path)
    options = ["train", "--images", folder, "--out", tmp_path / "net", "--init", weights]
    options += ["--epochs", 1, "--image-size", 32, "--learning-rate", 1e-9]
    assert cli.main([str(each) for each in options]) == 0
    assert "images read in colour" in capsys.readouterr().out
    saved = checkpoint.load(tmp_path / "net")
    own, given = (parameter_files.flatten(v) for v in (saved.variables, variables))
    name = "params/Bottleneck_1/Conv_1/kernel"
    np.testing.assert_allclose(own[name], given[name], atol=1e-5)
    assert own["params/Dense_0/kernel"].shape == (given["params/Dense_0/kernel"].shape[0], 2)
    assert saved.apply(saved.variables, IMAGES).shape == (1, 2)
