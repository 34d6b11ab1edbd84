"""Evaluation of exported models and checkpoints, down to the files and the messages."""

import hashlib
import json
from pathlib import Path
from typing import Any

import ase
import ase.io
import ase.units
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from metatomic_ase import MetatomicCalculator
from several_targets import export, potential_of, save
from small_runs import leave_undrawn

from mtt.architectures.potential import Potential
from mtt.data.target import Target
from mtt.errors import UserError, VerificationFailed
from mtt.evaluation import predict
from mtt.evaluation import run as evaluate
from mtt.evaluation.predict import open_model
from mtt.options import SystemsOptions

TYPES = [1, 6, 8, 29]


def potential(name: str = "energy") -> Potential:
    return potential_of([Target(name)], types=TYPES)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    return save(folder / "model.ckpt", potential())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("model") / "model.pt", potential())


def structures() -> list[ase.Atoms]:
    rng = np.random.default_rng(0)
    copper = bulk("Cu", cubic=True)
    copper.positions += 0.05 * rng.normal(size=(4, 3))
    copper.info["stress"] = 0.01 * np.eye(3)
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    frames = [molecule("CH3CH2OH"), copper, slab, ase.Atoms("H", [[0.0, 0.0, 0.0]])]
    for number, atoms in enumerate(frames):
        atoms.info["energy"] = -1.0 * number
        atoms.arrays["forces"] = rng.normal(size=(len(atoms), 3))
    return frames


