"""H2 and H2+ have two curves: a model with conditioning learns both, and every stage knows which is which."""

import json
import zipfile
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
import torch
import yaml
from metatomic_ase import MetatomicCalculator
from small_runs import leave_undrawn, verify_one_family

import mtt
from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.errors import UserError
from mtt.export.golden_pack import RECORD, GoldenPack, read_contents
from mtt.options import OptionsError, load_options
from mtt.training import fit_uncertainty
from mtt.training import run as train
from mtt.training.loop import train as train_loop
from mtt.training.prepare import Run, prepare

# Morse curves: depth in eV, width in 1/angstrom, distance in angstrom; by charge and multiplicity.
# Sources: Huber and Herzberg, "Constants of Diatomic Molecules", 1979, for depths and distances.
CURVES = {(0, 1): (4.75, 1.94, 0.741), (1, 2): (2.79, 1.33, 1.057)}
SOAP = {
    "soap": {"cutoff": {"radius": 3.0}, "max_angular": 1, "max_radial": 6, "channels": 4},
    "bpnn": {"num_neurons_per_layer": 16},
}
ON = {"system_conditioning": True, "max_charge": 2, "max_spin_multiplicity": 3}
EXTRA = {"charge": {"key": "total_charge"}, "spin_multiplicity": {"key": "spin"}}


def molecule(state: tuple[int, int], distance: float) -> ase.Atoms:
    depth, width, minimum = CURVES[state]
    x = np.exp(-width * (distance - minimum))
    slope = -2.0 * depth * width * (x * x - x)
    atoms = ase.Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
    atoms.info |= {"energy": depth * (x * x - 2.0 * x), "total_charge": state[0], "spin": state[1]}
    atoms.arrays["forces"] = np.array([[0.0, 0.0, slope], [0.0, 0.0, -slope]])
    return atoms


def write(path: Path, states: list[tuple[int, int]], seed: int = 0) -> None:
    distances = np.random.default_rng(seed).uniform(0.65, 1.7, len(states))
    frames = [molecule(*pair) for pair in zip(states, distances, strict=True)]
    ase.io.write(path, frames, format="extxyz")


def options_of(model: dict[str, Any], epochs: int = 40, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "systems": "h2.xyz",
        "targets": {"energy": {"key": "energy", "forces": {"key": "forces"}}},
    }
    if model.get("system_conditioning"):
        data["extra_data"] = EXTRA
    training = {"num_epochs": epochs, "batch_size": 8, "learning_rate": 1e-2}
    return {
        "device": "cpu",
        "architecture": {"name": "soap_bpnn", "model": model, "training": training},
        "training_set": data,
        "validation_set": 0.2,
        **changes,
    }


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``h2.xyz`` and ``model.ckpt`` and ``model.pt`` of both curves."""
    folder = tmp_path_factory.mktemp("fitted")
    write(folder / "h2.xyz", [*CURVES] * 20)
    (folder / "options.yaml").write_text(yaml.safe_dump(options_of({**SOAP, **ON})))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        verify_one_family(patch)
        leave_undrawn(patch)
        train.run(load_options(Path("options.yaml")))
    return folder


@pytest.fixture
def folder(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(fitted)
    return fitted


def begin(content: dict[str, Any], lines: list[str] | None = None) -> Run:
    said = [] if lines is None else lines
    return prepare(load_options(content), None, Path("other.pt"), said.append)


class Silent:
    """An observer that wants nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: False


def test_only_a_model_with_conditioning_learns_both(folder: Path) -> None:
    header = checkpoints.read_header(folder / "model.ckpt")
    conditioned = header.history[-1]["train_energy_rmse"]
    plain = begin(options_of(SOAP))
    train_loop(plain.state, plain.problem, Silent(), fit_uncertainty.fit)
    without = plain.state.history[-1]["train_energy_rmse"]
    # At one distance, the two energies are 1 to 2 eV apart, and the mean is all that is left to learn.
    assert conditioned < 0.1 < 0.4 < without, (conditioned, without)


def read(model: str) -> list[float]:
    """Energies of H2, H2+ and again H2 at 1 angstrom, in one call."""
    structures = [molecule(state, 1.0) for state in [(0, 1), (1, 2), (0, 1)]]
    for atoms in structures:
        atoms.info |= {"charge": atoms.info["total_charge"]}
    predictions = mtt.load(model).predict(structures)
    return [prediction.energy for prediction in predictions]


