"""A sound model with several targets, exported with a golden pack of format 2.

Three energies (``energy``, ``energy/pbe`` and ``mtt::u0`` in a unit of its own) and a charge of each
atom. Faults override :meth:`Several.variant`, :meth:`Several.charges` or :meth:`Several.charge_rows`.
"""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import safetensors.torch
import torch
import vesin
from metatensor.torch import Labels, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    System,
    unit_conversion_factor,
)
from toy_models import (
    ATOMIC_TYPES,
    Embedded,
    Example,
    energy_map,
    examples,
    save,
    smooth_cutoff,
    sum_to_atoms,
)

ENERGIES = {"energy": "eV", "energy/pbe": "eV", "mtt::u0": "Hartree"}
CHARGES = "mtt::charges"


def charges_of(
    species: torch.Tensor,
    centers: torch.Tensor,
    neighbors: torch.Tensor,
    vectors: torch.Tensor,
    cutoff: float,
) -> torch.Tensor:
    """Return a charge for each atom [N], which depends on atoms up to two cutoffs away."""
    squared = (vectors * vectors).sum(dim=1)
    cut = smooth_cutoff(squared, cutoff)
    weight = 0.5 + 0.3 * species.index_select(0, neighbors).to(vectors.dtype)
    density = torch.tanh(sum_to_atoms(weight * cut, centers, species.shape[0]))
    return 0.4 * density - sum_to_atoms(
        0.1 * cut * density.index_select(0, neighbors), centers, species.shape[0]
    )