@pytest.fixture
def drawn_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    ase.io.write(tmp_path / "data.xyz", structures(), format="extxyz")
    (tmp_path / "eval.yaml").write_text("systems: data.xyz\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def folder(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where pictures are not drawn."""
    leave_undrawn(monkeypatch)
    return drawn_folder


def failure(*arguments: Any, **named: Any) -> str:
    with pytest.raises(UserError) as caught:
        evaluate.run(*arguments, **named)
    return str(caught.value)


def test_the_numbers_are_those_of_an_md_engine(
    exported: Path, drawn_folder: Path, capsys: Any
) -> None:
    evaluate.run(exported, Path("eval.yaml"))
    calculator = MetatomicCalculator(exported, device="cpu")
    squares = []
    for original, found in zip(structures(), ase.io.read("predictions.xyz", ":"), strict=True):
        # Positions as they were read: ASE had rounded them when it wrote data.xyz.
        same = ase.Atoms(found.numbers, found.positions, cell=original.cell, pbc=found.pbc)
        same.calc = calculator
        with np.errstate(invalid="ignore"):  # stress of what has no volume
            energy, forces = same.get_potential_energy(), same.get_forces()
        assert found.get_potential_energy() == pytest.approx(energy, rel=1e-10)
        np.testing.assert_allclose(found.get_forces(), forces, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.positions, original.positions, atol=1e-7)
        assert found.info["reference_energy"] == original.info["energy"]
        reference = found.arrays["reference_forces"]
        np.testing.assert_allclose(reference, original.arrays["forces"], atol=1e-7)
        if original.pbc.all():
            stress = same.get_stress(voigt=False)
            np.testing.assert_allclose(
                found.get_stress(voigt=False), stress, rtol=1e-10, atol=1e-14
            )
            np.testing.assert_allclose(found.info["reference_stress"], 0.01 * np.eye(3).ravel())
        else:
            assert "stress" not in found.calc.results
        assert found.pbc.tolist() == original.pbc.tolist()
        squares.append(((forces - original.arrays["forces"]) ** 2).ravel())
    report = json.loads(Path("predictions.json").read_text())
    forces_error = report["errors"]["forces"]
    assert forces_error["rmse"] == pytest.approx(np.sqrt(np.concatenate(squares).mean()), rel=1e-6)
    assert (forces_error["unit"], forces_error["values"]) == ("eV/A", 3 * (9 + 4 + 4 + 1))
    assert report["errors"]["stress"]["values"] == 9
    per_atom = report["errors"]["energy_per_atom"]
    errors = [
        (atoms.get_potential_energy() - atoms.info["reference_energy"]) / len(atoms)
        for atoms in ase.io.read("predictions.xyz", ":")
    ]
    assert per_atom["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert per_atom["unit"] == "eV/atom"
    assert report["model"]["sha256"] == hashlib.sha256(exported.read_bytes()).hexdigest()
    assert report["model"]["kind"] == "exported model"
    assert report["data"] == [{"file": "data.xyz", "structures": 4}]
    assert Path("predictions.png").read_bytes()[1:4] == b"PNG"
    sizes = report["groups"]["size"]
    assert sum(part["structures"] for part in sizes.values()) == 4
    assert {"H", "C", "O", "Cu"} == set(report["groups"]["element"])
    assert report["worst"]["forces"][0]["source"].startswith("data.xyz#")
    assert sum(report["histograms"]["forces"]["counts"]) == forces_error["values"]
    assert report["rotation"]["structures"] == 4
    assert report["cost"]["atoms"] == 18 and report["cost"]["ms_per_atom"] > 0
    assert report["cost"]["peak_memory_bytes"] > 10**7
    printed = capsys.readouterr().out
    for text in ("rotations change energy by up to", "ms/atom on cpu", "largest errors of forces"):
        assert text in printed
    for text in ("model.pt on data.xyz: 4 structures", "RMSE", "eV/atom", "wrote predictions.png"):
        assert text in printed
    evaluate.run(exported, Path("eval.yaml"))
    assert "replaced predictions.xyz" in capsys.readouterr().out


def test_rotations_may_change_so_much(exported: Path, folder: Path) -> None:
    evaluate.run(exported, Path("eval.yaml"), max_rotation_error=1e9)
    with pytest.raises(VerificationFailed, match="--max-rotation-error allows 0"):
        evaluate.run(exported, Path("eval.yaml"), output=Path("b.xyz"), max_rotation_error=0.0)
    assert Path("b.json").exists() and Path("b.xyz").exists()


def test_every_digit_is_written(exported: Path, folder: Path) -> None:
    evaluate.run(exported, Path("eval.yaml"))
    first = next(open_model(exported).predict(_read(folder)))["energy"]
    fields = Path("predictions.xyz").read_text().splitlines()[2].split()
    assert [float(field) for field in fields[4:7]] == first.forces[0].tolist()


def test_checkpoint_and_exported_model_agree(exported: Path, saved: Path, folder: Path) -> None:
    structures = _read(folder)
    models = [open_model(saved), open_model(exported)]
    assert [model.kind for model in models] == ["checkpoint", "exported model"]
    one, two = (list(model.predict(structures)) for model in models)
    assert len(one) == len(two) == 4
    for first, second in zip(one, two, strict=True):
        a, b = first["energy"], second["energy"]
        np.testing.assert_allclose(a.values, b.values, rtol=1e-12)
        np.testing.assert_allclose(a.forces, b.forces, rtol=1e-10, atol=1e-12)
        assert (a.stress is None) == (b.stress is None)
        if a.stress is not None and b.stress is not None:
            np.testing.assert_allclose(a.stress, b.stress, rtol=1e-10, atol=1e-14)
    assert sum(result["energy"].stress is not None for result in one) == 1


def test_grouping_changes_nothing(
    exported: Path, saved: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures = list(_read(folder)) * 3
    for path in (exported, saved):
        together = list(open_model(path).predict(structures))
        with monkeypatch.context() as patch:
            patch.setattr(predict, "_MAX_ATOMS", 5)
            alone = list(open_model(path).predict(structures))
        for first, second in zip(together, alone, strict=True):
            a, b = first["energy"], second["energy"]
            np.testing.assert_allclose(a.values, b.values, rtol=1e-12)
            np.testing.assert_allclose(a.forces, b.forces, rtol=1e-10, atol=1e-12)


def test_evaluation_of_a_checkpoint(saved: Path, folder: Path) -> None:
    evaluate.run(saved, Path("eval.yaml"))
    report = json.loads(Path("predictions.json").read_text())
    assert report["model"]["kind"] == "checkpoint"
    assert set(report["errors"]) == {"energy", "energy_per_atom", "forces", "stress"}
    ase.io.write("data.xyz", molecule("NH3"), format="extxyz")
    assert failure(saved, Path("eval.yaml")) == (
        "atom 0 has the atomic type 7 (N), which the model does not know\n  where: data.xyz#0\n"
        "  hint: the model knows 1 (H), 6 (C), 8 (O), 29 (Cu)"
    )


def test_the_content_decides_not_the_name(exported: Path, saved: Path, folder: Path) -> None:
    Path("model.ckpt").write_bytes(exported.read_bytes())
    Path("model.pt").write_bytes(saved.read_bytes())
    assert open_model(Path("model.ckpt")).kind == "exported model"
    assert open_model(Path("model.pt")).kind == "checkpoint"
    Path("model.pt").write_bytes(saved.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"^the checkpoint is truncated"):
        evaluate.run(Path("model.pt"), Path("eval.yaml"))


def _read(folder: Path) -> Any:
    from mtt.data.read_files import read_datasets
    from mtt.options import load_eval_options

    return read_datasets(load_eval_options(folder / "eval.yaml", []))


def test_data_without_references(exported: Path, drawn_folder: Path, capsys: Any) -> None:
    ase.io.write("bare.xyz", molecule("H2O"), format="extxyz")
    Path("eval.yaml").write_text("systems: bare.xyz\n")
    evaluate.run(exported, Path("eval.yaml"), output=Path("water.xyz"))
    shown = capsys.readouterr().out
    assert "the data has no reference values: no errors, no parity plots" in shown
    assert "RMSE" not in shown
    assert json.loads(Path("water.json").read_text())["errors"] == {}
    assert not Path("water.png").exists()
    assert "energy" in ase.io.read("water.xyz").calc.results


def test_several_sets_and_a_variant(folder: Path) -> None:
    model = export(folder / "variant.pt", potential("energy/pbe"))
    ase.io.write("bare.xyz", [molecule("H2O")] * 2, format="extxyz")
    targets = "targets: {energy/pbe: {key: energy}}"
    Path("eval.yaml").write_text(
        f"- {{systems: data.xyz, {targets}}}\n- {{systems: data.xyz, {targets}}}\n"
    )
    evaluate.run(model, Path("eval.yaml"))
    frames = ase.io.read("predictions.xyz", ":")
    assert len(frames) == 8
    assert frames[4].info["energy/pbe"] == frames[0].info["energy/pbe"]
    assert frames[0].arrays["forces/pbe"].shape == (9, 3)
    assert frames[1].info["stress/pbe"].shape == (9,)
    assert frames[3].info["reference_energy/pbe"] == -3.0


def test_target_that_the_model_lacks(exported: Path, folder: Path) -> None:
    Path("eval.yaml").write_text("systems: data.xyz\ntargets: {energy/pbe: {key: energy}}\n")
    assert failure(exported, Path("eval.yaml")) == (
        f"the model has no target 'energy/pbe'\n  where: eval.yaml and {exported}\n"
        "  hint: the model has 'energy': use the same name under 'targets'"
    )


def test_data_in_other_units_are_converted_to_those_of_the_model(
    exported: Path, folder: Path
) -> None:
    evaluate.run(exported, Path("eval.yaml"))
    expected = json.loads(Path("predictions.json").read_text())["errors"]
    frames = ase.io.read("data.xyz", ":")
    for atoms in frames:
        results = atoms.calc.results
        results["energy"] *= ase.units.mol / ase.units.kcal
        results["forces"] = results["forces"] * (ase.units.mol / ase.units.kcal * ase.units.Bohr)
        if "stress" in results:
            results["stress"] = results["stress"] / ase.units.GPa
        atoms.set_cell(atoms.cell.array / ase.units.Bohr)
        atoms.positions /= ase.units.Bohr
    ase.io.write("other.xyz", frames, format="extxyz")
    Path("other.yaml").write_text(
        "systems: {read_from: other.xyz, length_unit: bohr}\n"
        "targets: {energy: {unit: kcal/mol, stress: {unit: GPa, missing: allow}}}\n"
    )
    evaluate.run(exported, Path("other.yaml"))
    errors = json.loads(Path("predictions.json").read_text())["errors"]
    assert errors.keys() == expected.keys()
    for name, error in errors.items():
        assert error["unit"] == expected[name]["unit"]
        assert error["rmse"] == pytest.approx(expected[name]["rmse"], rel=1e-4)


def test_units_that_nobody_stated() -> None:
    # The default unit of data is too little to convert from.
    systems = SystemsOptions(read_from=Path("data.xyz"))
    with pytest.raises(UserError) as caught:
        evaluate._check_units(systems, {}, [], "bohr", "eval.yaml")
    assert str(caught.value) == (
        "mixed units: lengths are in angstrom in the data and in bohr in the model\n"
        "  where: eval.yaml\n"
        "  hint: state the unit of the data with 'length_unit' or convert the data"
    )


def test_unknown_type(exported: Path, folder: Path) -> None:
    ase.io.write("data.xyz", [molecule("H2O"), molecule("NH3")], format="extxyz")
    assert failure(exported, Path("eval.yaml")) == (
        "atom 0 has the atomic type 7 (N), which the model does not know\n  where: data.xyz#1\n"
        "  hint: the model knows 1 (H), 6 (C), 8 (O), 29 (Cu)"
    )
    assert not Path("predictions.xyz").exists()


@pytest.mark.parametrize("kind", ["exported", "saved"])
def test_coincident_atoms_are_refused_by_models_of_both_kinds(
    kind: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    atoms = ase.io.read("data.xyz", "0:3")
    atoms[1].positions[1] = atoms[1].positions[0]
    ase.io.write("twice.xyz", atoms)
    Path("twice.yaml").write_text("systems: twice.xyz\ntargets: {energy: }\n")
    message = failure(request.getfixturevalue(kind), Path("twice.yaml"))
    assert "atoms 0 and 1 coincide (distance 0.0e+00; atoms count from 0)" in message
    assert "where: twice.xyz#1" in message
    assert "remove the structure or the doubled atom" in message


def test_files_that_are_no_models(exported: Path, folder: Path) -> None:
    missing, text = Path("missing.pt"), Path("eval.yaml")
    assert failure(missing, text) == "there is no such file\n  where: missing.pt"
    assert failure(text, text) == (
        "this is a text file, not an exported model (.pt) or a checkpoint (.ckpt) of mtt\n"
        "  where: eval.yaml\n  hint: give the model.pt or model.ckpt that a training run wrote"
    )
    torch.save({"weights": torch.zeros(3)}, "pickled.pt")
    message = failure(Path("pickled.pt"), text)
    assert message.startswith(
        "this is a pickled state dict of torch (1 tensors, the first is weights); "
    )
    model = Path("half.pt")
    model.write_bytes(exported.read_bytes()[:5000])
    message = failure(model, text)
    assert message.startswith("the file is not an exported model that can be loaded: ")
    assert message.endswith("\n  where: half.pt\n  hint: 'mtt verify half.pt' says more")


def test_output_that_cannot_be_written(exported: Path, folder: Path) -> None:
    where = Path("no") / "out.xyz"
    # Found out before the model is even opened.
    assert failure(Path("missing.pt"), Path("eval.yaml"), output=where) == (
        "the folder 'no' does not exist\n  where: no/out.xyz\n  hint: create it first"
    )
    assert failure(exported, Path("eval.yaml"), output=Path("out.json")) == (
        "predictions are written as extended XYZ, not as .json\n  where: out.json\n"
        "  hint: give a name ending in .xyz; the .json and .png are written beside it"
    )
    assert failure(exported, Path("eval.yaml"), device="cuda:0") == (
        "a model file is evaluated on the CPU, in a sandbox that has no 'cuda:0'\n"
        f"  where: {exported}\n  hint: evaluate the checkpoint that it was exported from"
    )
