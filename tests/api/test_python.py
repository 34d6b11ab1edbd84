"""mtt from Python: what is loaded, predicted, trained and evaluated, against the command line's own way."""

import json
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from several_targets import export, potential_of, save
from small_runs import leave_undrawn, make_options, verify_one_family, write_data

import mtt
from mtt.api.loaded_model import LoadedModel
from mtt.data.target import Target
from mtt.errors import UserError

TYPES = [1, 6, 8, 29]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    potential = potential_of([Target("energy")], types=TYPES)
    return {
        "checkpoint": save(folder / "model.ckpt", potential),
        "model": export(folder / "model.pt", potential),
    }


@pytest.fixture(scope="module")
def model(files: dict[str, Path]) -> LoadedModel:
    return mtt.load(files["checkpoint"])


def rattled(atoms: Atoms) -> Atoms:
    atoms.rattle(0.05, seed=1)
    return atoms


def test_names_are_listed_and_imported_late() -> None:
    assert set(mtt.__all__) <= set(dir(mtt))
    assert all(callable(getattr(mtt, name)) for name in mtt.__all__ if name != "__version__")
    with pytest.raises(AttributeError):
        mtt.nothing  # noqa: B018
    code = "import sys, mtt; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_checkpoint_and_export_predict_the_same(files: dict[str, Path]) -> None:
    atoms = [molecule("CH3CH2OH"), rattled(bulk("Cu", cubic=True))]
    first, second = (mtt.load(files[kind]).predict(atoms) for kind in ("checkpoint", "model"))
    for a, b in zip(first, second, strict=True):
        assert a.energy == pytest.approx(b.energy, abs=1e-4)
        assert a.forces == pytest.approx(b.forces, abs=1e-4)
    assert first[0].stress is None
    assert first[1].stress is not None and first[1].stress.shape == (3, 3)
    alone = mtt.load(files["checkpoint"]).predict(atoms[0])
    assert alone.energy == pytest.approx(first[0].energy, rel=1e-6)
    assert list(alone) == ["energy"] and len(alone) == 1
    assert alone["energy"].values[0] == alone.energy
    assert repr(alone).startswith("Prediction(energy=")


def test_a_model_says_what_it_is(files: dict[str, Path], model: LoadedModel) -> None:
    assert "energy; 4 atomic types" in repr(model) and len(repr(model)) < 200
    assert model.header.position.epoch == 2
    with pytest.raises(UserError, match="has no header"):
        mtt.load(files["model"]).header  # noqa: B018
    with pytest.raises(UserError, match="9"):
        model.predict(molecule("HF"))


def test_units_of_a_model_are_converted_to_those_of_ase(tmp_path: Path) -> None:
    targets = [Target("energy", unit="Hartree")]
    in_bohr = potential_of(targets, types=TYPES, length_unit="bohr")
    model = mtt.load(save(tmp_path / "bohr.ckpt", in_bohr))
    atoms = rattled(bulk("Cu", cubic=True))
    prediction = model.predict(atoms)
    raw = prediction["energy"]
    assert prediction.energy == pytest.approx(float(raw.values[0]) * units.Hartree)
    assert prediction.forces == pytest.approx(raw.forces * units.Hartree / units.Bohr)
    step = 1e-3
    moved = [atoms.copy(), atoms.copy()]
    for sign, copy in zip((1, -1), moved, strict=True):
        copy.positions[0, 0] += sign * step
    up, down = (model.predict(copy).energy for copy in moved)
    assert prediction.forces[0, 0] == pytest.approx(-(up - down) / (2 * step), rel=0.05, abs=2e-3)


