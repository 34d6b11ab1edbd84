"""The option `zbl`: what is left to learn, and that every later stage adds the repulsion again."""

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from problems import train_for
from small_runs import SCALARS, SOAP_BPNN, leave_undrawn, make_options, verify_quickly, write_data

from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.architectures.zbl import Repulsion
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.read_files import structure_of
from mtt.errors import UserError
from mtt.evaluation.predict import open_model
from mtt.options import Options
from mtt.options.reading.problems import OptionsError
from mtt.training import fit_uncertainty
from mtt.training import run as stage
from mtt.training.loop import train as train_loop
from mtt.training.prepare import Run, prepare

PET = {
    "name": "pet",
    "model": {
        **{"cutoff": 3.0, "d_pet": 4, "d_node": 4, "d_head": 4, "d_feedforward": 4},
        **{"num_heads": 1, "num_attention_layers": 1},
    },
}
MACE = {
    "name": "mace",
    "model": {
        **{"r_max": 3.0, "num_radial_basis": 2, "max_ell": 1, "hidden_irreps": "2x0e + 2x1o"},
        **{"MLP_irreps": "2x0e", "radial_MLP": [4], "correlation": 2},
    },
}
ARCHITECTURES = [
    pytest.param(PET, id="pet"),
    pytest.param(SOAP_BPNN, id="soap_bpnn"),
    pytest.param(
        MACE,
        id="mace",
        marks=pytest.mark.skipif(
            find_spec("mace") is None,
            reason="mace-torch is not installed: pip install 'mtt[mace]'",
        ),
    ),
]
# The second energy in a unit of its own, as a fourth target to which nothing is added.
TARGETS = {**SCALARS, "mtt::u0": {"quantity": "energy", "unit": "kcal/mol"}}
MODEL = Path("model.pt")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, whose copper atoms are nearer than in the crystal."""
    monkeypatch.chdir(tmp_path)
    write_data(Path("data.xyz"), several=True)
    return tmp_path


def options_of(architecture: dict[str, Any], zbl: bool = True, **changes: Any) -> Options:
    training = {
        "num_epochs": 2,
        "batch_size": 3,
        "learning_rate": 1e-2,
        **changes.pop("training", {}),
    }
    model = {**architecture["model"], "zbl": zbl} if zbl else architecture["model"]
    content = {**architecture, "model": model, "training": training}
    data = {"systems": "data.xyz", "targets": TARGETS}
    return make_options(Path(), architecture=content, **{"training_set": data, **changes})


def begin(options: Options, source: Path | None = None) -> Run:
    return prepare(options, source, MODEL, lambda _: None)


def repulsion_of(run_or_header: Any, structure: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energy, forces and strain derivatives of the repulsion alone, in eV and angstrom."""
    types = run_or_header.atomic_types
    module = Repulsion(types, run_or_header.targets, "angstrom", 3.0)
    graph = collate(Dataset([structure], types, 3.0), [0], torch.float64).graph
    own = module.values(graph, derivatives=True)
    return tuple(np.asarray(part[0] if part.ndim == 3 else part) for part in own[1:4])  # type: ignore


