"""A run with three energies and charges, from options to a model that is evaluated and reproduced."""

import json
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import yaml
from kill_process import at_write
from killed_runs import assert_killed_it_has_the_same_bits
from small_runs import (
    TARGETS,
    leave_undrawn,
    make_options,
    verify_by,
    verify_one_family,
    write_data,
)

from mtt import checkpoint
from mtt.__main__ import main
from mtt.data.read_files import read_plain
from mtt.errors import UserError
from mtt.evaluation.predict import open_model
from mtt.options import load_options
from mtt.training import run as train

NAMES = sorted(TARGETS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, options that name them by a relative path, and what a run made."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # What a target adds to a model; toys with several go through the other families as well.
        physics = ["LOAD", "SCHEMA", "PARITY", "FD", "DD", "GEO", "SYM"]
        verify_by(patch, only=physics, level="quick")
        make_options(Path(), several=True, training={"checkpoint_every": "1 steps"} | OF_BASE)
        train.run(load_options(Path("options.yaml")))
    (report,) = folder.glob("outputs/*/*/verification.json")
    assert {check["family"] for check in json.loads(report.read_text())["checks"]} == set(physics)
    return folder


KEEP_ALL = {"keep_last": 100}
# By values: so short a training leaves errors of the size of the scale.
OF_BASE = KEEP_ALL | {"scale_targets": True}


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into a folder with data, options, checkpoint and model of the run."""
    monkeypatch.chdir(tmp_path)
    for name in ("data.xyz", "options.yaml", "model.ckpt", "model.pt"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    return tmp_path


@pytest.fixture
def no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what a run makes at its end but the checkpoint."""
    monkeypatch.setattr(train, "_pictures", lambda *_: None)
    monkeypatch.setattr(train, "_export", lambda *_: None)


def test_the_checkpoint_has_every_target(folder: Path) -> None:
    header, tensors = checkpoint.read(Path("model.ckpt"))
    described = {target.name: target for target in header.targets}
    assert list(described) == NAMES
    assert described["mtt::charges"].per == "atom" and described["mtt::charges"].unit == "e"
    assert described["energy"].gradients == ("positions", "strain")
    assert described["energy/pbe"].gradients == ("positions",)
    assert tensors["train_sums"].shape == (len(NAMES), 5, 4)
    for number, name in enumerate(NAMES):
        composition = tensors[f"model/baselines.{number}.composition"]
        assert composition.shape == (4, described[name].numbers)
        # What turns has no part that belongs to a type of atoms.
        turning = torch.tensor([not same for same in described[name].invariant])
        assert not bool(composition[:, turning].any())
        assert bool(composition[:, ~turning].any()) == (not bool(turning.all()))
        assert float(tensors[f"model/baselines.{number}.scale"]) not in (0.0, 1.0)
    assert described["mtt::shape"].irreps == ((0, 1), (2, 1))
    assert described["non_conservative_force"].unit == "eV/A"
    metrics = set(header.history[-1])
    for name in ("energy_rmse", "energy_forces_rmse", "energy_stress_rmse", "energy/pbe_rmse"):
        assert f"validation_{name}" in metrics
    assert {"validation_mtt::u0_mae", "validation_mtt::charges_mae"} <= metrics
    assert "validation_mtt::charges_mae_per_atom" not in metrics
    assert "validation_mtt::u0_forces_rmse" not in metrics


def test_resuming_from_any_step_gives_the_same_bits(
    trained: Path, folder: Path, no_results: None
) -> None:
    expected = (folder / "model.ckpt").read_bytes()
    sources = sorted(trained.glob("outputs/*/*/*.ckpt"))
    # The first one, eleven steps, and those after the epochs.
    assert len(sources) >= 13
    for source in sources:
        train.run(load_options(Path("options.yaml")), source, Path("again.pt"))
        assert Path("again.ckpt").read_bytes() == expected, source.name


def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    changes = {"num_epochs": 12, "log_interval": 12, "checkpoint_interval": 10, "keep_every": None}
    make_options(tmp_path, {**changes, "checkpoint_every": "3 steps"}, several=True)
    options = yaml.safe_load((tmp_path / "options.yaml").read_text())
    assert_killed_it_has_the_same_bits(tmp_path, options, at_write(4, 0))


def test_it_is_fine_tuned(folder: Path, no_results: None, capsys: pytest.CaptureFixture) -> None:
    write_data(Path("other.xyz"), seed=3, several=True)
    frames = ase.io.read("other.xyz", ":")
    for atoms in frames:
        # Another level of theory: each energy is shifted by a number of its own for each atom.
        atoms.info["pbe"] += 7.0 * len(atoms)
        atoms.info["u0"] -= 3.0 * len(atoms)
    ase.io.write("other.xyz", frames, format="extxyz")
    sets = {"systems": "other.xyz", "targets": TARGETS}
    options = make_options(
        Path(), {"num_epochs": 2, "fine_tune": "model.ckpt"}, training_set=sets, several=True
    )
    train.run(options, None, Path("tuned.pt"))
    output = " ".join(capsys.readouterr().out.split())
    assert "fine-tuning from model.ckpt: best weights" in output
    base, tensors = checkpoint.read(Path("model.ckpt"))
    header, tuned = checkpoint.read(Path("tuned.ckpt"))
    assert header.origin is not None and header.origin.content_hash == base.content_hash
    changes = {
        target.name: tuned[f"model/baselines.{number}.composition"]
        - tensors[f"best/baselines.{number}.composition"]
        for number, target in enumerate(header.targets)
    }
    for name, shift in (("energy/pbe", 7.0), ("mtt::u0", -3.0)):
        # As a sum over a molecule of water: single types are not determined by so few formulas.
        assert float(changes[name][0] * 2 + changes[name][2]) == pytest.approx(3 * shift, abs=3.0)
    assert float(changes["energy"].abs().max()) < 3.0
    assert float(changes["mtt::charges"].abs().max()) < 0.1
    for number in range(4):
        name = f"baselines.{number}.scale"
        assert torch.equal(tuned[f"model/{name}"], tensors[f"best/{name}"])


def test_a_base_without_two_of_the_targets_is_refused(folder: Path, no_results: None) -> None:
    few = {name: TARGETS[name] for name in NAMES[:2]}
    data = {"systems": "data.xyz", "targets": few}
    train.run(make_options(Path(), {"num_epochs": 1}, training_set=data), None, Path("few.pt"))
    with pytest.raises(UserError) as caught:
        train.run(make_options(Path(), {"fine_tune": "few.ckpt"}, several=True), None, Path("x.pt"))
    assert str(caught.value).splitlines()[:8] == [
        "the model of the base is not the one that the options describe:",
        "    targets.mtt::alpha: nothing in the base, now {'quantity': '', 'unit': '', "
        "'per': 'system', 'type': 'matrix'}",
        "    targets.mtt::charges: nothing in the base, now {'quantity': 'charge', 'unit': 'e', "
        "'per': 'atom'}",
        "    targets.mtt::dipole: nothing in the base, now {'quantity': 'dipole', 'unit': 'e*A', "
        "'per': 'system', 'type': 'vector'}",
        "    targets.mtt::shape: nothing in the base, now {'quantity': '', 'unit': '', "
        "'per': 'atom', 'type': 'spherical', 'irreps': [(0, 1), (2, 1)]}",
        "    targets.mtt::u0: nothing in the base, now {'quantity': 'energy', 'unit': 'eV', "
        "'per': 'system'}",
        "    targets.non_conservative_force: nothing in the base, now {'quantity': 'force', "
        "'unit': 'eV/A', 'per': 'atom', 'type': 'vector'}",
        "  where: few.ckpt",
    ]


def test_its_errors_are_those_of_its_predictions(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    leave_undrawn(monkeypatch)
    Path("eval.yaml").write_text(yaml.safe_dump({"systems": "data.xyz", "targets": TARGETS}))
    reports = {}
    for model in ("model.ckpt", "model.pt"):
        assert main(["eval", model, "eval.yaml"]) == 0
        reports[model] = json.loads(Path("predictions.json").read_text())
    assert [target["name"] for target in reports["model.pt"]["targets"]] == NAMES
    structures = read_plain(Path("data.xyz"))
    frames = ase.io.read("data.xyz", ":")
    for model, report in reports.items():
        predictions = list(open_model(Path(model), "cpu").predict(structures))
        keys = {"energy/pbe": "pbe", "mtt::u0": "u0"}
        for name, key in keys.items():
            left = [
                float(prediction[name].values[0]) - atoms.info[key]
                for prediction, atoms in zip(predictions, frames, strict=True)
            ]
            assert report["errors"][name]["mae"] == pytest.approx(np.abs(left).mean(), rel=1e-6)
        left = np.concatenate(
            [
                prediction["mtt::charges"].values[:, 0] - atoms.get_charges()
                for prediction, atoms in zip(predictions, frames, strict=True)
            ]
        )
        turned = np.concatenate(
            [
                prediction["mtt::dipole"].values - atoms.calc.results["dipole"]
                for prediction, atoms in zip(predictions, frames, strict=True)
            ]
        )
        dipole = report["errors"]["mtt::dipole"]
        assert dipole["mae"] == pytest.approx(np.abs(turned).mean(), rel=1e-6)
        assert report["errors"]["mtt::alpha"]["values"] == 9 * len(frames)
        charges = report["errors"]["mtt::charges"]
        assert charges["mae"] == pytest.approx(np.abs(left).mean(), rel=1e-6)
    assert "mtt::charges" in capsys.readouterr().out


def test_it_is_shown(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", "model.ckpt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "  target        energy in eV, with forces and stress",
        "  target        energy/pbe in eV, with forces",
        "  target        mtt::alpha in no unit, a matrix",
        "  target        mtt::charges in e, a value of each atom",
        "  target        mtt::dipole in e*A, a vector",
        "  target        mtt::shape in no unit, spherical of degree 0, 2 of each atom",
        "  target        mtt::u0 in eV",
    ):
        assert line in lines
    (charges,) = (line for line in lines if "mtt::charges RMSE" in line)
    assert charges.endswith(" e")
    assert main(["show", "model.pt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  output        mtt::charges in e, per atom (charge)" in lines
    # metatomic lists non-conservative forces under their old name as well.
    outputs = [line for line in lines if line.startswith("  output ")]
    assert len(outputs) == len(NAMES) + 1
    assert main(["show", "model.ckpt", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)["targets"]
    assert sorted(described) == NAMES
    assert (described["mtt::charges"]["per"], described["energy/pbe"]["forces"]) == ("atom", True)


def test_differences_are_shown(folder: Path, capsys: pytest.CaptureFixture) -> None:
    header, tensors = checkpoint.read(Path("model.ckpt"))
    targets = [
        replace(target, unit="mHartree") if target.name == "mtt::u0" else target
        for target in header.targets
    ]
    name = f"best/baselines.{NAMES.index('mtt::u0')}.composition"
    checkpoint.write(
        Path("other.ckpt"), replace(header, targets=targets), {**tensors, name: tensors[name] + 1}
    )
    assert main(["show", "--diff", "model.ckpt", "other.ckpt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  targets.mtt::u0.unit: eV -> mHartree" in lines
    assert any(line.startswith("  tensors of best: 1 of ") for line in lines)
    assert main(["show", "--diff", "model.pt", "model.pt"]) == 0
    assert capsys.readouterr().out == "model.pt and model.pt are the same\n"


def test_it_is_reproduced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    # The same bytes went through more when they were made.
    verify_one_family(monkeypatch)
    leave_undrawn(monkeypatch)
    assert main(["reproduce", "model.pt", "--data", "data.xyz", "-o", "new"]) == 0
    assert (
        "bit-identical: model.pt and new/model.pt are the same bytes\n" in capsys.readouterr().out
    )
    assert Path("new/model.ckpt").read_bytes() == Path("model.ckpt").read_bytes()
