"""Uncertainties of a run: what they are by definition, bitwise resumes, what is refused, who gets them."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import ase.io
import numpy as np
import pytest
import torch
import yaml
from problems import Run, make_run, train_for
from run_verifier import find_program, run_verify
from small_runs import SOAP_BPNN, leave_undrawn, make_options, verify_one_family, write_data

from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.architectures.contract import ArchitectureContract, molecule
from mtt.architectures.ensemble import Ensemble
from mtt.architectures.interface import features_of
from mtt.architectures.uncertainty import Uncertainty
from mtt.checkpoint import Header
from mtt.data.batch import collate
from mtt.data.derived_targets import MOST_KEPT, ensemble_of, uncertainty_of
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.export import golden_pack
from mtt.options import Options, load_options
from mtt.training import fit_uncertainty
from mtt.training import run as stage

LLPR = {"method": "llpr", "num_ensemble_members": 5}
Files = Callable[..., Path]


def trained(options: Options) -> Run:
    run = make_run(options)
    train_for(run, finished=fit_uncertainty.fit)
    return run


def per_atom(run: Run, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and errors of structures per atom, in training units, straight from the core."""
    dataset = run.problem.train if train else run.problem.validation
    batch = collate(dataset, range(len(dataset)), run.problem.dtype)
    model = run.state.model
    model.load_state_dict(run.state.best)
    with torch.no_grad():
        raw = model.core(batch.graph, ["energy", features_of("energy")])
    owners = torch.nn.functional.one_hot(batch.graph.system).to(torch.float64)
    mean = owners / batch.n_atoms
    features = mean.t() @ raw[features_of("energy")].to(torch.float64)
    energies = mean.t() @ raw["energy"].to(torch.float64)
    return features, (energies - batch.references["energy"].values)[:, 0]


