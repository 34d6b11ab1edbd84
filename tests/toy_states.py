"""Toy models that depend on the charge and spin multiplicity of a system, with references in such states.

The pair energies of :class:`toy_engines.Charged` are multiplied by a number that the state decides, so its
references are those of the pair potential, multiplied.
"""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

import json
from pathlib import Path
from typing import Any, Dict

import safetensors.torch
import torch
from metatomic.torch import AtomisticModel, ModelMetadata
from toy_engines import Charged
from toy_models import Pair, capabilities, golden_pack, save

# Charge and spin multiplicity of one example after the other.
STATES = ((0, 1), (1, 2), (-1, 2), (0, 3), (2, 1))


def pack_in_states() -> bytes:
    """Return a golden pack of all examples, each in a state of its own."""
    model = Pair(dtype=torch.float64).eval()
    plain = golden_pack(model)
    tensors: Dict[str, torch.Tensor] = safetensors.torch.load(plain)
    number = 0
    while f"{number}/types" in tensors:
        charge, spin = STATES[number % len(STATES)]
        types = tensors[f"{number}/types"]
        times = 1.0 + 0.1 * charge + 0.01 * (spin - 1)
        baseline = model.baseline[model.species_of_type[types.to(torch.int64)]]
        energies = baseline + times * (tensors[f"{number}/energies"] - baseline)
        tensors |= {
            f"{number}/energies": energies,
            f"{number}/energy": energies.sum().reshape(1),
            f"{number}/state": torch.tensor([charge, spin], dtype=torch.int32),
            **{
                f"{number}/{name}": times * tensors[f"{number}/{name}"]
                for name in ("forces", "virial")
            },
        }
        number += 1
    return safetensors.torch.save(tensors, metadata=_metadata(plain))


def export_in_states(path: Path, kind: Any = Charged) -> Path:
    """Export a model that depends on the state, with references of a sound one."""
    module = kind(dtype=torch.float64).eval()
    atomistic = AtomisticModel(
        module, ModelMetadata(name=f"toy {kind.__name__}"), capabilities(module, "float64")
    )
    save(path, atomistic.eval(), pack_in_states())
    return path


def _metadata(pack: bytes) -> Dict[str, str]:
    length = int.from_bytes(pack[:8], "little")
    metadata: Dict[str, str] = json.loads(pack[8 : 8 + length])["__metadata__"]
    return metadata