def test_checkpoint_export_and_engines_agree(folder: Path) -> None:
    from_checkpoint, exported = read("model.ckpt"), read("model.pt")
    assert from_checkpoint == pytest.approx(exported, abs=1e-5)
    assert from_checkpoint[0] == pytest.approx(from_checkpoint[2], abs=1e-5)
    assert from_checkpoint[1] - from_checkpoint[0] > 0.5
    atoms = ase.Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for calculator in (MetatomicCalculator("model.pt"), mtt.load("model.ckpt").calculator()):
        atoms.calc = calculator
        found = []
        for info in ({}, {"charge": 1, "spin": 2}, {"charge": 0, "spin_multiplicity": 1}):
            # Nothing else changes: a result that was kept would be that of the last state.
            atoms.info.clear()
            atoms.info |= info
            found.append(atoms.get_potential_energy())
        assert found == pytest.approx(from_checkpoint, abs=1e-5)


def test_a_state_without_training_is_refused_everywhere(folder: Path) -> None:
    atoms = molecule((0, 1), 1.0)
    atoms.info["charge"] = -1
    with pytest.raises(UserError, match="the charge -1, which the model is not trained with"):
        mtt.load("model.ckpt").predict(atoms)
    # What an engine is told.
    with pytest.raises(
        UserError, match=r"charge -1.* of system 0 is none that the model is trained"
    ):
        mtt.load("model.pt").predict(atoms)
    atoms.calc = MetatomicCalculator("model.pt")
    with pytest.raises(Exception, match="none that the model is trained with"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("model", ["model.ckpt", "model.pt"])
def test_evaluation_reads_the_keys(folder: Path, tmp_path: Path, model: str) -> None:
    write(tmp_path / "test.xyz", [*CURVES] * 4, seed=5)
    content = {"systems": str(tmp_path / "test.xyz"), "extra_data": EXTRA}
    Path("eval.yaml").write_text(yaml.safe_dump(content))
    arguments = ["eval", model, "eval.yaml", "-o", str(tmp_path / "out.xyz")]
    assert main(arguments) == 0
    rmse = json.loads((tmp_path / "out.json").read_text())["errors"]["energy"]["rmse"]
    assert rmse < 0.15
    del content["extra_data"]
    Path("eval.yaml").write_text(yaml.safe_dump(content))
    assert main(arguments) == 0
    blind = json.loads((tmp_path / "out.json").read_text())["errors"]["energy"]["rmse"]
    assert blind > 5.0 * rmse


def test_evaluation_names_the_structure_that_it_cannot_do(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [molecule((0, 1), 1.0), molecule((1, 2), 1.0)]
    frames[1].info["total_charge"] = 2
    ase.io.write(tmp_path / "test.xyz", frames, format="extxyz")
    content = {"systems": str(tmp_path / "test.xyz"), "extra_data": EXTRA}
    Path("eval.yaml").write_text(yaml.safe_dump(content))
    assert main(["eval", "model.ckpt", "eval.yaml", "-o", str(tmp_path / "out.xyz")]) == 2
    error = capsys.readouterr().err
    assert "the charge 2, which the model is not trained with" in error
    assert "test.xyz#1" in error and "trained with 0, 1" in error


def test_it_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "model.ckpt"]) == 0
    assert "charge: 0, 1; spin multiplicity: 1, 2" in " ".join(capsys.readouterr().out.split())
    assert main(["show", "model.pt"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "needs input charge in e, per system" in shown
    assert "needs input spin_multiplicity in no unit, per system" in shown


def test_the_golden_pack_has_ions(folder: Path) -> None:
    header, tensors = checkpoints.read(folder / "model.ckpt")
    states = [tensors[name].tolist() for name in tensors if name.endswith("/state")]
    assert states and all(state == [1, 2] for state in states)
    with zipfile.ZipFile("model.pt") as archive:
        record = next(name for name in archive.namelist() if name.endswith(f"extra/{RECORD}"))
        pack = archive.read(record)
    assert read_contents(pack)["format"] == 3
    parsed = GoldenPack.parse(pack)
    assert parsed.content() == pack
    kept = [parsed.tensors[name].tolist() for name in parsed.tensors if name.endswith("/state")]
    assert kept == states
    assert header.architecture.hypers["system_conditioning"] is True


def test_a_run_resumes_with_what_it_knew(folder: Path) -> None:
    options = load_options(Path("options.yaml"))
    run = prepare(options, Path("model.ckpt"), Path("other.pt"), lambda _: None)
    assert run.finished and run.state.model.known_states() == ([0, 1], [1, 2])
    _, tensors = checkpoints.read(folder / "model.ckpt")
    state = run.state.model.state_dict()
    assert all(torch.equal(state[name], tensors[f"model/{name}"]) for name in state)


@pytest.mark.parametrize("state", [[1], [1, 2, 3], [[1, 2]], [1.0, 2.0]])
def test_a_damaged_state_is_no_structure(folder: Path, tmp_path: Path, state: Any) -> None:
    header, tensors = checkpoints.read(folder / "model.ckpt")
    name = next(name for name in tensors if name.endswith("/state"))
    whole = isinstance(np.ravel(state)[0], np.integer)
    kind = torch.int32 if whole else torch.float32
    path = tmp_path / "damaged.ckpt"
    checkpoints.write(path, header, {**tensors, name: torch.tensor(state, dtype=kind)})
    with pytest.raises(UserError, match="is not a structure of its atomic types"):
        checkpoints.read(path)


def test_isolated_atoms_are_neutral(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "h2.xyz", [*CURVES] * 4)
    frames = ase.io.read(tmp_path / "h2.xyz", ":")
    for energy, charge, spin in ((13.6, 1, 1), (0.25, 0, 2)):
        atom = ase.Atoms("H", [[0.0, 0.0, 0.0]])
        atom.info |= {"energy": energy, "total_charge": charge, "spin": spin}
        atom.arrays["forces"] = np.zeros((1, 3))
        frames.append(atom)
    ase.io.write(tmp_path / "h2.xyz", frames, format="extxyz")
    content = options_of({**SOAP, **ON})
    content["training_set"]["systems"] = str(tmp_path / "h2.xyz")
    content["architecture"]["training"]["atomic_baseline"] = {"energy": "isolated"}
    # In whichever set they are: no state of the validation set may be without training.
    content["validation_set"] = [0, 1]
    baseline = begin(content).state.model.baseline("energy")
    assert baseline.composition.tolist() == [[0.25]]


def test_charges_beyond_the_tables_are_named(folder: Path) -> None:
    content = options_of({**SOAP, **ON, "max_spin_multiplicity": 1})
    with pytest.raises(UserError, match="multiplicities from 1 to 1") as error:
        begin(content)
    assert error.value.where == "h2.xyz#1"
    assert error.value.hint is not None and "max_spin_multiplicity larger" in error.value.hint


def test_states_of_one_set_only_are_named(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "ions.xyz", [(1, 2)] * 3)
    ions = {"systems": str(tmp_path / "ions.xyz"), "extra_data": EXTRA}
    write(tmp_path / "neutral.xyz", [(0, 1)] * 6)
    content = options_of({**SOAP, **ON}, test_set=ions)
    content["training_set"]["systems"] = str(tmp_path / "neutral.xyz")
    with pytest.raises(
        UserError, match="the charge 1, which the model is not trained with"
    ) as error:
        begin(content)
    assert error.value.where == f"{tmp_path / 'ions.xyz'}#0"


def test_a_training_set_of_ions_is_doubted(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "ions.xyz", [(1, 2)] * 6)
    content = options_of({**SOAP, **ON})
    content["training_set"]["systems"] = str(tmp_path / "ions.xyz")
    lines: list[str] = []
    run = begin(content, lines)
    assert any("no structure of the training set is a neutral singlet" in line for line in lines)
    assert run.state.model.known_states() == ([0, 1], [1, 2])


def test_fine_tuning_keeps_what_is_known(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "neutral.xyz", [(0, 1)] * 6)
    content = options_of({}, epochs=1)
    content["architecture"]["training"]["fine_tune"] = {"read_from": "model.ckpt"}
    content["training_set"] |= {"systems": str(tmp_path / "neutral.xyz"), "extra_data": EXTRA}
    assert begin(content).state.model.known_states() == ([0, 1], [1, 2])


def problems_of(content: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(OptionsError) as error:
        load_options(content)
    return [(problem.name, problem.message) for problem in error.value.problems]


def test_options_that_do_not_fit_together(folder: Path) -> None:
    content = options_of({**SOAP, **ON})
    del content["training_set"]["extra_data"]
    ((name, message),) = problems_of(content)
    assert name == "architecture.model.system_conditioning"
    assert "the first training set does not say where charge and spin are" in message

    content = options_of(SOAP)
    content["training_set"]["extra_data"] = EXTRA
    ((name, message),) = problems_of(content)
    assert name.startswith("training_set") and name.endswith("extra_data")
    assert "write architecture.model.system_conditioning: true" in message

    content = options_of({**SOAP, **ON})
    only = {"charge": EXTRA["charge"]}
    content["test_set"] = {"systems": "h2.xyz", "extra_data": only}
    ((name, message),) = problems_of(content)
    assert name.startswith("test_set") and name.endswith("extra_data")
    assert "the first training set has charge and spin_multiplicity" in message

    content = options_of({**SOAP, **ON})
    content["training_set"]["extra_data"] = {}
    assert problems_of(content)


def test_sets_of_their_own_have_the_keys_of_the_training_set(folder: Path) -> None:
    options = load_options(options_of({**SOAP, **ON}, validation_set="h2.xyz"))
    assert options.validation_set.datasets is not None
    assert options.validation_set.datasets[0].extra_data == options.training_set[0].extra_data
    stored = options.to_dict()
    assert stored["training_set"][0]["extra_data"]["charge"]["key"] == "total_charge"
    plain = load_options(options_of(SOAP)).to_dict()
    assert "extra_data" not in plain["training_set"][0]