def of_atoms(run: Run, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features of atoms, and the structures that these belong to."""
    dataset = run.problem.train if train else run.problem.validation
    batch = collate(dataset, range(len(dataset)), run.problem.dtype)
    with torch.no_grad():
        raw = run.state.model.core(batch.graph, [features_of("energy")])
    return raw[features_of("energy")].to(torch.float64), batch.graph.system


@pytest.mark.parametrize("architecture", ["pet", "pet residual", "soap_bpnn"])
def test_llpr_is_what_its_formula_says(architecture: str, tmp_path: Path) -> None:
    training = {"uncertainty": LLPR, "num_epochs": 2, "batch_size": 3}
    changes: dict[str, Any] = {"base_precision": 64}
    if architecture == "soap_bpnn":
        changes["architecture"] = {**SOAP_BPNN, "training": training}
    options = make_options(tmp_path, training, **changes)
    if architecture == "pet residual":
        model = options.architecture.model.model_copy(update={"featurizer_type": "residual"})
        chosen = options.architecture.model_copy(update={"model": model})
        options = options.model_copy(update={"architecture": chosen})
    run = trained(options)
    (record,) = run.state.uncertainties
    rigidity = run.state.uncertainty_tensors["energy/rigidity"]
    features, _ = per_atom(run, train=True)
    covariance = features.t() @ features
    covariance += 1e-6 * covariance.diagonal().mean() * torch.eye(len(covariance))
    scale = float(run.state.model.baseline("energy").scale)
    others, errors = per_atom(run, train=False)
    variances = torch.einsum("ai,ij,aj->a", others, torch.linalg.inv(covariance), others)
    multiplier = float((errors.square().sum() / variances.sum()).sqrt())
    assert record.multiplier == pytest.approx(multiplier, rel=1e-6)
    found = (others @ rigidity.t()).norm(dim=1)
    torch.testing.assert_close(found, multiplier * scale * variances.sqrt(), rtol=1e-6, atol=0.0)
    # Atoms: the same formula with their own features, and variances that add up to those of systems.
    atoms, _ = of_atoms(run, train=True)
    covariance = atoms.t() @ atoms
    covariance += 1e-6 * covariance.diagonal().mean() * torch.eye(len(covariance))
    atoms, owners = of_atoms(run, train=False)
    plain = torch.einsum("ai,ij,aj->a", atoms, torch.linalg.inv(covariance), atoms)
    n_atoms = torch.bincount(owners).to(torch.float64)
    added = torch.zeros(len(errors)).double().index_add(0, owners, plain) / n_atoms**2
    factor = scale * (errors.square().sum() / added.sum()).sqrt()
    own = (atoms @ run.state.uncertainty_tensors["energy/atomic"].t()).norm(dim=1)
    torch.testing.assert_close(own, factor * plain.sqrt(), rtol=1e-6, atol=0.0)
    # Members around the prediction, as far from it as the uncertainty says, on average over many.
    weights = run.state.uncertainty_tensors["energy/weights"]
    assert weights.shape == (5, rigidity.shape[1])
    torch.testing.assert_close(weights.mean(dim=0), torch.zeros(len(weights[0])).double())
    many = fit_uncertainty._draws(rigidity, 4096, 0, run.state.model.targets[0])
    spread = (others @ many.t()).std(dim=1)
    torch.testing.assert_close(spread, found, rtol=0.1, atol=0.0)


def test_features_are_those_of_the_last_layer(tmp_path: Path) -> None:
    """A linear map of them gives the raw values: what makes the formula one of the trained network."""
    run = make_run(make_options(tmp_path, base_precision=64))
    batch = collate(run.problem.train, range(6), torch.float64)
    core: Any = run.state.model.core
    raw = core(batch.graph, ["energy", features_of("energy")])
    node, edge = core.readout.node[0][-1], core.readout.edge[0][-1]
    weight = torch.cat([node.weight, edge.weight], dim=1)
    linear = raw[features_of("energy")] @ weight.t() + node.bias
    biases = torch.zeros_like(linear).index_add(
        0, batch.graph.centers, core.describe(batch.graph.vectors)[1][:, None] * edge.bias
    )
    torch.testing.assert_close(linear + biases, raw["energy"])


def test_an_ensemble_trains_each_member_as_if_it_were_alone(tmp_path: Path) -> None:
    options = make_options(tmp_path, {"num_epochs": 2}, seed=[3, 8])
    run = trained(options)
    core = run.state.model.core
    assert isinstance(core, Ensemble) and core.seeds == [3, 8]
    alone = make_options(tmp_path, {"num_epochs": 2}, seed=3)
    expected = trained(alone).state.model.core.state_dict()
    member = core.members[0].state_dict()
    assert all(torch.equal(member[name], tensor) for name, tensor in expected.items())
    assert not torch.equal(member["node_types.weight"], core.members[1].node_types.weight)
    begun = make_run(options).state.model.core
    assert isinstance(begun, Ensemble)
    for before, after in zip(begun.members, core.members, strict=True):
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        assert all(not torch.equal(old, new) for old, new in pairs)
    # The uncertainty is the standard deviation of the members, times the multiplier.
    (record,) = run.state.uncertainties
    features, _ = per_atom(run, train=False)
    scale = float(run.state.model.baseline("energy").scale)
    expected_spread = record.multiplier * scale * features[:, :2].std(dim=1, unbiased=True)
    rigidity = run.state.uncertainty_tensors["energy/rigidity"]
    torch.testing.assert_close((features @ rigidity.t()).norm(dim=1), expected_spread)
    # What members give to all atoms of a type is no uncertainty of an atom.
    atoms, _ = of_atoms(run, train=True)
    kinds = atoms[:, 2:].argmax(dim=1)
    spread = atoms @ run.state.uncertainty_tensors["energy/atomic"].t()
    for kind in kinds.unique():
        mean = spread[kinds == kind].mean(dim=0)
        assert mean.abs().max() < 1e-6 * spread.abs().max()


@pytest.mark.parametrize("kind", ["llpr", "ensemble"])
def test_a_resumed_run_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    options = make_options(
        tmp_path,
        {"num_epochs": 2, **({"uncertainty": LLPR} if kind == "llpr" else {})},
        seed=[1, 2, 3] if kind == "ensemble" else 1,
    )
    expected = trained(options).state
    begun = make_run(options)
    train_for(begun, stop_after=3, finished=fit_uncertainty.fit)
    entries, tensors = begun.state.to_checkpoint()
    assert not begun.state.uncertainties
    again = make_run(options)
    header: Any = SimpleNamespace(**entries)
    again.state.from_checkpoint(header, tensors)
    train_for(again, finished=fit_uncertainty.fit)
    found, wanted = again.state.to_checkpoint(), expected.to_checkpoint()
    assert found[0]["uncertainties"] == wanted[0]["uncertainties"] != []
    assert found[1].keys() == wanted[1].keys()
    for name, tensor in wanted[1].items():
        assert tensor.numpy().tobytes() == found[1][name].numpy().tobytes(), name


def run_mtt(*words: str) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def finished_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Return a function that trains with changes in an empty folder, and gives its checkpoint."""
    monkeypatch.chdir(tmp_path)
    verify_one_family(monkeypatch)

    def train(training: dict[str, Any], name: str = "model", **changes: Any) -> Path:
        make_options(tmp_path, training, test_set="0:3", **changes)
        assert run_mtt("train", "options.yaml", "-o", f"{name}.pt") == 0
        return tmp_path / f"{name}.ckpt"

    return train


@pytest.fixture
def finished(finished_and_drawn: Files, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Return the same function, of runs whose pictures are not drawn."""
    leave_undrawn(monkeypatch)
    return finished_and_drawn


@pytest.fixture
def saved(finished: Files, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Return the same function, of runs that end without a model file."""
    monkeypatch.setattr(stage, "_export", lambda *_: None)
    return finished


def outputs_of(model: Path) -> list[str]:
    from mtt.export.exported_model import ExportedModel

    opened = ExportedModel(model)
    opened.close()
    return sorted(opened.outputs)


def test_files_hold_uncertainties_and_say_so(
    finished_and_drawn: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = finished_and_drawn({"num_epochs": 1, "uncertainty": LLPR})
    assert "uncertainty of energy (llpr)" in capsys.readouterr().out
    assert outputs_of(ckpt.with_suffix(".pt")) == [
        "energy",
        "energy_ensemble",
        "energy_uncertainty",
    ]
    assert run_mtt("show", str(ckpt)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "uncertainty of energy by llpr, with 5 members" in shown
    # Both files give the same numbers, and the table of errors says how they compare with errors.
    write = {"systems": {"read_from": "data.xyz"}, "targets": {"energy": {}}}
    Path("eval.yaml").write_text(yaml.safe_dump(write))
    rows = []
    for path in ("model.ckpt", "model.pt"):
        assert run_mtt("eval", path, "eval.yaml", "-o", "p.xyz") == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "uncertainty of energy:" in shown and "ensemble of energy, its spread:" in shown
        assert "uncertainty │ 5 members" in shown.replace("┃", "│") and "CRPS" in shown
        report = json.loads(Path("p.json").read_text())
        rows.append(report["calibration"]["energy"])
        assert "energy_uncertainty=" in Path("p.xyz").read_text()
        check_ensemble(report, ase.io.read("p.xyz", ":"))
    assert rows[0]["values"] == 12
    assert rows[0]["mean_uncertainty"] == pytest.approx(rows[1]["mean_uncertainty"], rel=1e-3)


class Small(ArchitectureContract):
    """Makes a model; its tests are run elsewhere."""

    __test__ = False
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = {"soap": {"channels": 2, "max_angular": 1, "max_radial": 2}}


def test_very_many_members_of_values_of_atoms_are_kept() -> None:
    """There are no totals beside them that a golden pack could have."""
    contract = Small()
    model, graph = contract.potential(), contract.graph([molecule()])
    energy, _, charges = contract.targets
    n_atoms, number = len(graph.species), MOST_KEPT + 1
    for target, rows in ((energy, 0), (charges, n_atoms)):
        name = features_of(target.name)
        size = model.core(graph, [name])[name].shape[1]
        matrix = torch.ones(1, size)
        model.set_uncertainties(
            [Uncertainty(target.name, matrix, matrix, torch.ones(number, size))]
        )
        values = model.evaluate_derived(graph)[model.ensemble_names[0]]
        assert values.atoms.shape == (rows, number)
        ensemble = ensemble_of(target, number)
        kept = golden_pack.reference_tensors(ensemble, values)[f"{ensemble.name}/atoms"]
        assert kept.shape == ((rows, number) if rows else (0,))


def test_very_many_members_cost_no_more_than_they_must(
    finished: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """As metatrain's tests ask for: the file holds them, the verifier passes it, evaluations go without."""
    number = 100_000
    ckpt = finished({"num_epochs": 1, "uncertainty": {"num_ensemble_members": number}})
    said = capsys.readouterr().out
    (warning,) = [line for line in said.splitlines() if "members of the ensemble of energy" in line]
    assert "warning: 100000 members" in warning and "6.4 MB of the export" in warning
    assert "800 kB for each atom" in warning
    assert f"energy_ensemble: its {number} members are left out" in said
    # 6.4 MB of weights, and 800 kB for each check system: 80 MB more with what each atom of them has.
    model = ckpt.with_suffix(".pt")
    assert 6.4e6 < model.stat().st_size < 25e6
    report = Path("v.json")
    families = [word for name in ("LOAD", "SCHEMA", "PARITY") for word in ("--only", name)]
    # In a process of its own: this one runs one family alone.
    words = [sys.executable, "-m", "mtt", "verify", str(model), "--json", str(report), *families]
    subprocess.run(words, check=True, capture_output=True)
    checks = json.loads(report.read_text())["checks"]
    assert {check["family"] for check in checks} == {"LOAD", "SCHEMA", "PARITY"}
    (parity,) = [
        check
        for check in checks
        if check["name"].startswith("values") and check.get("target") == "energy_ensemble"
        if check["family"] == "PARITY"
    ]
    assert parity["status"] == "pass" and len(parity["systems"]) > 3
    Path("eval.yaml").write_text(yaml.safe_dump({"systems": "data.xyz", "targets": {"energy": {}}}))
    for path in ("model.ckpt", "model.pt"):
        assert run_mtt("eval", path, "eval.yaml", "-o", "p.xyz") == 0
        assert "energy_uncertainty=" in Path("p.xyz").read_text()
        assert "energy_ensemble" not in Path("p.xyz").read_text()
    # What the file gives of a molecule: as far apart as it says.
    from mtt.data.read_files import structure_of
    from mtt.export.exported_model import ExportedModel

    opened = ExportedModel(model)
    asked = [target for target in opened.targets if target.name.startswith("energy_")]
    values = opened.evaluate([structure_of(ase.io.read("data.xyz", 0), "data.xyz")], asked)
    opened.close()
    members, uncertainty = (
        values[name].systems for name in ("energy_ensemble", "energy_uncertainty")
    )
    assert members is not None and uncertainty is not None and members.shape == (1, number)
    assert float(members.double().std()) == pytest.approx(float(uncertainty), rel=0.02)


def check_ensemble(report: Any, frames: list[ase.Atoms]) -> None:
    """Predictions and errors of an ensemble of 5: all say the same of each structure."""
    judged, columns = report["calibration"]["energy"], report["uncertainties"]["energy"]
    assert judged["ensemble"]["members"] == 5 and judged["ensemble"]["values"] == 12
    rows = columns["ensemble"]
    assert rows["index"] == columns["index"] == [*range(12)]
    for index, atoms in enumerate(frames):
        members = atoms.info["energy_ensemble"]
        assert members.shape == (5,) and len(set(members)) == 5
        energy, reference = (
            atoms.get_potential_energy() / len(atoms),
            atoms.info["reference_energy"] / len(atoms),
        )
        spread = members.std(ddof=1)
        assert atoms.info["energy_spread"] == pytest.approx(spread)
        assert rows["value"][index] == pytest.approx(energy, abs=1e-5)
        assert rows["uncertainty"][index] == pytest.approx(spread / len(atoms))
        assert rows["error"][index] == pytest.approx(energy - reference, abs=1e-5)
        uncertainty = atoms.info["energy_uncertainty"] / len(atoms)
        assert columns["uncertainty"][index] == pytest.approx(uncertainty)
    for own, of in ((judged, columns), (judged["ensemble"], rows)):
        for score in ("nll", "crps"):
            assert own[score] == pytest.approx(np.mean(of[score]))
        assert own["mean_uncertainty"] == pytest.approx(np.mean(of["uncertainty"]))
    assert "empirical_crps" not in judged and "empirical_crps" in judged["ensemble"]


def test_last_weights_are_exported_without_uncertainties_of_the_best(
    saved: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = saved({"num_epochs": 2, "uncertainty": "llpr"})
    capsys.readouterr()
    assert run_mtt("export", str(ckpt), "--weights", "last", "-o", "last.pt") == 0
    assert "without uncertainties" in capsys.readouterr().out
    assert outputs_of(Path("last.pt")) == ["energy"]


def test_an_ensemble_is_one_file_and_a_base(
    finished: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = finished({"num_epochs": 1}, seed=[1, 2, 3])
    header, tensors = checkpoints.read(ckpt)
    assert (header.seeds, len(header.uncertainties)) == ([1, 2, 3], 1)
    assert outputs_of(ckpt.with_suffix(".pt")) == [
        "energy",
        "energy_ensemble",
        "energy_uncertainty",
    ]
    assert any(name.startswith("best/core.members.2.") for name in tensors)
    quick = ["--only", "LOAD,SCHEMA,PARITY", "--for", "ase"]
    report = run_verify(find_program(), ckpt.with_suffix(".pt"), quick)
    assert report["verdict"] == "pass", [c for c in report["checks"] if c["status"] == "fail"]
    capsys.readouterr()
    assert run_mtt("show", str(ckpt)) == 0
    assert "3 members, of the seeds 1, 2, 3" in " ".join(capsys.readouterr().out.split())
    # All members are fine-tuned, from one seed.
    finished({"num_epochs": 1, "fine_tune": {"read_from": str(ckpt)}}, name="tuned", seed=9)
    tuned = checkpoints.read_header(Path("tuned.ckpt"))
    assert tuned.seeds == [1, 2, 3] and tuned.uncertainties
    make_options(Path(), {"num_epochs": 1, "fine_tune": {"read_from": str(ckpt)}}, seed=[1, 2])
    assert run_mtt("train", "options.yaml", "-o", "no.pt") == 2
    assert "the base has 3 models, and `seed` asks for 2" in capsys.readouterr().err


def test_a_trained_model_gets_uncertainties_by_options_of_metatrain(
    finished: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = finished({"num_epochs": 2}, name="base")
    options = {
        "architecture": {
            "name": "llpr",
            "model": {"num_ensemble_members": {"energy": 4}},
            "training": {"model_checkpoint": str(ckpt), "batch_size": 4},
        },
        "training_set": {"systems": "data.xyz", "targets": {"energy": {}}},
        "validation_set": 0.25,
        "test_set": "0:3",
    }
    Path("llpr.yaml").write_text(yaml.safe_dump(options))
    assert run_mtt("train", "llpr.yaml", "-o", "llpr.pt") == 0
    (header, tensors), (base, of_base) = (checkpoints.read(p) for p in (Path("llpr.ckpt"), ckpt))
    assert header.architecture == base.architecture
    assert [(record.method, record.members) for record in header.uncertainties] == [("llpr", 4)]
    assert all(
        torch.equal(tensors[name], tensor)
        for name, tensor in of_base.items()
        if name.startswith("best/")
    )
    assert "energy_ensemble" in outputs_of(Path("llpr.pt"))
    # Once more: it is finished, and nothing changes.
    before = Path("llpr.ckpt").read_bytes()
    folder = sorted(Path("outputs").glob("*/*/*.ckpt"))[-1]
    assert folder.exists()
    # A file that is no checkpoint of ours is a mistake in the options, at its line.
    options["architecture"]["training"]["model_checkpoint"] = "data.xyz"
    Path("llpr.yaml").write_text(yaml.safe_dump(options))
    capsys.readouterr()
    assert run_mtt("train", "llpr.yaml", "-o", "other.pt") == 2
    said = capsys.readouterr().err
    assert "architecture.training.model_checkpoint: this is" in said and "llpr.yaml:" in said
    assert Path("llpr.ckpt").read_bytes() == before


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "both": ({"uncertainty": "llpr"}, {"seed": [1, 2]}, "an ensemble has its own uncertainty"),
    "one seed": ({}, {"seed": [1]}, "expected 2 to 100 seeds, whole"),
    "same seeds": ({}, {"seed": [1, 1]}, "all different: one for each member"),
    "no whole seeds": ({}, {"seed": [1, 2.5]}, "whole numbers from 0, all different"),
    "regularizer": ({"uncertainty": {"regularizer": 1e300}}, {}, "regularizer"),
    "one member": (
        {"uncertainty": {"num_ensemble_members": 1}},
        {},
        "one member is no ensemble",
    ),
    "another method": ({"uncertainty": "dropout"}, {}, "expected 'llpr', found"),
    "no epochs": ({"num_epochs": 0}, {}, "can be 0 only with fine_tune and uncertainty"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_is_told_before_anything_is_read(case: str, tmp_path: Path) -> None:
    training, changes, message = REFUSED[case]
    with pytest.raises(UserError) as caught:
        make_options(tmp_path, training, **changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("several", [False, True])
def test_an_architecture_without_weights_has_none(several: bool, tmp_path: Path) -> None:
    training = {} if several else {"uncertainty": "llpr"}
    architecture = {"name": "composition", "training": {"num_epochs": 1, **training}}
    seed = [1, 2] if several else 1
    with pytest.raises(UserError, match="composition has no weights, and nothing that tells"):
        make_options(tmp_path, architecture=architecture, seed=seed)


Change = Callable[[Header, dict[str, torch.Tensor]], Header]
RIGIDITY, WEIGHTS = "uncertainty/energy/rigidity", "uncertainty/energy/weights"


def with_record(**changes: Any) -> Change:
    def change(header: Header, _: dict[str, torch.Tensor]) -> Header:
        (record,) = header.uncertainties
        return replace(header, uncertainties=[replace(record, **changes)])

    return change


def with_tensor(name: str, edit: Callable[[torch.Tensor], torch.Tensor | None]) -> Change:
    def change(header: Header, tensors: dict[str, torch.Tensor]) -> Header:
        edited = edit(tensors.pop(name))
        return header if edited is None else (tensors.update({name: edited}) or header)

    return change


def twice(header: Header, _: dict[str, torch.Tensor]) -> Header:
    return replace(header, uncertainties=header.uncertainties * 2)


def without_record(header: Header, _: dict[str, torch.Tensor]) -> Header:
    return replace(header, uncertainties=[])


def nan_in(tensor: torch.Tensor) -> torch.Tensor:
    tensor[0, 0] = float(np.nan)
    return tensor


DAMAGES: dict[str, Change] = {
    "other members": with_record(members=7),
    "one member": with_record(members=1),
    "a billion members": with_record(members=10**9),
    "negative multiplier": with_record(multiplier=-5.0),
    "a method without seeds": with_record(method="ensemble"),
    "a target that there is not": with_record(target="mtt::none"),
    "two of one target": twice,
    "no record": without_record,
    "a missing tensor": with_tensor(WEIGHTS, lambda tensor: None),
    "not a number": with_tensor(RIGIDITY, nan_in),
    "huge": with_tensor(RIGIDITY, lambda tensor: tensor * 1e300),
    "zero": with_tensor(RIGIDITY, torch.zeros_like),
    "empty": with_tensor(RIGIDITY, lambda tensor: tensor[:0]),
    "too many rows": with_tensor(RIGIDITY, lambda tensor: torch.cat([tensor] * 2)),
    "a column less": with_tensor(RIGIDITY, lambda tensor: tensor[:, 1:].contiguous()),
    "float32": with_tensor(RIGIDITY, lambda tensor: tensor.float()),
    "whole numbers": with_tensor(RIGIDITY, lambda tensor: tensor.int()),
    "members around another value": with_tensor(WEIGHTS, lambda tensor: tensor + 0.1),
}


def test_a_checkpoint_whose_uncertainty_does_not_fit_is_damaged(
    saved: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = saved({"num_epochs": 1, "uncertainty": LLPR})
    write = {"systems": {"read_from": "data.xyz"}, "targets": {"energy": {}}}
    Path("eval.yaml").write_text(yaml.safe_dump(write))
    path = ckpt.with_name("broken.ckpt")
    for case, change in DAMAGES.items():
        header, tensors = checkpoints.read(ckpt)
        header = change(header, tensors)
        checkpoints.write(path, header, tensors)
        capsys.readouterr()
        assert run_mtt("eval", str(path), "eval.yaml") == 2, case
        said = capsys.readouterr().err
        assert "uncertaint" in said and "broken.ckpt" in said, (case, said)


def test_seeds_and_targets_of_a_header_must_fit(saved: Files) -> None:
    ckpt = saved({"num_epochs": 1}, seed=[1, 2])
    header, tensors = checkpoints.read(ckpt)
    (target,) = header.targets
    (record,) = header.uncertainties
    several = replace(target, properties=3, gradients=())
    for changed in (
        replace(header, seeds=[1]),
        replace(header, seeds=[1, 1]),
        replace(header, targets=[several], uncertainties=[record]),
        replace(header, uncertainties=[replace(record, method="llpr")]),
    ):
        path = ckpt.with_name("broken.ckpt")
        checkpoints.write(path, changed, tensors)
        with pytest.raises(UserError, match="damaged"):
            checkpoints.read(path)
    tensors[WEIGHTS] = tensors[WEIGHTS].flip(0).contiguous()
    checkpoints.write(path, header, tensors)
    with pytest.raises(UserError, match="uncertainty of 'energy' does not fit"):
        checkpoints.read(path)


def test_no_two_outputs_have_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = [
        {"quantity": "charge", "unit": "e", "per": "atom", "key": "charges"},
        {"quantity": "", "unit": "", "key": "u0"},
    ]
    write_data(tmp_path / "data.xyz", several=True)

    def refused(*names: str) -> bool:
        targets = {"energy": {}, **dict(zip(names, kinds, strict=True))}
        data = {"systems": str(tmp_path / "data.xyz"), "targets": targets}
        make_options(tmp_path, {"uncertainty": "llpr"}, training_set=data)
        code = run_mtt("train", "options.yaml", "--dry-run")
        return code == 2 and "would be called" in capsys.readouterr().err

    assert refused("mtt::charges", "mtt::aux::charges_uncertainty")
    assert refused("mtt::charges", "mtt::aux::charges")
    # Those of several owners have their own.
    assert not refused("a::charges", "b::charges")
    owned = [uncertainty_of(Target(name)).name for name in ("a::q", "b::q", "mtt::q", "energy/pbe")]
    assert owned == [
        "a::q_uncertainty",
        "b::q_uncertainty",
        "mtt::aux::q_uncertainty",
        "energy_uncertainty/pbe",
    ]


def test_what_nothing_calibrates_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.xyz")
    frames = ase.io.read("data.xyz", ":")
    for atoms in frames[9:]:
        atoms.calc = None
    ase.io.write("data.xyz", frames)
    data = {"systems": "data.xyz", "targets": {"energy": {"missing": "allow"}}}
    make_options(tmp_path, {"uncertainty": "llpr"}, training_set=data, validation_set="9:12")
    assert run_mtt("train", "options.yaml") == 2
    assert "the validation set has no values of 'energy'" in capsys.readouterr().err


def test_a_base_is_asked_for_no_more_than_it_has(
    saved: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = saved({"num_epochs": 1}, name="base")
    more = {"num_epochs": 0, "uncertainty": "llpr"}
    tune = {**more, "fine_tune": {"read_from": str(ckpt), "baseline": "keep"}}
    make_options(Path(), tune, test_set="0:3", seed=4)
    capsys.readouterr()
    assert run_mtt("train", "options.yaml", "-o", "b.pt", "--dry-run") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the base was trained on" in said and "dry run: no epochs" in said
    several = saved({"num_epochs": 1}, name="several", seed=[1, 2])
    make_options(Path(), {**tune, "fine_tune": {"read_from": str(several)}}, test_set="0:3")
    assert run_mtt("train", "options.yaml", "-o", "b.pt") == 2
    assert "the base is an ensemble" in capsys.readouterr().err


WRONG_LLPR: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no mapping": ({"num_ensemble_members": 5}, {}, "must be a mapping from targets"),
    "no target": ({"num_ensemble_members": {"none": 5}}, {}, "there is no target 'none'"),
    "text": ({"num_ensemble_members": {"energy": "5"}}, {}, "must be a whole number"),
    "too many": (
        {"num_ensemble_members": {"energy": 200000}},
        {},
        "mtt gives at most 131072 members",
    ),
    "a half": ({"num_ensemble_members": {"energy": 2.5}}, {}, "must be a whole number"),
    "other hypers": ({"cutoff": 5.0}, {}, "is no option of llpr"),
    "fine-tuning": ({}, {"fine_tune": "x.ckpt"}, "is no option of llpr"),
    "no checkpoint": ({}, {"model_checkpoint": ""}, "names no checkpoint"),
    "a number": ({}, {"model_checkpoint": 5}, "names no checkpoint"),
    "epochs without members": ({}, {"num_epochs": 5}, "there is no ensemble to train"),
    "another loss": (
        {"num_ensemble_members": {"energy": 4}},
        {"num_epochs": 5, "loss": "mse"},
        "ensembles are trained by one of gaussian_nll_ensemble",
    ),
    "a gradient in the loss": (
        {"num_ensemble_members": {"energy": 4}},
        {"num_epochs": 5, "loss": {"energy": {"gradients": {"positions": "mse"}}}},
        "is no option of the loss of an ensemble",
    ),
}


def test_options_of_llpr_that_cannot_be_are_told_at_their_line(
    saved: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = saved({"num_epochs": 1})
    for case, (model, training, message) in WRONG_LLPR.items():
        options = {
            "architecture": {
                "name": "llpr",
                "model": model,
                "training": {"model_checkpoint": str(ckpt), **training},
            },
            "training_set": {"systems": "data.xyz", "targets": {"energy": {}}},
        }
        Path("llpr.yaml").write_text(yaml.safe_dump(options))
        capsys.readouterr()
        assert run_mtt("train", "llpr.yaml") == 2, case
        said = capsys.readouterr().err
        assert message in said and "llpr.yaml:" in said, (case, said)


def test_the_options_of_seeds_are_kept(tmp_path: Path) -> None:
    options = make_options(tmp_path, seed=[4, 5])
    assert options.seeds == [4, 5] and Options.from_dict(options.to_dict()) == options
    assert load_options(tmp_path / "options.yaml", ["seed=7"]).seeds == [7]
