"""A model of several targets, from the core to the file and to what the file predicts."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import safetensors.torch
import torch
from metatomic.torch import (
    ModelEvaluationOptions,
    ModelOutput,
    load_atomistic_model,
)
from metatomic_ase import MetatomicCalculator
from several_targets import TARGETS, export, potential_of

from mtt.architectures.contract.structures import TYPES, crystal, molecule
from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.architectures.potential import Potential
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.structure import Structure
from mtt.data.structure_tensors import structure_from_tensors
from mtt.data.target import GRADIENTS, Target
from mtt.errors import UserError
from mtt.evaluation.predict import open_model
from mtt.export import golden_add, golden_pack
from mtt.export.exported_model import ExportedModel
from mtt.export.golden_pack import GoldenPack

STRUCTURES = [
    molecule(),
    crystal(),
    molecule(2, 1),
    crystal((True, True, False)),
    dataclasses.replace(crystal(), positions=crystal().positions[::-1].copy()),
]


@pytest.fixture(scope="module")
def potential() -> Potential:
    return potential_of()


@pytest.fixture(scope="module")
def model(potential: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("model") / "model.pt", potential)


def eager(potential: Potential, structures: list[Structure]) -> dict[str, Any]:
    dataset = Dataset(structures, TYPES, potential.cutoff, potential.targets)
    return potential.evaluate(collate(dataset, range(len(structures)), torch.float64).graph)


def pack_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(golden_pack.RECORD)]
        return archive.read(name)


def test_the_file_predicts_what_the_eager_model_does(potential: Potential, model: Path) -> None:
    expected = eager(potential, STRUCTURES)
    exported = ExportedModel(model)
    values = exported.evaluate(STRUCTURES, exported.targets, atoms=True)
    assert list(values) == [target.name for target in TARGETS]
    for target in TARGETS:
        pair = values[target.name], expected[target.name]
        for kind in ("atoms", "systems", "forces", "strain"):
            actual, reference = (getattr(value, kind) for value in pair)
            assert (actual is None) == (reference is None), (target.name, kind)
            if actual is not None:
                torch.testing.assert_close(
                    actual,
                    reference,
                    rtol=1e-12,
                    atol=1e-12,
                    msg=lambda text, at=(target.name, kind): f"{at}: {text}",
                )


def test_predictions_of_a_part_are_those_of_all(model: Path) -> None:
    predictor = open_model(model)
    assert predictor.kind == "exported model" and predictor.described
    assert predictor.targets == [target.with_all_gradients() for target in TARGETS]
    together = list(predictor.predict(STRUCTURES))
    for target in predictor.targets:
        alone = list(predictor.predict(STRUCTURES, [target]))
        for structure, prediction, others in zip(STRUCTURES, alone, together, strict=True):
            assert list(prediction) == [target.name]
            result, other = prediction[target.name], others[target.name]
            shape = (len(structure), 1) if target.per == "atom" else (1,)
            assert result.values.shape == shape
            np.testing.assert_allclose(result.values, other.values, rtol=1e-12)
            assert (result.forces is None) == (not target.is_energy)
            crystalline = target.is_energy and bool(structure.pbc.all())
            assert (result.stress is None) == (not crystalline)
            if result.forces is not None:
                np.testing.assert_allclose(result.forces, other.forces, rtol=1e-9, atol=1e-12)


def test_metatomic_accepts_every_target(potential: Potential, model: Path) -> None:
    loaded: Any = load_atomistic_model(str(model))
    outputs = loaded.capabilities().outputs
    assert list(outputs) == [target.name for target in TARGETS]
    assert [output.unit for output in outputs.values()] == [target.unit for target in TARGETS]
    assert {output.sample_kind for output in outputs.values()} == {"atom"}
    texts = [output.description for output in outputs.values()]
    assert texts == ["GFN2-xTB", "potential energy", "potential energy", "charge"]
    system = system_with_neighbors(crystal(), potential, torch.float64)
    for kind in ("atom", "system"):
        requests = {
            target.name: ModelOutput(unit=target.unit, sample_kind=kind) for target in TARGETS
        }
        options = ModelEvaluationOptions(length_unit="angstrom", outputs=requests)
        results = loaded([system], options, check_consistency=True)
        assert set(results) == set(requests)
    converted = ModelEvaluationOptions(
        length_unit="angstrom", outputs={"mtt::u0": ModelOutput(unit="eV", sample_kind="system")}
    )
    value = loaded([system], converted, check_consistency=True)["mtt::u0"].block().values
    expected = eager(potential, [crystal()])["mtt::u0"].systems * 27.211386
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)


def test_ase_takes_the_energy_or_a_variant(potential: Potential, model: Path) -> None:
    structure = crystal()
    expected = eager(potential, [structure])
    for variants, name, unit in (
        (None, "energy", 1.0),
        ({"energy": "pbe"}, "energy/pbe", ase.units.kcal / ase.units.mol),
    ):
        atoms = ase.Atoms(structure.types, structure.positions, cell=structure.cell, pbc=True)
        atoms.calc = MetatomicCalculator(
            model, device="cpu", variants=variants, check_consistency=True
        )
        values = expected[name]
        assert atoms.get_potential_energy() == pytest.approx(values.systems.item() * unit, rel=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), values.forces * unit, rtol=1e-6, atol=1e-9)


def test_the_pack_holds_what_the_eager_model_gives(potential: Potential, model: Path) -> None:
    content = pack_of(model)
    tensors = safetensors.torch.load(content)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["mtt"])
    names = header["systems"]
    assert {key: header[key] for key in ("format", "dtype", "length_unit")} == {
        "format": 2,
        "dtype": "float64",
        "length_unit": "angstrom",
    }
    assert header.keys() == {"format", "dtype", "length_unit", "targets", "systems"}
    assert header["targets"] == [target.with_all_gradients().to_dict() for target in TARGETS]
    assert header["targets"][1]["gradients"] == ["positions", "strain"]
    assert names[:2] == ["training-0", "training-1"] and len(names) == 2 + 3 + 6
    expected_keys = {f"{i}/{key}" for i in range(len(names)) for key in golden_pack_keys()}
    assert tensors.keys() == expected_keys
    assert golden_pack_shapes(tensors, "1", 8)
    for i in range(len(names)):
        values = eager(potential, [structure_from_tensors(str(i), tensors)])
        for target in TARGETS:
            value, prefix = values[target.name], f"{i}/{target.name}"
            assert torch.equal(tensors[f"{prefix}/atoms"], value.atoms)
            if target.per == "system":
                assert torch.equal(tensors[f"{prefix}/total"], value.systems[0])
            if target.is_energy:
                assert torch.equal(tensors[f"{prefix}/forces"], value.forces)
                assert torch.equal(tensors[f"{prefix}/virial"], -value.strain[0])
    pack = GoldenPack.parse(content)
    assert pack.content() == content
    assert pack.targets == tuple(target.with_all_gradients() for target in TARGETS)


def golden_pack_keys() -> list[str]:
    geometry = ["types", "positions", "cell", "pbc"]
    energies = [
        f"{name}/{kind}"
        for name in ("energy", "energy/pbe", "mtt::u0")
        for kind in ("atoms", "total", "forces", "virial")
    ]
    return [*geometry, *energies, "mtt::charges/atoms"]


def golden_pack_shapes(tensors: dict[str, torch.Tensor], prefix: str, n_atoms: int) -> bool:
    shapes = {"atoms": (n_atoms, 1), "total": (1,), "forces": (n_atoms, 3), "virial": (3, 3)}
    return all(
        tensor.shape == shapes[key.rpartition("/")[2]] and tensor.dtype == torch.float64
        for key, tensor in tensors.items()
        if key.startswith(f"{prefix}/") and key.rpartition("/")[2] in shapes
    )


def test_packs_of_format_1_are_read() -> None:
    atoms = torch.tensor([-1.0, -2.0], dtype=torch.float64)
    tensors = {
        "0/types": torch.tensor([1, 8], dtype=torch.int32),
        "0/positions": torch.zeros((2, 3), dtype=torch.float64),
        "0/cell": torch.zeros((3, 3), dtype=torch.float64),
        "0/pbc": torch.zeros(3, dtype=torch.uint8),
        "0/energies": atoms,
        "0/energy": atoms.sum().reshape(1),
        "0/forces": torch.ones((2, 3), dtype=torch.float64),
        "0/virial": torch.eye(3, dtype=torch.float64),
    }
    header = {
        "format": 1,
        "dtype": "float64",
        "energy_unit": "kcal/mol",
        "length_unit": "bohr",
        "output": "energy/pbe",
        "systems": ["a"],
    }
    content = safetensors.torch.save(tensors, metadata={"mtt": json.dumps(header)})
    pack = GoldenPack.parse(content)
    assert pack.targets == (Target("energy/pbe", unit="kcal/mol", gradients=GRADIENTS),)
    assert (pack.length_unit, pack.names, pack.origins) == ("bohr", ("a",), None)
    assert torch.equal(pack.tensors["0/energy/pbe/atoms"], atoms.reshape(2, 1))
    assert torch.equal(pack.tensors["0/energy/pbe/total"], tensors["0/energy"])
    again = GoldenPack.parse(pack.content())
    assert again.targets == pack.targets and again.tensors.keys() == pack.tensors.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 4},
        {"format": 2},
        {"format": 2, "targets": ["energy"]},
        {"format": 2, "targets": [{"name": "energy"}]},
        {"systems": None},
        {"systems": ["a", "b"]},
    ],
)
def test_damaged_packs_are_refused(change: dict[str, Any], model: Path) -> None:
    content = pack_of(model)
    tensors = safetensors.torch.load(content)
    header = golden_pack.read_contents(content)
    header["systems"] = header["systems"][:1]
    header["output"] = header["energy_unit"] = "energy"
    if change.get("format") == 2 and "targets" not in change:
        del header["targets"]
    spoiled = safetensors.torch.save(
        {key: tensor for key, tensor in tensors.items() if key.startswith("0/")},
        metadata={"mtt": json.dumps({**header, **change})},
    )
    with pytest.raises(ValueError, match=r"."):
        GoldenPack.parse(spoiled)
    with pytest.raises(ValueError, match=r"."):
        GoldenPack.parse(spoiled[:20])


def test_a_file_without_descriptions_is_known_by_its_names(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.pt"
    with zipfile.ZipFile(model) as archive, zipfile.ZipFile(bare, "w") as copy:
        for entry in archive.infolist():
            if not entry.filename.endswith(golden_pack.RECORD):
                copy.writestr(entry, archive.read(entry))
    exported = ExportedModel(bare)
    assert not exported.described
    kinds = {target.name: (target.is_energy, target.per) for target in exported.targets}
    assert kinds == {
        "energy": (True, "system"),
        "energy/pbe": (True, "system"),
        "mtt::u0": (False, "atom"),
        "mtt::charges": (False, "atom"),
    }
    (prediction,) = open_model(bare).predict([molecule()])
    (reference,) = open_model(model).predict([molecule()])
    assert prediction["mtt::u0"].values.sum() == pytest.approx(reference["mtt::u0"].values[0])
    np.testing.assert_array_equal(
        prediction["mtt::charges"].values, reference["mtt::charges"].values
    )


def test_unknown_types_are_refused(model: Path) -> None:
    gold = dataclasses.replace(molecule(0, 1), types=np.array([79], np.int32), source="a.xyz#0")
    with pytest.raises(UserError) as caught:
        list(open_model(model).predict([gold]))
    assert str(caught.value) == (
        "atom 0 has the atomic type 79 (Au), which the model does not know\n  where: a.xyz#0\n"
        "  hint: the model knows 1 (H), 6 (C), 8 (O)"
    )


def test_single_precision_costs_one_rounding(potential: Potential, tmp_path: Path) -> None:
    single = export(tmp_path / "single.pt", potential_of(dtype=torch.float32), precision=32)
    exported = ExportedModel(single)
    wide = ExportedModel(single, widen=True)
    expected = eager(potential_of(dtype=torch.float32).set_precision(torch.float64), STRUCTURES)
    for model, tolerance in ((exported, 1e-4), (wide, 1e-11)):
        values = model.evaluate(STRUCTURES, model.targets, atoms=True)
        for name, value in values.items():
            scale = expected[name].atoms.abs().max()
            error = (value.atoms - expected[name].atoms).abs().max()
            assert error <= tolerance * scale, name


@pytest.mark.parametrize("precision", [32, 64])
def test_a_pack_of_several_targets_grows(
    precision: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the verifier, which has tests of its own."""
    monkeypatch.setattr(golden_add.verification, "run", lambda *_, **__: None)
    dtype = torch.float64 if precision == 64 else torch.float32
    path = export(tmp_path / "model.pt", potential_of(dtype=dtype), precision)
    old = GoldenPack.parse(pack_of(path))
    water = ase.Atoms("OHH", [[0, 0, 0], [0.76, 0.59, 0.02], [-0.75, 0.6, 0.0]])
    water.write(tmp_path / "my.xyz")
    assert golden_add.run(path, tmp_path / "my.xyz", path) == len(old.names) + 1
    new = GoldenPack.parse(pack_of(path))
    assert new.targets == old.targets and new.names == (*old.names, "my-0")
    assert new.origins == (*["checkpoint"] * len(old.names), "model float64")
    assert all(torch.equal(new.tensors[key], tensor) for key, tensor in old.tensors.items())
    number = len(old.names)
    assert golden_pack_shapes(dict(new.tensors), str(number), 3)
    reference = potential_of(dtype=dtype).set_precision(torch.float64)
    values = eager(reference, [structure_from_tensors(str(number), new.tensors)])
    for target in TARGETS:
        tensors = golden_pack.reference_tensors(target, values[target.name])
        for name, tensor in tensors.items():
            torch.testing.assert_close(
                new.tensors[f"{number}/{name}"], tensor, rtol=1e-10, atol=1e-10
            )
