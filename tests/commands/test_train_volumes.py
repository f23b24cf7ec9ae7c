"""`jaxsal train --volumes`: scans to a 3-D network, and its maps back onto the scans."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxsal import cli
from jaxsal.training import checkpoint

nibabel = pytest.importorskip("nibabel")

SMALL = ("--volumes", "--epochs", 1, "--image-size", 16, "--widths", 4, "--batch-size", 4)


def run(capsys, *arguments: object) -> dict:
    assert cli.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_network_of_volumes_is_trained_and_explained(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    affine = np.array([[-2.0, 0, 0, 9], [0, 0, 3, 1], [0, 2, 0, -4], [0, 0, 0, 1]])
    for label in ("no", "yes"):
        Path("scans", label).mkdir(parents=True)
        for number in range(5):
            values = draw.integers(0, 900, (16, 14, 12)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, affine), f"scans/{label}/{number}.nii.gz")
    done = run(capsys, "train", "--images", "scans", "--out", "net", *SMALL)
    assert np.sum(done["confusion"]) + done["trained_on"] + done["validated_on"] == 10
    saved = checkpoint.load("net")
    assert saved.volumes and saved.variables["params"]["Conv_0"]["kernel"].shape == (3, 3, 3, 1, 4)
    given = ("--checkpoint", "net", "--images", "scans/yes/0.nii.gz", "--method", "gradient")
    told = run(capsys, "explain", *given, "--out", "maps.nii.gz")
    assert told["explained"] == 1
    found = nibabel.load("maps.nii.gz")
    assert found.shape == (16, 14, 12) and np.isfinite(found.dataobj).all()
    assert np.ptp(found.dataobj) > 0
    np.testing.assert_array_equal(found.affine, affine)
    assert cli.main(["explain", *given, "--out", "m.zarr", "--slices", "axial"]) == 1
    assert "slices: the model is given whole scans" in capsys.readouterr().err
