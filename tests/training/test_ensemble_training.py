"""Ensembles of last layers that are trained: scores, what they are good for, resumes, what is refused."""

import math
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from kill_process import at_write
from killed_runs import assert_killed_it_has_the_same_bits
from numpy.typing import NDArray
from small_runs import leave_undrawn, make_options, verify_one_family, write_data

from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.data.derived_targets import ensemble_of
from mtt.data.read_files import structure_of
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.evaluation.scores import score
from mtt.export.exported_model import ExportedModel
from mtt.options.schema.training import EnsembleLoss
from mtt.training import run as train

Numbers = NDArray[np.float64]
LOSSES: list[EnsembleLoss] = ["gaussian_nll", "gaussian_crps", "empirical_crps"]


def run_mtt(*words: object) -> int:
    return main([str(word) for word in words])


def test_scores_are_what_they_are_by_definition() -> None:
    torch.manual_seed(0)
    errors = torch.randn(7, 1, dtype=torch.float64)
    members = torch.randn(7, 5, dtype=torch.float64)
    members -= members.mean(dim=1, keepdim=True)
    deviation = members.std(dim=1, keepdim=True)
    density = torch.distributions.Normal(torch.zeros_like(deviation), deviation)
    expected = -density.log_prob(errors) - 0.5 * math.log(2.0 * math.pi)
    torch.testing.assert_close(score("gaussian_nll", errors, members), expected)
    # The square of the difference of distribution functions, summed over a fine grid.
    grid = torch.linspace(-15.0, 15.0, 300_001, dtype=torch.float64)
    step = float(grid[1] - grid[0])
    happened = (grid >= -errors).to(torch.float64)
    crps = (density.cdf(grid) - happened).square().sum(dim=1, keepdim=True) * step
    torch.testing.assert_close(score("gaussian_crps", errors, members), crps, atol=2e-4, rtol=0.0)
    below = (members[:, :, None] <= grid).to(torch.float64).mean(dim=1)
    crps = (below - happened).square().sum(dim=1, keepdim=True) * step
    torch.testing.assert_close(score("empirical_crps", errors, members), crps, atol=2e-4, rtol=0.0)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_best_spread_is_that_of_the_errors(kind: EnsembleLoss) -> None:
    torch.manual_seed(1)
    errors = 0.3 * torch.randn(4000, 1, dtype=torch.float64)
    members = torch.randn(4000, 40, dtype=torch.float64)
    members -= members.mean(dim=1, keepdim=True)
    spreads = np.linspace(0.1, 0.6, 51)
    scores = [float(score(kind, errors, float(spread) * members).mean()) for spread in spreads]
    assert spreads[int(np.argmin(scores))] == pytest.approx(0.3, abs=0.02)
    # Members that agree, and one error that is huge, have scores and gradients that are numbers.
    same = torch.zeros(2, 3, requires_grad=True)
    score(kind, torch.tensor([[0.0], [1e6]]), same).sum().backward()
    assert same.grad is not None and bool(same.grad.isfinite().all())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model, its data, and others that it has not seen."""
    folder = tmp_path_factory.mktemp("base")
    write_data(folder / "data.xyz", n=60)
    write_data(folder / "held_out.xyz", n=60, seed=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        verify_one_family(patch)
        leave_undrawn(patch)
        make_options(folder, {"num_epochs": 8, "batch_size": 5}, base_precision=64)
        assert run_mtt("train", "options.yaml", "-o", "base.pt") == 0
    return folder


@pytest.fixture
def here(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    verify_one_family(monkeypatch)
    monkeypatch.setattr(train, "_pictures", lambda *_: None)
    monkeypatch.chdir(base)
    return base


def options_of(folder: Path, uncertainty: dict[str, Any], **training: Any) -> dict[str, Any]:
    """Return options that begin with the base."""
    own = {
        "num_epochs": 2,
        "batch_size": 5,
        "fine_tune": {"read_from": str(folder / "base.ckpt"), "baseline": "keep"},
        "uncertainty": {"method": "llpr", "num_ensemble_members": 8, **uncertainty},
        **training,
    }
    return {
        "seed": 3,
        "device": "cpu",
        "base_precision": 64,
        "architecture": {"name": "pet", "training": own},
        "training_set": str(folder / "data.xyz"),
        "validation_set": 0.25,
    }


def made(folder: Path, name: str, uncertainty: dict[str, Any], **training: Any) -> Path:
    """Train, and return the model file."""
    Path(f"{name}.yaml").write_text(
        yaml.safe_dump(options_of(folder, uncertainty, **training), sort_keys=False)
    )
    assert run_mtt("train", f"{name}.yaml", "-o", f"{name}.pt") == 0
    return folder / f"{name}.pt"


def predicted(model: Path, frames: list[Atoms]) -> tuple[Numbers, Numbers]:
    """Return what an exported model and its members give for the energies of structures, per atom."""
    energy = Target("energy")
    ensemble = ensemble_of(energy, 8)
    structures = [structure_of(atoms, f"structure {number}") for number, atoms in enumerate(frames)]
    exported = ExportedModel(model)
    try:
        values = exported.evaluate(structures, [energy, ensemble])
    finally:
        exported.close()
    sizes = np.array([[len(atoms)] for atoms in frames])
    rows = [values[name].systems for name in (energy.name, ensemble.name)]
    energies, members = (np.asarray(part) / sizes for part in rows)
    return energies[:, 0], members


def held_out(kind: EnsembleLoss, model: Path) -> float:
    """Return the score of the members of an exported model on structures that it has not seen."""
    frames = list(ase.io.iread("held_out.xyz"))
    energies, members = predicted(model, frames)
    np.testing.assert_allclose(members.mean(axis=1), energies, atol=1e-8)
    references = [atoms.get_potential_energy() / len(atoms) for atoms in frames]
    errors = torch.from_numpy(energies - np.array(references))[:, None]
    return float(score(kind, errors, torch.from_numpy(members - energies[:, None])).mean())


# Draws that take little notice of the data, so that there is something to learn.
COARSE = {"regularizer": 1.0}


@pytest.fixture(scope="module")
def drawn(base: Path) -> Path:
    """Return the model with the ensemble that training begins with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        verify_one_family(patch)
        patch.setattr(train, "_pictures", lambda *_: None)
        return made(base, "drawn", COARSE, num_epochs=0)