def test_the_calculator_does_what_ase_expects(model: LoadedModel) -> None:
    crystal, water = rattled(bulk("Cu", cubic=True)), molecule("H2O")
    crystal.calc, water.calc = model.calculator(), model.calculator()
    prediction = model.predict(crystal)
    assert crystal.get_potential_energy() == pytest.approx(prediction.energy)
    assert crystal.get_forces() == pytest.approx(prediction.forces)
    assert crystal.get_stress(voigt=False) == pytest.approx(prediction.stress)
    assert np.isfinite(water.get_forces()).all()
    # Not inf or nan: a molecule has no volume.
    with pytest.raises(PropertyNotImplementedError, match="periodic along all three axes"):
        water.get_stress()
    BFGS(FrechetCellFilter(crystal), logfile=None).run(steps=2)


def test_a_calculator_needs_an_energy(tmp_path: Path) -> None:
    charges = potential_of([Target("mtt::q", quantity="charge", unit="e", per="atom")], types=TYPES)
    model = mtt.load(save(tmp_path / "charges.ckpt", charges))
    with pytest.raises(UserError, match="predicts no energy"):
        model.calculator()
    prediction = model.predict(molecule("H2O"))
    assert prediction["mtt::q"].values.shape == (3, 1)
    with pytest.raises(AttributeError, match="no energy"):
        prediction.energy  # noqa: B018


def test_train_and_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    verify_one_family(monkeypatch)
    leave_undrawn(monkeypatch)
    options = make_options(tmp_path, training={"num_epochs": 2}, test_set=0.2).to_dict()
    run = mtt.train(options, "small.pt")
    assert run.model.is_file() and run.checkpoint == Path("small.ckpt")
    assert [row["epoch"] for row in run.metrics] == [1.0, 2.0]
    assert run.header.options["seed"] == 3 and "best epoch" in repr(run)
    assert "validation" in json.dumps(run.errors)
    write_data(tmp_path / "other.xyz", seed=5)
    data = {"systems": "other.xyz", "targets": {"energy": {"forces": True}}}
    before = sorted(path.name for path in tmp_path.iterdir())
    result = mtt.evaluate(run.load(), data)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    frames = ase.io.read("other.xyz", ":")
    predictions = run.load().predict(frames)
    errors = [
        p.energy - atoms.get_potential_energy()
        for p, atoms in zip(predictions, frames, strict=True)
    ]
    assert result.errors["energy"]["rmse"] == pytest.approx(
        np.sqrt(np.mean(np.square(errors))), rel=1e-4
    )
    assert len(result.predictions) == len(frames)
    assert "RMSE" in repr(result) and result._repr_html_().startswith("<table>")
    report = mtt.verify(run.model, only=["LOAD"])
    assert "pass" in repr(report) and len(repr(report)) < 400
    assert report._repr_html_().count("<tr>") == len(report.verdicts)


def test_mistakes_in_a_mapping_are_told_as_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        mtt.train({"architecture": {"name": "pet", "modle": {}}, "training_set": "nothing.xyz"})
    assert "did you mean 'model'" in str(caught.value) and "nothing.xyz" in str(caught.value)
    with pytest.raises(UserError, match="unknown option"):
        mtt.evaluate("model.ckpt", {"system": "a.xyz"})


def test_structures_are_no_options(model: LoadedModel) -> None:
    frames = [molecule("H2O")]
    for use in (
        lambda: mtt.train({"architecture": "pet", "training_set": frames}),
        lambda: mtt.evaluate(model, frames),
    ):
        with pytest.raises(UserError, match="an object of the type Atoms") as raised:
            use()
        assert "ase.io.write('data.xyz', structures)" in raised.value.report()


@pytest.mark.parametrize("wrong", [None, 3, "data.xyz", ["data.xyz"], [molecule("H2O"), None]])
def test_what_is_no_structure_is_told(model: LoadedModel, wrong: object) -> None:
    with pytest.raises(UserError, match="predict takes ase.Atoms or a list of them, and here is"):
        # What mypy would refuse is the point here, and below.
        model.predict(wrong)  # type: ignore[call-overload]


def test_what_is_no_options_at_all_is_told(model: LoadedModel) -> None:
    with pytest.raises(UserError, match="here is an object of the type NoneType"):
        mtt.evaluate(model, None)  # type: ignore[arg-type]
