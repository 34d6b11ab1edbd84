"""`mtt show`: what it says of checkpoints and model files, also of hostile ones, and without torch."""

# ruff: noqa: UP006, UP035, UP045  (metatomic wants the names of typing in its models)

import dataclasses
import hashlib
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
import torch
from metatensor.torch import Labels, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)
from small_pet import checkpoint_of_pet, export_pet
from toy_models import export_toy

from mtt import checkpoint
from mtt.__main__ import main
from mtt.data.target import Target

ROOT = Path(__file__).parents[2]
COPY = "copy it again, or use another checkpoint of the run"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoint and model file of a small run."""
    folder = tmp_path_factory.mktemp("trained")
    ckpt = checkpoint_of_pet(folder, precision=32)
    return ckpt, export_pet(ckpt, folder / "pet.pt")


def header(**changes: Any) -> checkpoint.Header:
    """Return that of a checkpoint in the middle of a run, made by hand so that all of it is known."""
    row = {"epoch": 3, "step": 30, "validation_energy_rmse": 0.25, "validation_loss": 2.0}
    row |= {"learning_rate": 0.001, "train_loss": 1.0, "validation_energy_rmse_per_atom": 0.03125}
    model = {"cutoff": 4.5, "d_pet": 8, "normalization": "RMSNorm"}
    training = {"num_epochs": 5, "batch_size": 2, "loss": {"energy": 1.0, "type": "mse"}}
    made = checkpoint.Header(
        architecture=checkpoint.ArchitectureRecord("pet", 3, model),
        atomic_types=[1, 8, 200],
        best=checkpoint.Best(2, "rmse_prod", 0.5),
        data_hash={"training_set": "ab" * 32},
        data_size={"training_set": 12},
        history=[{**row, "epoch": n, "validation_loss": 4.0 - n} for n in (1, 2, 3)],
        length_unit="angstrom",
        num_steps=50,
        options={"seed": 3, "architecture": {"model": model, "training": training}},
        options_hash="cd" * 32,
        packages={"mtt": "0.1.0", "torch": "2.13.0"},
        position=checkpoint.Position(3, 34, 4),
        precision=64,
        split={"train": list(range(9)), "validation": [9, 10], "test": [11]},
        targets=[Target("energy", gradients=("positions", "strain"), description="PBE")],
    )
    return dataclasses.replace(made, **changes)


def write(path: str, tensors: dict[str, torch.Tensor] | None = None, **changes: Any) -> None:
    found = {
        "model/core.a": torch.ones(3, 4, dtype=torch.float64),
        "model/baselines.0.scale": torch.ones(1, dtype=torch.float64),
        "best/core.a": torch.ones(3, 4, dtype=torch.float64),
        "best/baselines.0.scale": torch.ones(1, dtype=torch.float64),
        "optimizer/core.a/exp_avg": torch.zeros(3, 4, dtype=torch.float64),
        **(tensors or {}),
    }
    checkpoint.write(Path(path), header(**changes), found)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.ckpt")
    digest = checkpoint.read_header(Path("a.ckpt")).content_hash
    size = Path("a.ckpt").stat().st_size
    tensors = 552
    assert (
        shown(capsys, "a.ckpt")
        == f"""\
a.ckpt: checkpoint, {size / 1000:.3g} kB
  architecture  pet, version 3
  weights       12 in 64 bits
  elements      H (1), O (8), type 200
  target        energy in eV, with forces and stress (PBE)
  lengths       angstrom
  epoch         3 of 5, 4 batches into the next
  step          34 of 50
  best epoch    2, by rmse_prod (0.5)
  validation                                          best                last
                energy RMSE                        250 meV             250 meV
                energy RMSE per atom        31.25 meV/atom      31.25 meV/atom
                loss                                     2                   1
  data          training_set 12 structures (abababababab...)
  split         9 train, 2 validation, 1 test
  model         cutoff=4.5, d_pet=8, normalization=RMSNorm
  training      batch_size=2, loss.energy=1.0, loss.type=mse, num_epochs=5
  seed          3
  written by    mtt 0.1.0, torch 2.13.0
  image         none
  format        version 3
  tensors       10 of {tensors} B; the file is {size / tensors:.3g} times that (best 104 B,
                content_hash 32 B, history 168 B, model 104 B, optimizer 96 B,
                split 48 B)
  content hash  {digest[:12]}..., fits the file
