"""Exports: what is in the file, and that a file appears only when it has passed verification."""

import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from metatomic.torch import ModelOutput, load_atomistic_model, read_model_metadata
from several_targets import TARGETS, potential_of, save
from small_pet import checkpoint_of_pet, export_pet
from small_runs import verify_one_family, verify_quickly

from mtt import checkpoint as checkpoints
from mtt.architectures.contract.structures import crystal, molecule
from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.structure_tensors import structure_from_tensors
from mtt.data.target import Target
from mtt.errors import UserError, VerificationFailed
from mtt.export import process as export_process
from mtt.export import run as export
from mtt.export.archive_edit import with_record


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory) -> Path:
    return checkpoint_of_pet(tmp_path_factory.mktemp("checkpoint"))


def record(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        (found,) = [entry for entry in archive.namelist() if entry.endswith(f"/extra/{name}")]
        return archive.read(found)


def test_default_name_and_provenance(ckpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = export.run(ckpt)
    assert written == Path("pet.pt") and written.is_file()
    header = checkpoints.read_header(ckpt)
    provenance = json.loads(record(written, "mtt/provenance.json"))
    digest = hashlib.sha256(ckpt.read_bytes()).hexdigest()
    assert provenance["checkpoint"] == {"content_hash": header.content_hash, "sha256": digest}
    assert provenance["architecture"] == dataclasses.asdict(header.architecture)
    assert provenance["verification"] == "passed"
    assert provenance["weights"] == "best"
    # What is installed; torch itself may add the name of the build, as +cu130.
    assert provenance["packages"]["torch"] == importlib.metadata.version("torch")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pet.pt", "pet.pt.intoto.json"]


def test_golden_pack_holds_the_float64_answers(ckpt, tmp_path):
    written = export_pet(ckpt, tmp_path / "model.pt")
    pack = record(written, "mtt/golden.safetensors")
    tensors = safetensors.torch.load(pack)
    (length,) = np.frombuffer(pack[:8], "<u8")
    header = json.loads(json.loads(pack[8 : 8 + int(length)])["__metadata__"]["mtt"])
    names = header["systems"]
    assert len(names) >= 8
    assert {"cluster", "cubic", "triclinic", "small-cell", "slab", "wire"} < set(names)
    assert any(name.startswith("atom-") for name in names)
    potential = checkpoints.load_potential(*checkpoints.read(ckpt)).set_precision(torch.float64)
    for i in range(len(names)):
        structure = structure_from_tensors(str(i), tensors)
        system = system_with_neighbors(structure, potential, torch.float64)
        outputs = {"energy": ModelOutput(unit="eV", sample_kind="system")}
        value = potential([system], outputs, None)["energy"].block().values
        value.sum().backward()
        torch.testing.assert_close(value[0], tensors[f"{i}/energy/total"], rtol=1e-12, atol=1e-10)
        torch.testing.assert_close(
            -system.positions.grad, tensors[f"{i}/energy/forces"], rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(
            tensors[f"{i}/energy/atoms"].sum(),
            tensors[f"{i}/energy/total"][0],
            rtol=1e-12,
            atol=1e-10,
        )


def test_a_failed_verification_leaves_everything_as_it_was(ckpt, tmp_path, monkeypatch):
    output = tmp_path / "model.pt"
    output.write_bytes(b"an older export")
    made = export_process.run

    def wrong(task):
        """The real file, with another energy in its golden pack."""
        content = made(task)
        whole = tmp_path / "whole.pt"
        whole.write_bytes(content)
        pack = record(whole, "mtt/golden.safetensors")
        whole.unlink()
        spoiled = safetensors.torch.load(pack)
        spoiled["0/energy/total"] = spoiled["0/energy/total"] + 0.001
        other = safetensors.torch.save(spoiled, metadata={"mtt": _metadata(pack)})
        return with_record(content, "extra/mtt/golden.safetensors", other)

    monkeypatch.setattr(export_process, "run", wrong)
    with pytest.raises(VerificationFailed) as caught:
        export.run(ckpt, output)
    failed = f"{output} failed 1 check: PARITY/energy, which matters to ASE, i-PI, "
    assert str(caught.value).startswith(failed)
    assert output.read_bytes() == b"an older export"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def _metadata(pack: bytes) -> str:
    (length,) = np.frombuffer(pack[:8], "<u8")
    return json.loads(pack[8 : 8 + int(length)])["__metadata__"]["mtt"]


def test_without_verification_the_file_says_so(ckpt, tmp_path):
    with pytest.warns(UserWarning, match="written without verification"):
        written = export.run(ckpt, tmp_path / "model.pt", verify="none")
    provenance = json.loads(record(written, "mtt/provenance.json"))
    assert provenance["verification"] == "skipped by --no-verify"


def test_last_weights(ckpt, tmp_path, monkeypatch):
    verify_one_family(monkeypatch)
    header, tensors = checkpoints.read(ckpt)
    changed = {
        name: tensor * 1.5 if name.startswith("model/core.") else tensor
        for name, tensor in tensors.items()
    }
    path = tmp_path / "changed.ckpt"
    checkpoints.write(path, header, changed)
    energies = []
    for weights in ("best", "last"):
        written = export.run(path, tmp_path / f"{weights}.pt", weights=weights)
        assert json.loads(record(written, "mtt/provenance.json"))["weights"] == weights
        tensors = safetensors.torch.load(record(written, "mtt/golden.safetensors"))
        energies.append(float(tensors["0/energy/total"]))
    assert energies[0] != energies[1]


def test_metadata_reaches_the_engine(ckpt, tmp_path, monkeypatch):
    verify_one_family(monkeypatch)
    given = tmp_path / "metadata.yaml"
    given.write_text(
        "name: Ethanol\ndescription: gas phase\nauthors: [A. Person]\n"
        "references:\n  model: [doi:10/model]\n  architecture: [doi:10/mine]\n"
        "extra: {license: CC-BY}\n"
    )
    written = export.run(ckpt, tmp_path / "model.pt", metadata=given)
    metadata = read_model_metadata(str(written))
    assert (metadata.name, metadata.description) == ("Ethanol", "gas phase")
    assert metadata.authors == ["A. Person"]
    assert metadata.references["model"] == ["doi:10/model"]
    assert metadata.references["architecture"] == [
        "doi:10/mine",
        "https://arxiv.org/abs/2305.19302",
    ]
    assert dict(metadata.extra) == {"license": "CC-BY"}


def test_a_unit_of_an_older_checkpoint_that_no_engine_reads_is_left_out(
    tmp_path, monkeypatch, caplog
):
    verify_one_family(monkeypatch)
    target = Target("mtt::dos", quantity="", unit="states/eV")
    path = save(tmp_path / "old.ckpt", potential_of((*TARGETS[:1], target)))
    written = export.run(path, tmp_path / "model.pt")
    outputs = load_atomistic_model(str(written)).capabilities().outputs
    assert {name: output.unit for name, output in outputs.items()} == {
        "energy": "eV",
        "mtt::dos": "",
    }
    told = "warning: no engine knows the unit 'states/eV' of 'mtt::dos': the model file has none for it"
    assert told in caplog.messages


def test_a_folder_that_is_not_there(ckpt, tmp_path):
    with pytest.raises(UserError) as caught:
        export.run(ckpt, tmp_path / "missing" / "model.pt")
    assert str(tmp_path / "missing") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_large_offsets_cost_one_rounding_in_float32(tmp_path, monkeypatch):
    # tests/faults has the same model, without the offsets, at the level full.
    verify_quickly(monkeypatch)
    path = checkpoint_of_pet(tmp_path, precision=32)
    header, tensors = checkpoints.read(path)
    shifted = {
        name: tensor - 1e5 if name.endswith(".composition") else tensor
        for name, tensor in tensors.items()
    }
    checkpoints.write(path, header, shifted)
    written = export.run(path, tmp_path / "single.pt", verify="full")
    potential = checkpoints.load_potential(*checkpoints.read(path))
    model = load_atomistic_model(str(written)).module
    outputs = {"energy": ModelOutput(unit="eV", sample_kind="system")}
    for base in (molecule(), crystal()):
        types = np.resize(np.array(potential.atomic_types, np.int32), len(base))
        structure = dataclasses.replace(base, types=types)
        system = system_with_neighbors(structure, potential, torch.float32)
        with torch.no_grad():
            value = float(model([system], outputs, None)["energy"].block().values)
            dataset = Dataset([structure], potential.atomic_types, potential.cutoff, ())
            graph = collate(dataset, [0], torch.float32).graph
            raw = potential.core(graph, ["energy"])["energy"].double().sum()
        baseline = potential.baseline("energy")
        exact = float(raw * baseline.scale + baseline.composition[graph.species].sum())
        assert exact < -7e5
        # Half a unit in the last place of the float32 result, and the network's own noise.
        assert abs(value - exact) <= 0.5 * np.spacing(np.float32(abs(exact))) + 1e-4


def test_full_disk(ckpt, tmp_path, small_disk):
    """A real file system without room: a message, and nothing left on it."""
    shutil.copy(ckpt, tmp_path / "model.ckpt")
    with pytest.raises(UserError) as caught:
        export.run(tmp_path / "model.ckpt", small_disk / "model.pt")
    assert "No space left on device" in str(caught.value) or "full" in str(caught.value)
    assert list(small_disk.iterdir()) == []
