"""Training, export and every check of the verifier, and a resume, of the architectures beside PET."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import make_run, train_for
from small_runs import SCALARS, SOAP_BPNN, TARGETS, leave_undrawn, make_options, write_data

from mtt import architecture_registry
from mtt import checkpoint as checkpoints
from mtt.errors import UserError
from mtt.options import Options
from mtt.training import run as train

CHARGES = TARGETS["mtt::charges"]
MACE: dict[str, Any] = {
    "name": "mace",
    "model": {
        "r_max": 3.0,
        "num_radial_basis": 2,
        "max_ell": 1,
        "hidden_irreps": "2x0e + 2x1o",
        "MLP_irreps": "2x0e",
        "radial_MLP": [4],
        "correlation": 2,
    },
}
ARCHITECTURES = {"composition": {"name": "composition"}, "soap_bpnn": SOAP_BPNN, "mace": MACE}
ALL = [
    "composition",
    "soap_bpnn",
    pytest.param(
        "mace",
        marks=pytest.mark.skipif(
            find_spec("mace") is None,
            reason="mace-torch is not installed: pip install 'mtt[mace]'",
        ),
    ),
]


def options_of(name: str, folder: Path, several: bool = False) -> Options:
    """Return options of a small run of an architecture, with as many targets as it has."""
    training = {"num_epochs": 2, "batch_size": 3, "learning_rate": 1e-2}
    architecture = {**ARCHITECTURES[name], "training": training}
    if several and name == "mace":
        targets = {key: TARGETS[key] for key in SCALARS}
        write_data(folder / "data.xyz", several=True)
        data = {"systems": str(folder / "data.xyz"), "targets": targets}
        return make_options(folder, architecture=architecture, training_set=data)
    return make_options(folder, several=several, architecture=architecture)


@pytest.mark.parametrize("name", ALL)
def test_a_run_ends_with_a_verified_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    leave_undrawn(monkeypatch)
    options = options_of(name, tmp_path)
    train.run(options, None, Path("model.pt"))
    said = " ".join(capsys.readouterr().out.split())
    assert ("there are no weights to train" in said) == (name == "composition")
    header, tensors = checkpoints.read(Path("model.ckpt"))
    version = architecture_registry.get(name).version
    assert (header.architecture.name, header.architecture.version) == (name, version)
    assert header.position.epoch == 2
    potential = checkpoints.load_potential(header, tensors, "best")
    assert bool(list(potential.parameters())) == (name != "composition")
    # Training has put it through every check, or there would be no file.
    assert Path("model.pt").exists()


@pytest.mark.parametrize("name", ALL)
def test_a_resumed_run_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    options = options_of(name, tmp_path, several=True)
    expected = train_for(make_run(options))
    begun = make_run(options)
    train_for(begun, stop_after=2)
    entries, tensors = begun.state.to_checkpoint()
    resumed = make_run(options)
    resumed.state.from_checkpoint(SimpleNamespace(**entries), tensors)
    found = train_for(resumed)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key


def test_a_target_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before a folder is made or anything is trained."""
    monkeypatch.chdir(tmp_path)
    options = options_of("soap_bpnn", tmp_path)
    soap = architecture_registry.get("soap_bpnn")
    picky = dataclasses.replace(soap, refuses=lambda hypers, target: f"{target.type}s are dull")
    monkeypatch.setattr(architecture_registry, "get", lambda _: picky)
    with pytest.raises(UserError) as caught:
        train.run(options, None, Path("model.pt"))
    assert str(caught.value) == (
        "soap_bpnn cannot learn 'energy': scalars are dull\n"
        "  where: architecture.model\n"
        "  hint: change the target or the model, or take pet"
    )
    assert not (tmp_path / "outputs").exists()


def test_a_baseline_of_what_has_no_forces(tmp_path: Path) -> None:
    """The loss depends on nothing that could have a gradient."""
    charges = {"systems": str(tmp_path / "data.xyz"), "targets": {"mtt::charges": CHARGES}}
    architecture = {"name": "composition"}
    options = make_options(tmp_path, several=True, architecture=architecture, training_set=charges)
    run = make_run(options)
    train_for(run)
    errors = {key: value for key, value in run.state.history[-1].items() if "rmse" in key}
    assert list(errors) and all(0.0 < value < 0.1 for value in errors.values()), errors