"""
    )


def test_what_is_said_only_if_it_is_so(capsys: pytest.CaptureFixture[str]) -> None:
    origin = checkpoint.Origin("ef" * 32, "pet", 3, "best", 7, "refit")
    write(
        "a.ckpt",
        architecture=checkpoint.ArchitectureRecord("pet", 7),
        history=[],
        origin=origin,
        upgraded_from=checkpoint.UpgradedFrom("98" * 32, {"format": 1}),
        image_digest="sha256:" + "12" * 32,
        position=checkpoint.Position(),
    )
    lines = shown(capsys, "a.ckpt").splitlines()
    assert "  architecture  pet, version 7; version 3 is installed here" in lines
    assert "  epoch         0 of 5" in lines
    assert "  metrics       no epoch has been finished" in lines
    begin = lines.index(
        "  origin        architecture.name=pet, architecture.version=3, baseline=refit,"
    )
    assert lines[begin + 1 : begin + 3] == [
        "                content_hash=efefefefefef..., epoch=7, kind=fine-tuning,",
        "                weights=best",
    ]
    assert "  upgraded from content_hash=989898989898..., format=1" in lines
    assert "  image         sha256:121212121212..." in lines
    write("a.ckpt", architecture=checkpoint.ArchitectureRecord("soap", 7))
    lines = shown(capsys, "a.ckpt").splitlines()
    assert "  architecture  soap, version 7, which is not installed here" in lines
    write("a.ckpt", best=checkpoint.Best(3, "loss", 10**400))
    assert "its header lacks a proper 'best'" in failure(capsys, "a.ckpt")
    write("a.ckpt", best=checkpoint.Best(3, "loss", None))
    lines = shown(capsys, "a.ckpt").splitlines()
    assert "  best epoch    3, by loss" in lines
    assert "  validation                                 best and last" in lines


def test_content_that_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.ckpt")
    raw = bytearray(Path("a.ckpt").read_bytes())
    place = raw.find(struct.pack("<12d", *[1.0] * 12))
    raw[place] ^= 1
    Path("a.ckpt").write_bytes(raw)
    error = (
        "error: the checkpoint is damaged: its content does not fit its content hash\n"
        "  where: a.ckpt\n  hint: copy it again, or use another checkpoint of the run\n"
    )
    assert main(["show", "a.ckpt"]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].endswith(", DOES NOT FIT: the file is damaged")
    assert said.err == error
    assert main(["show", "a.ckpt", "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["content"]["fits"] is False and said.err == error


def test_a_trained_checkpoint(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, str(trained[0]))
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines[1:])
    assert "  elements      H (1), C (6), O (8), Cu (29)" in lines
    assert "  epoch         3 of 3" in lines and "  step          12 of 12" in lines
    parts = checkpoint.read_header(trained[0]).split
    counts = [f"{len(parts[part])} {part}" for part in ("train", "validation", "test")]
    assert f"  split         {', '.join(counts)}" in lines
    assert lines[-1].endswith(", fits the file")
    found = json.loads(shown(capsys, str(trained[0]), "--json"))
    potential = checkpoint.load_potential(*checkpoint.read(trained[0]))
    weights = sum(one.numel() for one in potential.parameters())
    assert found["tensors"]["weights"] == weights
    assert f"  weights       {weights} in 32 bits" in lines
    assert found["history"]["last"] == checkpoint.read_header(trained[0]).history[-1]


def test_a_model_file(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ckpt, model = trained
    lines = shown(capsys, str(model)).splitlines()
    assert all(len(line) <= 80 for line in lines[1:])
    content = checkpoint.read_header(ckpt).content_hash
    for line in (
        "  output        energy in eV, per atom (potential energy)",
        "  elements      H (1), C (6), O (8), Cu (29)",
        "  range         6.0 angstrom",
        "  precision     float32",
        "  devices       cuda, cpu",
        "  neighbors     within 3.0 angstrom, full list, strict",
        "  architecture  pet, version 3",
        f"  checkpoint    content hash {content[:12]}...",
        "  verification  skipped by --no-verify",
        "  extensions    none",
        "  libraries     none",
    ):
        assert line in lines
    found = json.loads(shown(capsys, str(model), "--json"))
    digest = hashlib.sha256(ckpt.read_bytes()).hexdigest()
    assert found["provenance"]["checkpoint"] == {"content_hash": content, "sha256": digest}
    assert found["versions"]["torch"] == torch.__version__
    assert found["golden_pack"]["dtype"] == "float64"


def test_capabilities_are_those_that_an_engine_sees(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Against metatomic, which loads the file."""
    loaded = torch.jit.load(str(trained[1]))
    truth, (neighbors,) = loaded.capabilities(), loaded.requested_neighbor_lists()
    found = json.loads(shown(capsys, str(trained[1]), "--json"))
    said = found["capabilities"]
    assert said["atomic_types"] == truth.atomic_types
    assert said["interaction_range"] == truth.interaction_range
    assert said["length_unit"] == truth.length_unit
    assert said["dtype"] == truth.dtype
    assert said["supported_devices"] == truth.supported_devices
    assert said["outputs"]["energy"]["unit"] == truth.outputs["energy"].unit
    assert said["outputs"]["energy"]["sample_kind"] == truth.outputs["energy"].sample_kind
    (stated,) = found["neighbor_lists"]
    assert stated["cutoff"] == neighbors.cutoff and stated["full_list"] == neighbors.full_list
    assert stated["strict"] == neighbors.strict


