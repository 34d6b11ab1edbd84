"""Evaluation of models with several targets: which are predicted, and what the files then hold."""

import json
import zipfile
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from several_targets import TARGETS, export, potential_of, save
from small_runs import leave_undrawn

from mtt.data.read_files import read_plain
from mtt.errors import UserError
from mtt.evaluation import run as evaluate
from mtt.evaluation.predict import open_model

NAMES = ["energy", "energy/pbe", "mtt::u0", "mtt::charges"]
# Where the .xyz has them: colons cannot be in its names.
KEYS = {"energy": "energy", "energy/pbe": "energy/pbe", "mtt::u0": "u0", "mtt::charges": "charges"}
ALL = """
systems: data.xyz
targets:
  energy: {}
  energy/pbe: {key: pbe, unit: kcal/mol, forces: {key: pbe_forces}}
  mtt::u0: {quantity: energy, unit: Hartree}
  mtt::charges: {quantity: charge, per: atom, unit: e}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("model") / "model.pt", potential_of())


def frames() -> list[ase.Atoms]:
    """Three structures with references of every target; the last one has no charges."""
    rng = np.random.default_rng(0)
    crystal = bulk("CO", crystalstructure="rocksalt", a=3.6, cubic=True)
    frames = [molecule("CH3CH2OH"), crystal, molecule("H2O")]
    for number, atoms in enumerate(frames):
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
        atoms.info |= {"energy": -1.0 * number, "pbe": -20.0 * number, "u0": 0.5 * number}
        atoms.arrays["forces"] = rng.normal(size=(len(atoms), 3))
        atoms.arrays["pbe_forces"] = rng.normal(size=(len(atoms), 3))
        if number < 2:
            atoms.arrays["charges"] = rng.normal(size=len(atoms))
    return frames


@pytest.fixture
def drawn_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    ase.io.write(tmp_path / "data.xyz", frames(), format="extxyz")
    (tmp_path / "eval.yaml").write_text(ALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def folder(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where pictures are not drawn."""
    leave_undrawn(monkeypatch)
    return drawn_folder


def value(atoms: ase.Atoms, key: str) -> Any:
    """A value that was written, wherever ASE's reader puts it."""
    results = atoms.calc.results if atoms.calc is not None else {}
    for place in (atoms.info, atoms.arrays, results):
        if key in place:
            return place[key]
    raise KeyError(key)