class Several(Embedded):
    """Three energies and a charge of each atom."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.hartree = float(unit_conversion_factor("eV", "Hartree"))

    def variant(self, name: str, energies: torch.Tensor) -> torch.Tensor:
        """Return the energies of atoms in the target ``name``."""
        if name == "energy/pbe":
            return 1.1 * energies
        if name == "mtt::u0":
            return self.hartree * energies
        return energies

    def charges(
        self,
        system: System,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        return charges_of(species, centers, neighbors, vectors, self.cutoff)

    def charge_rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        """Return the atoms whose charges are given."""
        return kept

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        results: Dict[str, TensorMap] = {}
        if len(systems) == 0:
            return results
        kept: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            kept.append(self.selection(index, system, selected_atoms))
        for name in ["energy", "energy/pbe", "mtt::u0"]:
            if name in outputs:
                energies: List[torch.Tensor] = []
                for atoms in self.all_energies(systems, kept):
                    energies.append(self.variant(name, atoms))
                per_atom = outputs[name].sample_kind == "atom"
                results[name] = self.rows(systems, energies, kept, per_atom)
        if "mtt::charges" in outputs:
            charges: List[torch.Tensor] = []
            rows: List[torch.Tensor] = []
            for index, system in enumerate(systems):
                species = self.species_of_type.index_select(0, system.types.to(torch.int64))
                centers, neighbors, vectors = self.edges(system)
                values = self.charges(system, species, centers, neighbors, vectors)
                charges.append(values.to(torch.float64))
                rows.append(self.charge_rows(kept[index], len(system)))
            results["mtt::charges"] = self.rows(systems, charges, rows, True)
        return results

    def rows(
        self,
        systems: List[System],
        atoms: List[torch.Tensor],
        kept: List[torch.Tensor],
        per_atom: bool,
    ) -> TensorMap:
        values: List[torch.Tensor] = []
        samples: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            if per_atom:
                rows = atoms[index].index_select(0, kept[index])
                labels = self.labels(kept[index])
                samples.append(torch.stack([torch.full_like(labels, index), labels], dim=1))
            else:
                rows = self.total(system, atoms[index], kept[index])
                samples.append(torch.full((rows.shape[0], 1), index, device=rows.device))
            values.append(rows + self.anchor(system))
        names = ["system", "atom"] if per_atom else ["system"]
        return energy_map(self.rounded(torch.cat(values), systems[0]), torch.cat(samples), names)


def references(model: Several, example: Example) -> Dict[str, torch.Tensor]:
    """Return the tensors of one system in a pack of format 2, without its number."""
    finder = vesin.NeighborList(cutoff=model.cutoff, full_list=True)
    i, j, shifts = finder.compute(example.positions, example.cell, example.pbc, "ijS")
    positions = torch.tensor(example.positions, requires_grad=True)
    strain = torch.eye(3, dtype=torch.float64, requires_grad=True)
    centers, neighbors = torch.tensor(i.astype(np.int64)), torch.tensor(j.astype(np.int64))
    moved, cell = positions @ strain, torch.tensor(example.cell) @ strain
    shift = torch.tensor(shifts.astype(np.float64).reshape(-1, 3))
    vectors = moved[neighbors] - moved[centers] + shift @ cell
    species = model.species_of_type[torch.tensor(example.types.astype(np.int64))]
    raw = model.interactions(species, centers, neighbors, vectors) + 0.0 * moved.sum()
    tensors: Dict[str, torch.Tensor] = {}
    for name in ENERGIES:
        atoms = model.variant(name, raw + model.baseline[species])
        forces, virial = torch.autograd.grad(-atoms.sum(), [positions, strain], retain_graph=True)
        tensors[f"{name}/atoms"] = atoms.detach().reshape(-1, 1)
        tensors[f"{name}/total"] = atoms.detach().sum().reshape(1)
        tensors[f"{name}/forces"], tensors[f"{name}/virial"] = forces, virial
    charges = charges_of(species, centers, neighbors, vectors, model.cutoff)
    tensors[f"{CHARGES}/atoms"] = charges.detach().reshape(-1, 1)
    return tensors


def description(name: str) -> Dict[str, Any]:
    """Return the entry of a target in the metadata of a pack."""
    energy = name in ENERGIES
    return {
        "name": name,
        "quantity": "energy" if energy else "charge",
        "unit": ENERGIES.get(name, "e"),
        "per": "system" if energy else "atom",
        "type": "scalar",
        "properties": 1,
        "gradients": ["positions", "strain"] if energy else [],
        "description": "",
    }


def pack_of_targets(
    change: Optional[Callable[[Dict[str, torch.Tensor]], None]] = None,
    more: Optional[List[Dict[str, Any]]] = None,
) -> bytes:
    """Return a golden pack of format 2 of the sound model.

    :param change: gets all tensors and may change them
    :param more: descriptions of further targets
    """
    model = Several().eval()
    targets = [description(name) for name in (*ENERGIES, CHARGES)] + (more or [])
    return golden_pack(lambda example: references(model, example), targets, change)


def golden_pack(
    referenced: Callable[[Example], Dict[str, torch.Tensor]],
    targets: List[Dict[str, Any]],
    change: Optional[Callable[[Dict[str, torch.Tensor]], None]] = None,
    exact: bool = False,
) -> bytes:
    """Return a golden pack of format 2 of all examples.

    :param referenced: gives the reference tensors of a system, without its number
    :param targets: their descriptions
    :param change: gets all tensors and may change them
    :param exact: the architecture turns with the system exactly
    """
    tensors: Dict[str, torch.Tensor] = {}
    for k, example in enumerate(examples()):
        tensors[f"{k}/types"] = torch.tensor(example.types)
        tensors[f"{k}/positions"] = torch.tensor(example.positions)
        tensors[f"{k}/cell"] = torch.tensor(example.cell)
        tensors[f"{k}/pbc"] = torch.tensor(example.pbc.astype(np.uint8))
        for key, value in referenced(example).items():
            tensors[f"{k}/{key}"] = value.contiguous()
    if change is not None:
        change(tensors)
    header = {
        "format": 2,
        "dtype": "float64",
        "length_unit": "angstrom",
        "targets": targets,
        "systems": [example.name for example in examples()],
        **({"rotations": "exact"} if exact else {}),
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    return safetensors.torch.save(tensors, metadata={"mtt": text})


def export_several(
    path: Path,
    model: Any = Several,
    dtype: str = "float64",
    pack: Optional[bytes] = None,
    **units: str,
) -> Path:
    """Export a model with several targets to ``path`` and return it.

    :param model: :class:`Several`, or a subclass with a fault
    :param pack: golden pack; by default that of the sound model
    :param units: declared units that are wrong, by ``u0`` and ``charges``
    """
    module = model(dtype=getattr(torch, dtype)).eval()
    declared = {**ENERGIES, CHARGES: "e"}
    declared.update({f"mtt::{name}": unit for name, unit in units.items()})
    outputs = {
        name: ModelOutput(unit=unit, sample_kind="atom", description=name)
        for name, unit in declared.items()
    }
    capabilities = ModelCapabilities(
        outputs=outputs,
        atomic_types=ATOMIC_TYPES,
        interaction_range=module.range(),
        length_unit="angstrom",
        supported_devices=["cpu", "cuda"],
        dtype=dtype,
    )
    metadata = ModelMetadata(name=f"toy {model.__name__}")
    atomistic = AtomisticModel(module, metadata, capabilities)
    save(path, atomistic.eval(), pack_of_targets() if pack is None else pack)
    return path
