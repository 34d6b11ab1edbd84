"""Structures as tensors, as checkpoints and golden packs hold them, and back."""

from collections.abc import Mapping

import numpy as np
import torch

from mtt.data.structure import NEUTRAL_SINGLET, Structure


def structure_tensors(prefix: str, structure: Structure) -> dict[str, torch.Tensor]:
    """Return the geometry of a structure with N atoms, without its references.

    - ``PREFIX/types`` [N] int32;
    - ``PREFIX/positions`` [N, 3] and ``PREFIX/cell`` [3, 3] float64, in the structure's length unit;
    - ``PREFIX/pbc`` [3] uint8;
    - ``PREFIX/state`` [2] int32, charge and spin multiplicity, unless it is a neutral singlet.
    """
    tensors = {
        f"{prefix}/types": torch.tensor(structure.types, dtype=torch.int32),
        f"{prefix}/positions": torch.tensor(structure.positions, dtype=torch.float64),
        f"{prefix}/cell": torch.tensor(structure.cell, dtype=torch.float64),
        f"{prefix}/pbc": torch.tensor(structure.pbc, dtype=torch.uint8),
    }
    if structure.state != NEUTRAL_SINGLET:
        tensors[f"{prefix}/state"] = torch.tensor(structure.state, dtype=torch.int32)
    return tensors


def structure_from_tensors(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Structure:
    """Return the structure that :func:`structure_tensors` was called with; raises KeyError."""
    state = tensors.get(f"{prefix}/state")
    charge, spin_multiplicity = NEUTRAL_SINGLET if state is None else state.tolist()
    return Structure(
        types=tensors[f"{prefix}/types"].numpy().astype(np.int32),
        positions=tensors[f"{prefix}/positions"].numpy(),
        cell=tensors[f"{prefix}/cell"].numpy(),
        pbc=tensors[f"{prefix}/pbc"].numpy().astype(bool),
        charge=charge,
        spin_multiplicity=spin_multiplicity,
    )


def structures_from_tensors(prefix: str, tensors: Mapping[str, torch.Tensor]) -> list[Structure]:
    """Return the structures ``PREFIX/0``, ``PREFIX/1`` and so on, as many as there are."""
    structures: list[Structure] = []
    while f"{prefix}/{len(structures)}/types" in tensors:
        structures.append(structure_from_tensors(f"{prefix}/{len(structures)}", tensors))
    return structures