class Foreign(torch.nn.Module):
    """The least that metatomic takes for a model."""

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        return {}

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        return [NeighborListOptions(1 / 3, False, False), NeighborListOptions(7.25, True, True)]


def test_a_model_of_another_program(capsys: pytest.CaptureFixture[str]) -> None:
    export_toy(Path("toy.pt"), golden=False, interaction_range=float("inf"), length_unit="nm")
    size = Path("toy.pt").stat().st_size
    assert size > 1000
    lines = shown(capsys, "toy.pt").splitlines()
    assert lines[0] == f"toy.pt: model file, {size / 1000:.3g} kB"
    assert "  name          toy Pair" in lines
    assert "  range         inf nm" in lines
    assert "  provenance    none: mtt did not export it" in lines
    assert "  golden pack   none: mtt verify has no reference values for it" in lines
    found = json.loads(shown(capsys, "toy.pt", "--json"))
    assert found["capabilities"]["interaction_range"] == "inf"
    assert found["provenance"] is None and found["golden_pack"] is None


def test_a_model_as_metatomic_saves_it(capsys: pytest.CaptureFixture[str]) -> None:
    """With two neighbor lists, many outputs, and everything that its authors can say."""
    outputs = {f"mtt::{i}": ModelOutput(unit="", sample_kind="system") for i in range(3)}
    outputs["energy"] = ModelOutput(unit="kcal/mol", sample_kind="atom")
    declared = ModelCapabilities(
        outputs=outputs,
        atomic_types=list(range(1, 90)),
        interaction_range=7.25,
        length_unit="Bohr",
        supported_devices=["cpu"],
        dtype="float64",
    )
    said = ModelMetadata(
        name="a model",
        description="First line.\nSecond line, with Ångström.",
        authors=["A. Person <a@example.org>", "B. Person"],
        references={"model": ["doi:10.0000/example"]},
        extra={"licence": "CC-BY-4.0"},
    )

    AtomisticModel(Foreign().eval(), said, declared).save("other.pt")
    text = shown(capsys, "other.pt")
    lines = text.splitlines()
    for line in (
        "  name          a model",
        "  description   First line. Second line, with Ångström.",
        "  authors       A. Person <a@example.org>, B. Person",
        "  references    model: doi:10.0000/example",
        '  extra         {"licence": "CC-BY-4.0"}',
        "  output        energy in kcal/mol, per atom",
        "  output        mtt::0 in no unit, per system",
        "  range         7.25 Bohr",
        "  neighbors     within 0.3333333333333333 Bohr, half list, not strict",
        "  neighbors     within 7.25 Bohr, full list, strict",
    ):
        assert line in lines
    assert "  elements      89: H He Li Be B C N O F" in text


