"""A small PET with two energies, an energy of a name of its own and charges, and files made of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from mtt import architecture_registry, checkpoint
from mtt.architectures.contract.structures import TYPES, crystal, molecule
from mtt.architectures.potential import Potential
from mtt.data.structure_tensors import structure_tensors
from mtt.data.target import Target
from mtt.export.torchscript import export_bytes
from mtt.options import load_options, options_hash

TARGETS = (
    Target("energy", gradients=("positions", "strain"), description="GFN2-xTB"),
    Target("energy/pbe", unit="kcal/mol"),
    Target("mtt::u0", unit="Hartree"),
    Target("mtt::charges", quantity="charge", unit="e", per="atom"),
)
HYPERS: dict[str, Any] = {
    "d_pet": 8,
    "d_node": 8,
    "d_head": 8,
    "d_feedforward": 8,
    "num_heads": 2,
    "num_attention_layers": 1,
    "cutoff": 3.0,
}


def potential_of(
    targets: Sequence[Target] = TARGETS,
    dtype: torch.dtype = torch.float64,
    types: Sequence[int] = TYPES,
    length_unit: str = "angstrom",
) -> Potential:
    """Return a potential with weights, baselines and scales that are always the same."""
    pet = architecture_registry.get("pet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        core: Any = pet.build_core(pet.ModelHypers(**HYPERS), types, targets)
    potential = Potential(core, types, targets, length_unit).set_precision(dtype).eval()
    offsets = torch.tensor([[-13.0 * z] for z in types], dtype=torch.float64)
    for number, target in enumerate(targets, start=1):
        baseline = potential.baseline(target.name)
        baseline.composition += offsets / number
        baseline.scale.fill_(0.5 * number)
    return potential


def content_of(potential: Potential, precision: int = 64) -> bytes:
    """Return the content of the exported file, as ``mtt export`` makes it from a checkpoint."""
    header: Any = SimpleNamespace(precision=precision, architecture=SimpleNamespace(name="pet"))
    tensors: dict[str, torch.Tensor] = {}
    # Of a model of other types, only made-up systems are checked.
    samples = [molecule(3, 6), crystal()] if potential.atomic_types == TYPES else []
    for number, structure in enumerate(samples):
        tensors |= structure_tensors(f"check/{number}", structure)
    return export_bytes(potential, header, tensors, {"metadata": None})


def export(path: Path, potential: Potential, precision: int = 64) -> Path:
    """Write the exported file."""
    path.write_bytes(content_of(potential, precision))
    return path


def save(path: Path, model: Potential) -> Path:
    """Write a checkpoint of ``model``, with other weights as the last ones, beside options and data."""
    folder = path.parent
    text = json.dumps(
        {
            "architecture": {"name": "pet", "model": HYPERS},
            "training_set": "data.xyz",
            "base_precision": 64,
        }
    )
    (folder / "options.yaml").write_text(text)
    (folder / "data.xyz").touch()
    options = load_options(folder / "options.yaml", [f"training_set={folder / 'data.xyz'}"])
    header = checkpoint.Header(
        architecture=checkpoint.ArchitectureRecord(
            "pet", architecture_registry.get("pet").version, HYPERS
        ),
        atomic_types=model.atomic_types,
        length_unit=model.length_unit,
        targets=list(model.targets),
        precision=64,
        options=options.to_dict(),
        options_hash=options_hash(options),
        split={"train": [], "validation": [], "test": []},
        data_hash={"training_set": "00"},
        data_size={"training_set": 0},
        num_steps=2,
        packages={},
        position=checkpoint.Position(2, 2, 0),
        best=checkpoint.Best(1, "loss", 1.0),
    )
    state = model.state_dict()
    tensors = {f"best/{name}": tensor for name, tensor in state.items()}
    tensors |= {f"model/{name}": 2 * tensor for name, tensor in state.items()}
    checkpoint.write(path, header, tensors)
    return path