# A logarithm, and an error in eV per atom.
@pytest.mark.parametrize(("kind", "gain"), [("gaussian_nll", 1.0), ("empirical_crps", 0.005)])
def test_two_epochs_make_the_ensemble_better_on_structures_that_it_has_not_seen(
    kind: EnsembleLoss, gain: float, here: Path, drawn: Path
) -> None:
    trained = made(here, kind, {**COARSE, "ensemble_loss": kind}, learning_rate=0.005)
    assert held_out(kind, trained) < held_out(kind, drawn) - gain
    # Values are those of the base: nothing else was trained.
    frames = list(ase.io.iread("held_out.xyz"))
    np.testing.assert_array_equal(predicted(trained, frames)[0], predicted(drawn, frames)[0])
    (_, tensors), (_, of_base) = (checkpoints.read(Path(f"{name}.ckpt")) for name in (kind, "base"))
    assert all(
        torch.equal(tensors[name], tensor)
        for name, tensor in of_base.items()
        if name.startswith("best/")
    )


def test_all_weights_are_trained_where_that_is_asked_for(here: Path) -> None:
    model = made(
        here,
        "full",
        {"ensemble_loss": "gaussian_nll", "train_all_parameters": True},
        log_interval=1,
    )
    (_, tensors), (_, of_base) = (
        checkpoints.read(Path(f"{name}.ckpt")) for name in ("full", "base")
    )
    cores = [name for name in of_base if name.startswith("best/core.")]
    assert not all(torch.equal(tensors[name], of_base[name]) for name in cores)
    assert {"ensemble/0", "best_ensemble/0", "optimizer/ensemble.0/exp_avg"} <= set(tensors)
    # Its mean is still the energy.
    held_out("gaussian_nll", model)


def test_a_killed_run_ends_with_the_same_bits(here: Path, tmp_path: Path) -> None:
    uncertainty = {"ensemble_loss": "gaussian_crps", "train_all_parameters": True}
    saving = {"checkpoint_interval": 10, "checkpoint_every": "3 steps", "keep_every": None}
    options = options_of(here, uncertainty, num_epochs=5, log_interval=5, **saving)
    assert_killed_it_has_the_same_bits(tmp_path, options, at_write(4, 0))


def test_a_checkpoint_whose_ensemble_does_not_fit_is_not_resumed(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "_export", lambda *_: None)
    made(here, "begun", {"ensemble_loss": "gaussian_nll"})
    newest = max(Path("outputs").glob("*/*/*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    header, tensors = checkpoints.read(newest)
    header.position.epoch, header.position.step = 1, 9
    for name in ("ensemble/0", "best_ensemble/0"):
        broken = {**tensors, name: tensors[name][:, 1:].contiguous()}
        checkpoints.write(Path("broken.ckpt"), header, broken)
        capsys.readouterr()
        assert run_mtt("train", "begun.yaml", "-o", "again.pt", "-c", "broken.ckpt") == 2
        assert f"'{name}' has the shape" in " ".join(capsys.readouterr().err.split())


TUNE = {"fine_tune": {"read_from": "base.ckpt"}}
NLL = {"method": "llpr", "num_ensemble_members": 4, "ensemble_loss": "gaussian_nll"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no base": ({"uncertainty": NLL}, "ensemble_loss: needs fine_tune"),
    "no epochs": ({**TUNE, "uncertainty": NLL, "num_epochs": 0}, "ensemble_loss: needs epochs"),
    "no members": (
        {**TUNE, "uncertainty": {"ensemble_loss": "gaussian_nll"}},
        "there is no ensemble to train: give num_ensemble_members",
    ),
    "no loss": (
        {**TUNE, "uncertainty": {"num_ensemble_members": 4, "train_all_parameters": True}},
        "is for an ensemble that is trained: give ensemble_loss",
    ),
    "another loss": ({**TUNE, "uncertainty": {**NLL, "ensemble_loss": "mse"}}, "ensemble_loss"),
    "errors that stay": (
        {**TUNE, "uncertainty": NLL, "best_model_metric": "rmse_prod"},
        "best_model_metric: must be loss",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_is_told_before_anything_is_read(case: str, tmp_path: Path) -> None:
    training, message = REFUSED[case]
    with pytest.raises(UserError) as caught:
        make_options(tmp_path, training)
    assert message in str(caught.value)


def test_options_without_such_training_are_stored_as_before(tmp_path: Path) -> None:
    stored = make_options(tmp_path, {"uncertainty": "llpr"}).to_dict()
    assert stored["architecture"]["training"]["uncertainty"] == {
        "method": "llpr",
        "num_ensemble_members": 0,
        "regularizer": None,
    }
    options = make_options(tmp_path, {**TUNE, "uncertainty": NLL})
    assert type(options).from_dict(options.to_dict()) == options
    training = options.architecture.training
    assert (training.learning_rate, training.best_model_metric) == (1e-2, "loss")