# ---- JSON ----


def documented(kind: str) -> set[str]:
    """The keys in the table of the documentation for a kind of file."""
    page = (ROOT / "docs" / "how-to" / "show.md").read_text(encoding="utf-8")
    section = page.partition(f"### {kind}")[2].partition("\n#")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {key.strip(" `") for cell in cells for key in cell.split(",")}


def test_json_has_the_keys_that_are_documented(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.ckpt")
    for name, kind in (("a.ckpt", "Checkpoints"), (str(trained[1]), "Model files")):
        found = json.loads(shown(capsys, name, "--json"))
        assert found.keys() == documented(kind)
    differences = json.loads(shown(capsys, "--diff", "--json", "a.ckpt", "a.ckpt"))
    assert differences.keys() | {"records"} == documented("Differences")


def test_json_of_several_files_is_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.ckpt")
    write("b.ckpt", precision=32)
    text = shown(capsys, "a.ckpt", "b.ckpt", "--json")
    assert [one["precision"] for one in json.loads(text)] == [64, 32]
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"
    two = shown(capsys, "a.ckpt", "b.ckpt")
    assert two == shown(capsys, "a.ckpt") + "\n" + shown(capsys, "b.ckpt")


# ---- differences ----


def test_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.ckpt")
    write("b.ckpt")
    assert shown(capsys, "--diff", "a.ckpt", "b.ckpt") == "a.ckpt and b.ckpt are the same\n"
    found = json.loads(shown(capsys, "--diff", "--json", "a.ckpt", "b.ckpt"))
    assert found["same"] is True and found["changed"] == {}


def test_differences(capsys: pytest.CaptureFixture[str]) -> None:
    options = header().options
    changed = json.loads(json.dumps(options))
    changed["architecture"]["training"]["batch_size"] = 4
    changed["architecture"]["training"]["more"] = [1, 2]
    del changed["seed"]
    write("a.ckpt")
    write(
        "b.ckpt",
        {"model/core.a": torch.zeros(3, 4, dtype=torch.float64), "check/x": torch.zeros(2)},
        options=changed,
        best=checkpoint.Best(2, "rmse_prod", 0.25),
    )
    hashes = [checkpoint.read_header(Path(name)).content_hash for name in ("a.ckpt", "b.ckpt")]
    sizes = [Path(name).stat().st_size for name in ("a.ckpt", "b.ckpt")]
    ratios = [round(size / total, 4) for size, total in zip(sizes, (552, 560), strict=True)]
    assert (
        shown(capsys, "--diff", "a.ckpt", "b.ckpt")
        == f"""\
a.ckpt and b.ckpt: checkpoints that differ
  best.value: 0.5 -> 0.25
  content.hash: {hashes[0][:12]}... -> {hashes[1][:12]}...
  options.architecture.training.batch_size: 2 -> 4
  options.architecture.training.more: (none) -> 1, 2
  options.seed: 3 -> (none)
  size: {sizes[0]} -> {sizes[1]}
  tensors.bytes: 552 -> 560
  tensors.count: 10 -> 11
  tensors.file_to_bytes: {ratios[0]} -> {ratios[1]}
  tensors of check: 1 only in the second file
  tensors of content_hash: 1 of 1 differ in bits
  tensors of model: 1 of 2 differ in bits
"""
    )
    found = json.loads(shown(capsys, "--diff", "--json", "a.ckpt", "b.ckpt"))
    assert found["changed"]["options.seed"] == {"a": 3}
    assert found["tensors"]["best"] == {"same": 2, "differ": 0, "only_a": 0, "only_b": 0}


def test_tensors_of_the_same_bytes_in_another_shape_differ(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("a.ckpt")
    write("b.ckpt", {"model/core.a": torch.ones(4, 3, dtype=torch.float64)})
    assert "  tensors of model: 1 of 2 differ in bits\n" in shown(
        capsys, "--diff", "a.ckpt", "b.ckpt"
    )


def test_model_files_that_differ(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    export_toy(Path("a.pt"))
    export_toy(Path("b.pt"), unit="meV")
    text = shown(capsys, "--diff", "a.pt", "b.pt")
    assert "  capabilities.outputs.energy.unit: eV -> meV\n" in text
    assert "records of other: 2 of 5 differ in bits" in text
    assert "records of tensors" not in text
    same = shown(capsys, "--diff", str(trained[1]), str(trained[1]))
    assert same.endswith(" are the same\n")


def test_what_cannot_be_compared(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (str(path) for path in trained)
    assert failure(capsys, "--diff", a, b) == (
        "error: a checkpoint cannot be compared with a model file\n"
        f"  where: {a} is a checkpoint, {b} is a model file\n"
        "  hint: the provenance of a model file has the content hash of its checkpoint: mtt show\n"
    )
    assert failure(capsys, "--diff", a) == "error: --diff compares two files, not 1\n"


# ---- other files ----


def of_metatrain(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """Return what metatrain pickles, with objects of classes that are not installed here."""

    def made(module: str, name: str, **state: Any) -> Any:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
        kind = type(name, (), {"__module__": module})
        setattr(sys.modules[module], name, kind)
        value = kind()
        value.__dict__.update(state)
        return value

    energy = made("metatrain.utils.data.target_info", "TargetInfo", quantity="energy", unit="eV")
    info = made(
        "metatrain.utils.data.dataset",
        "DatasetInfo",
        length_unit="angstrom",
        _atomic_types={8, 1},
        targets={"energy": energy},
    )
    hypers = {"cutoff": 4.5, "heads": [1, 2], "odd": Payload()}
    return {
        "architecture_name": "pet",
        "model_ckpt_version": 11,
        "model_data": {"model_hypers": hypers, "dataset_info": info},
        "epoch": 12,
        "best_epoch": 10,
        "best_metric": 0.25,
        "model_state_dict": {"a": torch.zeros(2)},
        **changes,
    }


def test_a_checkpoint_of_metatrain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(of_metatrain(monkeypatch), "theirs.ckpt")
    size = Path("theirs.ckpt").stat().st_size
    digest = hashlib.sha256(Path("theirs.ckpt").read_bytes()).hexdigest()
    what = "a pickled checkpoint of metatrain (architecture pet, version 11)"
    assert (
        shown(capsys, "theirs.ckpt")
        == f"""\
theirs.ckpt: {what}, {size / 1000:.3g} kB
  architecture  pet, version 11
  elements      H (1), O (8)
  target        energy in eV
  lengths       angstrom
  epoch         12
  best epoch    10 (0.25)
  model         cutoff=4.5, heads=1, 2, odd=null
  read          its names only: loading a pickle runs whatever code is in it
  what to do    export it with metatrain and check the result with 'mtt verify',
                or train anew from the data with the same options
  sha256        {digest}
"""
    )
    found = json.loads(shown(capsys, "theirs.ckpt", "--json"))
    assert found.keys() == documented("Files of other programs, as JSON")
    assert (found["kind"], found["format"]) == ("foreign", "pickle-metatrain")
    stated = found["metatrain"]
    assert stated["architecture"]["name"] == "pet" and stated["architecture"]["version"] == 11
    assert stated["atomic_types"] == [1, 8] and stated["elements"] == ["H", "O"]
    assert stated["targets"] == {"energy": {"quantity": "energy", "unit": "eV"}}
    assert stated["best"] == {"epoch": 10, "value": 0.25}
    Path("bare.ckpt").write_bytes(pickle.dumps(of_metatrain(monkeypatch)))
    assert json.loads(shown(capsys, "bare.ckpt", "--json"))["metatrain"] == stated
    assert not Path("ran").exists()


def test_a_hostile_checkpoint_of_metatrain_is_described_in_bounds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep: Any = [EVIL]
    for _ in range(60):
        deep = [deep] * 20
    loop: list[Any] = []
    loop.append(loop)
    data = {"model_hypers": {"deep": deep, "loop": loop, "many": list(range(10**5))}}
    torch.save({"architecture_name": EVIL, "epoch": 10**400, "model_data": data}, "theirs.ckpt")
    assert is_harmless(shown(capsys, "theirs.ckpt"))
    assert len(shown(capsys, "theirs.ckpt", "--json")) < 200_000
    odd = {"architecture_name": "pet", "model_data": [1], "wrapped_model_checkpoint": 3}
    torch.save({**odd, "best_metric": float("nan"), "epoch": "x"}, "theirs.ckpt")
    stated = json.loads(shown(capsys, "theirs.ckpt", "--json"))["metatrain"]
    assert (stated["epoch"], stated["best"], stated["targets"]) == (
        None,
        {"epoch": None, "value": None},
        None,
    )


def test_files_of_other_programs(capsys: pytest.CaptureFixture[str]) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), "script.pt")
    text = shown(capsys, "script.pt")
    assert text.startswith("script.pt: a TorchScript model without the metatomic interface, ")
    assert "  what to do    train anew from the data, or export it for metatomic\n" in text
    assert json.loads(shown(capsys, "script.pt", "--json"))["metatrain"] is None
    # Neither a checkpoint nor a model, so not the file that was meant.
    Path("a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert failure(capsys, "a.h5") == (
        "error: this is an HDF5 file, not a checkpoint or a model file\n  where: a.h5\n"
        "  hint: give a checkpoint (.ckpt) that 'mtt train' wrote, or a model file (.pt)\n"
    )
    assert failure(capsys, "--diff", "script.pt", "script.pt").startswith(
        "error: this is a TorchScript model without the metatomic interface, not a checkpoint or"
    )


def test_files_that_are_not_there(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    write("model.ckpt")
    assert failure(capsys, "modle.ckpt") == (
        "error: file not found: modle.ckpt; did you mean 'model.ckpt'?\n"
    )
    assert failure(capsys, ".") == "error: the file is a folder, not a file: .\n"
    os.mkfifo("pipe")
    assert failure(capsys, "pipe") == (
        "error: the file is not a regular file: it is a pipe\n  where: pipe\n"
    )


def test_damaged_files(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    whole = trained[0].read_bytes()
    Path("a.ckpt").write_bytes(whole[:-1])
    missing = "error: the checkpoint is truncated: 1 bytes are missing at its end\n"
    assert failure(capsys, "a.ckpt") == f"{missing}  where: a.ckpt\n  hint: {COPY}\n"
    Path("a.ckpt").write_bytes(whole[:100])
    assert failure(capsys, "a.ckpt").startswith("error: the checkpoint is truncated: ")
    Path("a.pt").write_bytes(trained[1].read_bytes()[:-100])
    assert failure(capsys, "a.pt") == (
        "error: this is a zip archive that cannot be read (file is not a zip file), not a "
        "checkpoint or a model file\n  where: a.pt\n  hint: copy it again: the archive is not whole\n"
    )


# ---- hostile files ----

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\n\x7f\ud800"
SHOWN = "\\x1b]0;owned\\x07\\x1b[2J\\u202e\\x9b31m"


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def evil(value: Any) -> Any:
    """The same value with something for the terminal in every text and key."""
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, dict):
        return {f"{key}{EVIL}": evil(one) for key, one in value.items()}
    return [evil(one) for one in value] if isinstance(value, list) else value


def test_nothing_in_a_checkpoint_reaches_the_terminal_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = header()
    hypers = evil(good.architecture.hypers)
    target = Target("energy", quantity=EVIL, unit=EVIL, description=EVIL)
    write(
        "a.ckpt",
        {f"more{EVIL[:-1]}/x": torch.zeros(2)},
        architecture=checkpoint.ArchitectureRecord(EVIL, 1, hypers),
        best=checkpoint.Best(2, EVIL, 0.5),
        history=[evil(row) for row in good.history],
        image_digest=EVIL,
        length_unit=EVIL,
        options=evil(good.options),
        origin=checkpoint.Origin(EVIL, EVIL, 1, EVIL, 1, EVIL, EVIL),
        upgraded_from=checkpoint.UpgradedFrom(EVIL, {EVIL: 1}),
        packages=evil(good.packages),
        targets=[target],
    )
    text = shown(capsys, "a.ckpt")
    assert is_harmless(text) and f"  architecture  {SHOWN}" in text
    assert all(
        0x20 <= byte < 0x7F for byte in shown(capsys, "a.ckpt", "--json").encode() if byte != 10
    )
    write("b.ckpt")
    assert is_harmless(shown(capsys, "--diff", "a.ckpt", "b.ckpt"))
    raw = Path("b.ckpt").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    table = json.loads(raw[8 : 8 + length])
    table[f"x{EVIL}"] = 5
    text = json.dumps(table)
    Path("b.ckpt").write_bytes(struct.pack("<Q", len(text)) + text.encode() + raw[8 + length :])
    assert is_harmless(failure(capsys, "b.ckpt"))


def test_nothing_in_a_model_file_reaches_the_terminal_as_it_is(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(trained[1]) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    provenance = next(name for name in records if name.endswith("provenance.json"))
    records[provenance] = json.dumps(evil(json.loads(records[provenance]))).encode()
    for name in records:
        if name.endswith(("-version", "extensions", "extensions-deps")):
            records[name] = json.dumps([EVIL]).encode()
    pickled = next(name for name in records if name.endswith("data.pkl"))
    for word in (b"angstrom", b"potential energy"):
        new = b"\x1b[2J".ljust(len(word), b"\x9b")
        records[pickled] = records[pickled].replace(word, new.replace(b"\x9b", b"\x07"))
    with zipfile.ZipFile("a.pt", "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    assert is_harmless(shown(capsys, "a.pt"))
    assert is_harmless(shown(capsys, "--diff", "a.pt", str(trained[1])))
    with zipfile.ZipFile("a.pt", "a") as archive:
        archive.writestr(f"archive/{EVIL[:-1]}/x", b"")
    assert is_harmless(failure(capsys, "a.pt"))


def test_names_of_files_are_escaped_too(capsys: pytest.CaptureFixture[str]) -> None:
    write("\x1b[31m.ckpt")
    assert is_harmless(shown(capsys, "\x1b[31m.ckpt"))
    Path("\x1b[31m.txt").write_text("some text, and more of it")
    assert is_harmless(failure(capsys, "\x1b[31m.txt"))


def test_a_terminal_without_the_characters() -> None:
    write("a.ckpt", length_unit="Ångström")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(
        [sys.executable, "-m", "mtt", "show", "a.ckpt"],
        capture_output=True,
        env=environment,
        check=True,
    )
    assert b"  lengths       \\xc5ngstr\\xf6m\n" in result.stdout


class Payload:
    """Leaves a file behind if anyone unpickles it."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def model_archive(pickled: bytes) -> None:
    with zipfile.ZipFile("a.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/code/__torch__/metatomic/torch/model.py", "")


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b"no pickle",
        pickle.dumps(Payload(), protocol=2),
        pickle.dumps({"_capabilities": Payload()}, protocol=2),
        b"\x80\x02c__torch__.metatomic.torch.model\nAtomisticModel\n)\x81}q\x00h\x00b.",
        b"\x80\x02c__torch__.metatomic.torch.model\nAtomisticModel\n)\x81}(X\x0d\0\0\0_capabilities"
        b"c__torch__.x\nM\n)\x81X\x02\0\0\0[]bub.",
    ],
)
def test_models_whose_capabilities_cannot_be_read(
    pickled: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    model_archive(pickled)
    text = shown(capsys, "a.pt")
    assert "  capabilities  could not be read without loading the model\n" in text
    assert not Path("ran").exists()


def test_random_headers_are_always_shown_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Entries of a header replaced by others: text or one clear message, never a bug."""
    write("a.ckpt")
    raw = Path("a.ckpt").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    table = json.loads(raw[8 : 8 + length])
    stored = json.loads(table["__metadata__"]["mtt"])
    dice = random.Random(0)
    values: list[Any] = [None, True, 0, -1, 10**400, 1e300, "", "x", [], [[]], {}, {"a": {"": []}}]
    values += [json.loads('{"a":' * 700 + "1" + "}" * 700)]
    places = list(paths(stored))
    ended = {True: 0, False: 0}
    for number in range(300):
        changed = json.loads(json.dumps(stored))
        for _ in range(dice.randrange(1, 3)):
            replace(changed, dice.choice(places), dice.choice(values))
        table["__metadata__"]["mtt"] = json.dumps(changed)
        text = json.dumps(table).encode()
        Path("b.ckpt").write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
        arguments = [["b.ckpt"], ["--diff", "a.ckpt", "b.ckpt"], ["b.ckpt", "--json"]]
        code = main(["show", *arguments[number % 3]])
        captured = capsys.readouterr()
        # The hash fits none of them, but what can be shown is.
        ended[captured.out != ""] += 1
        assert is_harmless(captured.out + captured.err)
        assert (
            captured.err == "" if code == 0 else captured.err.startswith("error: the checkpoint")
        ), captured.err
    assert min(ended.values()) > 30
    assert not Path("error.log").exists()


def paths(value: Any, path: tuple[str, ...] = ()) -> Any:
    if path:
        yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from paths(one, (*path, key))


def replace(value: Any, path: tuple[str, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value[path[-1]] = new


def test_random_model_files_are_always_shown_or_refused(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained[1].read_bytes()
    spots = [whole.find(one) for one in (b"data.pkl", b"ModelCapabilities", b"provenance.json")]
    spots += [whole.find(b"golden.safetensors"), len(whole) - 3000, len(whole) - 40]
    dice = random.Random(0)
    ended = {0: 0, 2: 0}
    for _ in range(150):
        content = bytearray(whole)
        place = min(dice.choice(spots) + dice.randrange(600), len(content) - 1)
        if dice.random() < 0.7:
            content[place] ^= 1 << dice.randrange(8)
        else:
            del content[place : place + dice.randrange(1, 20)]
        Path("b.pt").write_bytes(content)
        ended[main(["show", "b.pt"])] += 1
        captured = capsys.readouterr()
        assert is_harmless(captured.out + captured.err)
    assert min(ended.values()) > 5


def test_nothing_heavy_is_imported(trained: tuple[Path, Path]) -> None:
    torch.save({"architecture_name": "pet"}, "old.ckpt")
    code = (
        "import sys; from mtt.__main__ import main; codes = [main(['show', *sys.argv[1:3]]), "
        "main(['show', '--diff', '--json', sys.argv[1], sys.argv[1]]), main(['show', 'old.ckpt'])]; "
        "heavy = {'torch', 'numpy', 'ase', 'pydantic', 'yaml', 'rich', 'matplotlib', 'metatomic'}; "
        "print(codes, sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, trained)], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[0, 0, 0] []"


def test_secrets_of_the_reader_are_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at a file may have written it, with an address that has a password in it."""
    write(
        "a.ckpt", packages={"mtt": "https://me:pass-word@host.example/x", "torch": "my-hub-token"}
    )
    monkeypatch.setenv("HF_TOKEN", "my-hub-token")
    for words in (["a.ckpt"], ["a.ckpt", "--json"]):
        text = shown(capsys, *words)
        assert "host.example" in text and "[token]" in text
        assert "pass-word" not in text and "my-hub-token" not in text