def failure(*arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        evaluate.run(*arguments)
    return str(caught.value)


def test_all_targets_are_in_every_file(model: Path, drawn_folder: Path, capsys: Any) -> None:
    evaluate.run(model, Path("eval.yaml"))
    predictions = list(open_model(model).predict(read_plain(Path("data.xyz"))))
    written = ase.io.read("predictions.xyz", ":")
    errors: dict[str, list[float]] = {name: [] for name in NAMES}
    for original, atoms, prediction in zip(frames(), written, predictions, strict=True):
        for name in NAMES:
            expected = prediction[name]
            np.testing.assert_allclose(
                np.ravel(value(atoms, KEYS[name])), expected.values.ravel(), rtol=1e-12
            )
        np.testing.assert_allclose(atoms.get_forces(), prediction["energy"].forces, rtol=1e-12)
        forces = value(atoms, "forces/pbe")
        np.testing.assert_allclose(forces, prediction["energy/pbe"].forces, rtol=1e-12)
        forces = value(atoms, "u0_forces")
        np.testing.assert_allclose(forces, prediction["mtt::u0"].forces, rtol=1e-12)
        assert value(atoms, "reference_u0") == original.info["u0"]
        errors["mtt::u0"].append(prediction["mtt::u0"].values[0] - original.info["u0"])
        if "charges" in original.arrays:
            difference = prediction["mtt::charges"].values[:, 0] - original.arrays["charges"]
            errors["mtt::charges"] += difference.tolist()
    assert written[1].get_stress(voigt=False).shape == (3, 3)
    report = json.loads(Path("predictions.json").read_text())
    assert [target["name"] for target in report["targets"]] == NAMES
    rows = report["errors"]
    for name, unit, count in (("mtt::u0", "Hartree", 3), ("mtt::charges", "e", 17)):
        assert (rows[name]["unit"], rows[name]["values"]) == (unit, count)
        mean = np.abs(errors[name]).mean()
        assert rows[name]["mae"] == pytest.approx(mean, rel=1e-6)
    assert rows["energy/pbe_forces"]["unit"] == "kcal/mol/A"
    assert rows["energy_forces"]["values"] == 3 * (9 + 8 + 3)
    assert "mtt::u0_forces" not in rows
    assert Path("predictions.png").read_bytes()[1:4] == b"PNG"
    printed = capsys.readouterr().out
    for text in ("energy/pbe per atom", "mtt::charges", "kcal/mol/A"):
        assert text in printed


def test_a_checkpoint_predicts_the_same(model: Path, folder: Path) -> None:
    saved = save(Path("model.ckpt"), potential_of())
    structures = read_plain(Path("data.xyz"))
    predictors = [open_model(path) for path in (saved, model)]
    assert predictors[0].targets == predictors[1].targets
    both = [list(predictor.predict(structures)) for predictor in predictors]
    for first, second in zip(*both, strict=True):
        assert list(first) == list(second) == NAMES
        for name in NAMES:
            for part in ("values", "forces", "stress"):
                ours, theirs = (getattr(one[name], part) for one in (first, second))
                assert (ours is None) == (theirs is None)
                if ours is not None:
                    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_data_chooses_targets(model: Path, folder: Path) -> None:
    Path("eval.yaml").write_text(
        "systems: data.xyz\ntargets: {mtt::charges: {quantity: charge, per: atom}}\n"
    )
    evaluate.run(model, Path("eval.yaml"))
    report = json.loads(Path("predictions.json").read_text())
    assert [target["name"] for target in report["targets"]] == ["mtt::charges"]
    assert list(report["errors"]) == ["mtt::charges"]
    assert report["errors"]["mtt::charges"]["unit"] == "e"
    first = ase.io.read("predictions.xyz", 0)
    assert "charges" in first.arrays | (first.calc.results if first.calc else {})
    assert "forces" not in first.arrays


def test_without_names_all_are_predicted(model: Path, folder: Path) -> None:
    Path("eval.yaml").write_text("systems: data.xyz\n")
    evaluate.run(model, Path("eval.yaml"))
    report = json.loads(Path("predictions.json").read_text())
    assert [target["name"] for target in report["targets"]] == NAMES
    # By default, energy/pbe has the key of energy, and u0 is in eV.
    assert set(report["errors"]) == {
        "energy",
        "energy_per_atom",
        "energy_forces",
        "mtt::charges",
    }
    first = ase.io.read("predictions.xyz", 0)
    assert value(first, "energy/pbe") != value(first, "u0")


def test_other_kinds_and_units_are_refused(model: Path, folder: Path) -> None:
    Path("eval.yaml").write_text("systems: data.xyz\ntargets: {mtt::charges: {quantity: charge}}\n")
    assert failure(model, Path("eval.yaml")) == (
        "'mtt::charges' is charge per system in the data and charge per atom in the model\n"
        f"  where: eval.yaml and {model}\n"
        "  hint: state what the data has with 'quantity' and 'per', or use the model's other targets"
    )
    Path("eval.yaml").write_text(ALL.replace(", unit: Hartree", ""))
    assert failure(model, Path("eval.yaml")).startswith(
        "mixed units: 'mtt::u0' is in eV in the data and in Hartree in the model\n"
    )
    Path("eval.yaml").write_text(ALL.replace("mtt::u0", "mtt::u1"))
    assert failure(model, Path("eval.yaml")) == (
        f"the model has no target 'mtt::u1'\n  where: eval.yaml and {model}\n"
        "  hint: the model has 'energy', 'energy/pbe', 'mtt::u0', 'mtt::charges': use the same name"
        " under 'targets'"
    )


def test_the_data_describes_what_a_file_of_others_leaves_open(model: Path, folder: Path) -> None:
    with zipfile.ZipFile(model) as archive, zipfile.ZipFile("bare.pt", "w") as copy:
        for entry in archive.infolist():
            if not entry.filename.endswith("golden.safetensors"):
                copy.writestr(entry, archive.read(entry))
    evaluate.run(model, Path("eval.yaml"), (), Path("described.xyz"))
    evaluate.run(Path("bare.pt"), Path("eval.yaml"), (), Path("bare.xyz"))
    assert Path("described.xyz").read_bytes() == Path("bare.xyz").read_bytes()
    reports = [json.loads(Path(f"{name}.json").read_text()) for name in ("described", "bare")]
    assert reports[0]["errors"] == reports[1]["errors"]


def test_names_of_the_targets_are_those_of_the_test() -> None:
    assert [target.name for target in TARGETS] == NAMES
