"""Values with components of a model file: in the order of the golden pack, and as data describe them."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import yaml
from toy_models import examples
from toy_outputs import Outputs, export_outputs
from toy_turning import DESCRIBED, export_turning, references

from mtt.__main__ import main
from mtt.data.structure import Structure
from mtt.evaluation.predict import open_model


def structures() -> list[Structure]:
    return [Structure(one.types, one.positions, one.cell, one.pbc) for one in examples()]


def test_rows_are_those_of_the_golden_pack(tmp_path: Path) -> None:
    predictor = open_model(export_turning(tmp_path / "model.pt"))
    assert {target.name for target in predictor.targets} == set(DESCRIBED)
    for example, prediction in zip(examples(), predictor.predict(structures()), strict=True):
        expected = references(Outputs().eval(), example)
        for target in predictor.targets:
            part = "atoms" if target.per == "atom" else "total"
            values = expected[f"{target.name}/{part}"].numpy()
            np.testing.assert_allclose(
                prediction[target.name].values, values, rtol=1e-9, atol=1e-9, err_msg=target.name
            )
            # A system without a volume has no stress.
            nothing = target.per_volume and not example.pbc.all()
            assert bool(np.isnan(prediction[target.name].values).all()) == nothing


def test_data_say_what_a_file_of_others_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export_outputs(Path("model.pt"), Outputs, ["energy", "mtt::dipole"])
    frames = []
    for example in examples()[:3]:
        dipole = references(Outputs().eval(), example)["mtt::dipole/total"]
        atoms = ase.Atoms(example.types, example.positions, cell=example.cell, pbc=example.pbc)
        atoms.info["dipole"] = dipole.to(torch.float64).numpy() + np.array([0.0, 0.25, 0.0])
        frames.append(atoms)
    ase.io.write("data.xyz", frames, format="extxyz")
    target = {"type": "vector", "unit": "e*angstrom"}
    Path("eval.yaml").write_text(
        yaml.safe_dump({"systems": "data.xyz", "targets": {"mtt::dipole": target}})
    )
    assert main(["eval", "model.pt", "eval.yaml"]) == 0
    errors = json.loads(Path("predictions.json").read_text())["errors"]["mtt::dipole"]
    assert errors["values"] == 9 and errors["mae"] == pytest.approx(0.25 / 3, rel=1e-6)


def test_another_type_in_the_data_than_in_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export_turning(Path("model.pt"))
    atoms = ase.Atoms("Cu", info={"tensor": np.arange(3.0)})
    ase.io.write("data.xyz", atoms, format="extxyz")
    target = {"per": "atom", "unit": "eV", "type": "spherical", "irreps": [{"o3_lambda": 1}]}
    Path("eval.yaml").write_text(
        yaml.safe_dump({"systems": "data.xyz", "targets": {"mtt::tensor": target}})
    )
    assert main(["eval", "model.pt", "eval.yaml"]) == 2
    error = capsys.readouterr().err
    assert "'mtt::tensor' has type spherical of [(1, 1)] and 1 properties in the data" in error
    assert "and type matrix and 1 properties in the model" in error


def test_other_numbers_than_the_data_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export_outputs(Path("model.pt"), Outputs, ["energy", "mtt::dipole"])
    atoms = ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], info={"dipole": 0.5})
    ase.io.write("data.xyz", atoms, format="extxyz")
    Path("eval.yaml").write_text("systems: data.xyz\ntargets: {mtt::dipole: {unit: e*angstrom}}\n")
    assert main(["eval", "model.pt", "eval.yaml"]) == 2
    assert "it gives 3 numbers for 'mtt::dipole', and not 1" in capsys.readouterr().err
    assert not Path("predictions.xyz").exists()
