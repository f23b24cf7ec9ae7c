"""Parameters are read from files of every kind, and never from a program."""

import pickle

import flax.serialization
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxsal.training import parameter_files


def test_nesting_is_the_inverse_of_flattening() -> None:
    tree = {"a": {"b": np.ones(2), "c": {"d": np.zeros(1)}}, "e": np.float32(3)}
    flat = parameter_files.flatten(tree)
    assert set(flat) == {"a/b", "a/c/d", "e"}
    assert jax.tree.structure(parameter_files.nest(flat)) == jax.tree.structure(tree)
    for names in (("a", "a/b"), ("a/b", "a")):
        with pytest.raises(ValueError, match="'a/b' lies inside an array"):
            parameter_files.nest(dict.fromkeys(names, np.ones(1)))


TREE = {"dense": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
FLAT = {"dense.kernel": TREE["dense"]["kernel"]}


def save(path) -> None:
    """`TREE` as the makers of each kind of file write it."""
    kernel = TREE["dense"]["kernel"]
    name = path.name
    if name.endswith(".npz"):
        between = "." if name == "dots.npz" else "/"
        np.savez(path, **{f"dense{between}kernel": kernel})
    elif name.endswith(".safetensors"):
        safetensors = pytest.importorskip("safetensors.numpy")
        safetensors.save_file(FLAT, path)
    elif name.endswith(".msgpack"):
        path.write_bytes(flax.serialization.msgpack_serialize(TREE))
    elif name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            file["dense/kernel"] = kernel
    elif name == "manager":
        with ocp.CheckpointManager(path) as manager:
            for step, tree in ((2, {"dense": {"kernel": 0 * kernel}}), (10, TREE)):
                manager.save(step, args=ocp.args.StandardSave(tree))
    else:
        with ocp.StandardCheckpointer() as writer:
            writer.save(path, TREE)


KINDS = ("p.npz", "dots.npz", "p.safetensors", "p.msgpack", "p.weights.h5", "orbax", "manager")


@pytest.mark.parametrize("name", KINDS)
def test_params_are_read_from_every_kind_of_file(name, tmp_path) -> None:
    save(tmp_path / name)
    found = parameter_files.read_params(tmp_path / name)
    assert jax.tree.structure(found) == jax.tree.structure(TREE)
    assert isinstance(found["dense"]["kernel"], np.ndarray)
    np.testing.assert_array_equal(found["dense"]["kernel"], TREE["dense"]["kernel"])


def test_an_array_alone_and_one_of_bfloat16(tmp_path) -> None:
    np.save(tmp_path / "p.npy", np.ones((2, 3)))
    assert parameter_files.read_params(tmp_path / "p.npy").shape == (2, 3)
    safetensors = pytest.importorskip("safetensors.flax")
    safetensors.save_file({"a.b": jnp.ones(2, jnp.bfloat16)}, tmp_path / "p.safetensors")
    found = parameter_files.read_params(tmp_path / "p.safetensors")
    assert found["a"]["b"].dtype == jnp.bfloat16


class Loud:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickles_are_refused_under_any_name(tmp_path, capsys) -> None:
    program = pickle.dumps(Loud())
    for name in (
        "p.pkl",
        "p.pt",
        "p.npz",
        "p.npy",
        "p.msgpack",
        "p.bin",
        "p.safetensors",
        "p.h5",
        "p.keras",
    ):
        (tmp_path / name).write_bytes(program)
        with pytest.raises(ValueError, match=r"params: .*p\."):
            parameter_files.read_params(tmp_path / name)
    for write, name in ((np.save, "o.npy"), (np.savez, "o.npz")):
        write(tmp_path / name, np.array([Loud()], object), allow_pickle=True)
        with pytest.raises(ValueError, match=r"params: .*cannot be read"):
            parameter_files.read_params(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.npz", "p.txt", "missing.msgpack", "."])
def test_files_that_are_none(name, tmp_path) -> None:
    for argument in ({}, {"name": "init"}):
        with pytest.raises(ValueError, match=f"^{argument.get('name', 'params')}: "):
            parameter_files.read_params(tmp_path / name, **argument)