def test_the_network_learns_what_the_repulsion_leaves() -> None:
    work = begin(options_of(PET))
    model = work.state.model
    factors = {"energy": 1.0, "energy/pbe": 1.0, "mtt::u0": 23.060548}
    some = 0.0
    for structure, item in zip(work.data.train, work.problem.train, strict=True):
        energy, forces, strain = repulsion_of(model, structure)
        some = max(some, float(np.abs(forces).max()))
        for name, factor in factors.items():
            baseline = model.baseline(name)
            scale, reference = float(baseline.scale), structure.references[name]
            offset = float(baseline.composition[item.species, 0].sum())
            learned = item.references[name]
            left = (reference.values - factor * energy[0] - offset) / (len(structure) * scale)
            assert learned.values == pytest.approx(left, rel=1e-6, abs=1e-9)
            if reference.forces is not None:
                assert learned.forces is not None
                left = (reference.forces - factor * forces) / scale
                np.testing.assert_allclose(learned.forces, left, atol=1e-9)
            if reference.stress is not None:
                assert learned.stress is not None
                left = (reference.stress * structure.volume - factor * strain) / scale
                np.testing.assert_allclose(learned.stress, left / len(structure), atol=1e-9)
        charges = structure.references["mtt::charges"].values
        baseline = model.baseline("mtt::charges")
        left = (charges - baseline.composition[item.species].numpy()) / float(baseline.scale)
        np.testing.assert_allclose(item.references["mtt::charges"].values, left)
    # The data have close atoms, or all of this would say nothing.
    assert some > 1.0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_run_ends_with_a_verified_model(
    architecture: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Through all families of checks; then a dimer at 0.3 A, from checkpoint and model file."""
    precision = 32 if architecture is PET else 64
    # One target, as every output goes through all checks.
    options = options_of(architecture, base_precision=precision, training_set="data.xyz")
    # At the level full, test_options_together.py has it in a PET.
    verify_quickly(monkeypatch)
    leave_undrawn(monkeypatch)
    stage.run(options, None, MODEL)
    header, tensors = checkpoints.read(MODEL.with_suffix(".ckpt"))
    assert header.architecture.hypers["zbl"] is True
    assert main(["show", "model.ckpt"]) == 0
    assert "zbl=true" in capsys.readouterr().out
    # What the loop measured without the repulsion is what the whole model gives.
    (path,) = Path("outputs").glob("*/*/errors.json")
    errors = json.loads(path.read_text())["validation"]
    row = header.history[header.best.epoch - 1]
    for name in ("energy", "forces", "stress"):
        expected = row[f"validation_{name}_rmse"]
        assert errors[name]["rmse"] == pytest.approx(expected, rel=1e-3)
    # Near the other, two copper atoms repel each other as nuclei do, whatever the network says.
    structure = structure_of(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.3]]), "near")
    energy, forces, _ = repulsion_of(header, structure)
    assert float(energy[0, 0]) > 5_000.0
    potential = checkpoints.load_potential(header, tensors, "best")
    graph = collate(Dataset([structure], header.atomic_types, 3.0), [0], torch.float32).graph
    network = potential.to(torch.float32).core(graph, ["energy"])["energy"].detach().double()
    baseline = potential.baseline("energy")
    alone = float((baseline.scale * network + baseline.composition[graph.species]).sum())
    for path in (MODEL, MODEL.with_suffix(".ckpt")):
        (prediction,) = open_model(path, "cpu").predict([structure])
        assert float(prediction["energy"].values[0]) == pytest.approx(
            alone + float(energy[0, 0]), rel=1e-5
        )
        assert prediction["energy"].forces is not None
        assert prediction["energy"].forces[1, 2] > 0.9 * forces[1, 2] > 10_000.0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_resumed_run_ends_with_the_same_bits(architecture: dict[str, Any]) -> None:
    options = options_of(architecture)
    whole, begun = begin(options), begin(options)
    train_for(whole)
    train_for(begun, stop_after=2)
    begun.save(Path("part.ckpt"))
    resumed = begin(options, Path("part.ckpt"))
    train_for(resumed)
    expected, tensors = (run.state.to_checkpoint()[1] for run in (whole, resumed))
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name


def test_it_cannot_be_switched_in_a_run() -> None:
    begin(options_of(PET)).save(Path("part.ckpt"))
    with pytest.raises(UserError) as caught:
        begin(options_of(PET, zbl=False), Path("part.ckpt"))
    (difference,) = caught.value.details
    assert difference == "architecture.model.zbl: True in the checkpoint, now nothing"


def test_models_without_it_are_stored_as_ever() -> None:
    work = begin(options_of(PET, zbl=False))
    assert "zbl" not in work.header.architecture.hypers
    assert "zbl" not in work.header.options["architecture"]["model"]
    assert Options.from_dict(work.header.options).architecture.model.zbl is False
    with_zbl = begin(options_of(PET)).header
    assert with_zbl.architecture.hypers["zbl"] is True
    assert with_zbl.options["architecture"]["model"]["zbl"] is True


def test_a_fine_tuned_model_keeps_that_of_its_base() -> None:
    base = begin(options_of(PET))
    train_for(base)
    base.save(Path("base.ckpt"))
    fine_tune = {"fine_tune": {"read_from": "base.ckpt"}}
    tuned = begin(options_of({**PET, "model": {}}, zbl=False, training=fine_tune))
    assert len(tuned.state.model.repulsions) == 1
    assert tuned.header.architecture.hypers["zbl"] is True
    with pytest.raises(UserError) as caught:
        model = {**PET["model"], "zbl": False}
        begin(options_of({**PET, "model": model}, zbl=False, training=fine_tune))
    assert "architecture.model.zbl" in str(caught.value)


def test_members_of_an_ensemble_have_it_each() -> None:
    """Their mean is the prediction, where two atoms are close as well."""
    work = begin(options_of(PET, seed=[1, 2, 3], base_precision=64, training_set="data.xyz"))
    observer: Any = SimpleNamespace(
        step=lambda *_: None, epoch=lambda row: None, stop_requested=lambda: False
    )
    train_loop(work.state, work.problem, observer, fit_uncertainty.fit)
    work.save(Path("members.ckpt"))
    structure = structure_of(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.3]]), "near")
    header, tensors = checkpoints.read(Path("members.ckpt"))
    potential = checkpoints.load_potential(header, tensors, "best")
    graph = collate(Dataset([structure], header.atomic_types, 3.0), [0], torch.float64).graph
    members = potential.evaluate_derived(graph)["energy_ensemble"].systems
    energy = potential.evaluate(graph)["energy"].systems
    assert members is not None and energy is not None
    assert float(energy) > 5_000.0
    torch.testing.assert_close(members.mean(dim=1, keepdim=True), energy)


def test_what_has_no_energy_is_refused_at_the_line() -> None:
    targets = {"mtt::charges": SCALARS["mtt::charges"]}
    with pytest.raises(OptionsError) as caught:
        options_of(PET, training_set={"systems": "data.xyz", "targets": targets})
    assert "architecture.model.zbl" in str(caught.value)
    assert "no target is an energy per system" in str(caught.value)
