"""What was trained on a device, evaluated there and on the CPU: checkpoints, exports, chunks, the verifier.

On a GPU, nothing of this has been run yet.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from command import mtt, run_mtt
from device_runs import KINDS
from metatensor.torch import Labels
from metatomic.torch import (
    ModelEvaluationOptions,
    ModelOutput,
    System,
    load_atomistic_model,
)

from mtt import checkpoint
from mtt.architectures.metatomic_systems import add_neighbor_list
from mtt.data.structure import Structure
from mtt.evaluation.predict import open_model

Trained = Callable[[str, int], Path]
# Of the largest number of each kind, for what is added up in another order.
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-10}
CPU = torch.device("cpu")


def structures() -> list[Structure]:
    """A box of 32 atoms, a molecule, and one atom alone."""
    random = np.random.default_rng(11)
    frames = [bulk("Cu", cubic=True) * (2, 2, 2), molecule("CH3OH"), molecule("H2O")[:1]]
    return [
        Structure(
            types=atoms.numbers,
            positions=atoms.positions + random.normal(scale=0.05, size=(len(atoms), 3)),
            cell=np.array(atoms.cell),
            pbc=np.array(atoms.pbc),
        )
        for atoms in frames
    ]


def assert_close(found: Any, expected: Any, dtype: torch.dtype, what: str) -> None:
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    scale = TOLERANCES[dtype] * max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=scale, err_msg=what)


def systems_on(model: Any, device: torch.device, dtype: torch.dtype) -> list[System]:
    """The structures as an engine on the device gives them."""
    systems = []
    for structure in structures():
        system = System(
            types=torch.tensor(structure.types, dtype=torch.int32, device=device),
            positions=torch.tensor(
                structure.positions, dtype=dtype, device=device, requires_grad=True
            ),
            cell=torch.tensor(structure.cell, dtype=dtype, device=device),
            pbc=torch.tensor(structure.pbc, device=device),
        )
        for request in model.requested_neighbor_lists():
            add_neighbor_list(system, structure, request)
        systems.append(system)
    return systems


def answers(model: Any, device: torch.device, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """All outputs per atom, the energy of systems, of a selection of their atoms, and forces."""
    # Without those of an old name, which metatomic adds and warns of.
    outputs = {
        name: output
        for name, output in model.capabilities().outputs.items()
        if name != "non_conservative_forces"
    }
    found = {}
    rows = torch.tensor([[0, 3], [0, 7], [1, 2]], dtype=torch.int32, device=device)
    for selection in (None, Labels(["system", "atom"], rows)):
        for kind in ("atom", "system"):
            asked = outputs if kind == "atom" else ["energy"]
            wanted = {
                name: ModelOutput(unit=outputs[name].unit, sample_kind=kind) for name in asked
            }
            options = ModelEvaluationOptions(
                length_unit="angstrom", outputs=wanted, selected_atoms=selection
            )
            systems = systems_on(model, device, dtype)
            results = model(systems, options, check_consistency=True)
            case = f"{kind}, {'all' if selection is None else 'some'}"
            for name, values in results.items():
                for number, block in enumerate(values.blocks()):
                    assert block.values.device.type == device.type and block.values.dtype == dtype
                    part = block.values.detach().double().cpu().numpy()
                    found[f"{name} {number}, {case}"] = part
            total = results["energy"].block(0).values.sum()
            slopes = torch.autograd.grad(total, [system.positions for system in systems])
            found[f"forces, {case}"] = -torch.cat(slopes).double().cpu().numpy()
    return found


@pytest.fixture(scope="module")
def exported(
    trained: Trained, device: torch.device, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Path]:
    """Gives the export of a checkpoint from the device, which the quick checks have passed."""
    made: dict[tuple[str, int], Path] = {}

    def export(kind: str, precision: int) -> Path:
        if (kind, precision) not in made:
            folder = tmp_path_factory.mktemp(f"export_{kind}_{precision}")
            mtt(folder, "export", trained(kind, precision), "-o", "model.pt")
            made[kind, precision] = folder / "model.pt"
        return made[kind, precision]

    return export


@pytest.mark.parametrize("precision", [32, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_predicts_the_same_on_both(
    kind: str, precision: int, trained: Trained, device: torch.device
) -> None:
    path = trained(kind, precision)
    dtype = checkpoint.precision_dtype(precision)
    expected, found = (
        list(open_model(path, str(at)).predict(structures())) for at in (CPU, device)
    )
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, reference in other.items():
            for part in ("values", "forces", "stress"):
                value, wanted = getattr(one[name], part), getattr(reference, part)
                assert (value is None) == (wanted is None)
                if wanted is not None:
                    assert_close(value, wanted, dtype, f"{name} {part}")


@pytest.mark.parametrize("precision", [32, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_predicts_the_same_on_both(
    kind: str, precision: int, exported: Callable[[str, int], Path], device: torch.device
) -> None:
    dtype = checkpoint.precision_dtype(precision)
    model: Any = load_atomistic_model(str(exported(kind, precision)))
    expected = answers(model, CPU, dtype)
    assert len(expected) >= 8 and any(np.abs(array).max() > 0.0 for array in expected.values())
    found = answers(model.to(device), device, dtype)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert_close(array, expected[name], dtype, name)
    # It has left nothing there. (Not to the bit: TorchScript's later calls are of optimized code.)
    for name, array in answers(model.to(CPU), CPU, dtype).items():
        assert_close(array, expected[name], dtype, f"{name}, back")


@pytest.mark.parametrize("precision", [32, 64])
def test_an_export_agrees_with_its_checkpoint(
    precision: int, trained: Trained, exported: Callable[[str, int], Path], device: torch.device
) -> None:
    dtype = checkpoint.precision_dtype(precision)
    model: Any = load_atomistic_model(str(exported("pet", precision))).to(device)
    found = answers(model, device, dtype)
    predictor = open_model(trained("pet", precision), str(device))
    expected = [prediction["energy"] for prediction in predictor.predict(structures())]
    energies = np.stack([prediction.values for prediction in expected])
    assert_close(found["energy 0, system, all"], energies, dtype, "energy")
    forces = np.concatenate([prediction.forces for prediction in expected])
    assert_close(found["forces, system, all"], forces, dtype, "forces")


@pytest.mark.parametrize("scripted", [False, True], ids=["eager", "scripted"])
@pytest.mark.parametrize("precision", [32, 64])
def test_chunks_give_what_the_whole_does(
    precision: int, scripted: bool, trained: Trained, device: torch.device
) -> None:
    """As exports evaluate large systems; here in many chunks."""
    dtype = checkpoint.precision_dtype(precision)
    header, tensors = checkpoint.read(trained("pet", precision))
    whole = (
        checkpoint.load_potential(header, tensors, "best").set_precision(dtype).to(device).eval()
    )
    whole.requires_grad_(False)
    parts = copy.deepcopy(whole).by_chunks()
    assert parts.chunks
    wanted = {"energy": ModelOutput(unit="eV", sample_kind="system")}
    results = []
    for model, tokens in ((whole, 0), (parts, 64), (parts, 500)):
        model.chunk_tokens = model.chunk_tokens_gpu = tokens
        used: Any = torch.jit.script(model) if scripted else model
        systems = systems_on(model, device, dtype)
        energies = used(systems, wanted, None)["energy"].block(0).values
        slopes = torch.autograd.grad(energies.sum(), [system.positions for system in systems])
        results.append((energies.detach().cpu().numpy(), torch.cat(slopes).cpu().numpy()))
    for values, slope in results[1:]:
        assert not np.array_equal(slope, results[0][1]), "it was not evaluated by chunks"
        assert_close(values, results[0][0], dtype, "energies")
        assert_close(slope, results[0][1], dtype, "forces")


@pytest.mark.parametrize(("kind", "precision"), [("pet", 32), ("pet", 64), ("everything", 32)])
def test_the_verifier_tries_the_device(
    kind: str, precision: int, exported: Callable[[str, int], Path], device: torch.device
) -> None:
    """Outside of the sandbox, which has no GPU."""
    path = exported(kind, precision)
    done = run_mtt(
        path.parent, "verify", path, "--only", "DTYPE/devices", "--no-isolation", "--json", "-"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    found = {check["name"]: check for check in report["checks"]}
    assert found["module moves"]["status"] == "pass"
    if device.type == "cuda":
        assert found["CUDA"]["status"] == "pass", found["CUDA"]
    else:
        assert found["CUDA"]["status"] == "skip"


def test_the_verifier_passes_an_export(exported: Callable[[str, int], Path]) -> None:
    """All quick checks, in the sandbox."""
    path = exported("pet", 32)
    done = run_mtt(path.parent, "verify", path, "--level", "quick")
    assert done.returncode == 0, done.stdout + done.stderr
