"""A sound model with an energy, its uncertainty and an ensemble of three, exported with a golden pack.

Faults override :meth:`Uncertain.spread`, :meth:`Uncertain.members` or :meth:`Uncertain.watched`.
"""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

from collections.abc import Callable
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from metatensor.torch import Labels, TensorMap
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput, System
from toy_engines import atom_labels, block_map
from toy_models import ATOMIC_TYPES, Example, save
from toy_targets import Several, description, golden_pack
from toy_targets import references as references_of_several

from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.data.structure import Structure

UNCERTAINTY, ENSEMBLE = "energy_uncertainty", "energy_ensemble"
Tensors = Dict[str, torch.Tensor]


class Uncertain(Several):
    """Its members add deviations to the energy that sum to zero; the uncertainty is their length."""

    def deviations(self, system: System) -> torch.Tensor:
        """Return what each of the three members adds to the energies of atoms, [N, 3]."""
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        charges = self.charges(system, species, centers, neighbors, vectors).to(torch.float64)
        raw = self.interactions(species, centers, neighbors, vectors).to(torch.float64)
        return torch.stack([0.2 * charges, 0.1 * raw, -0.2 * charges - 0.1 * raw], dim=1)

    def spread(self, deviations: torch.Tensor) -> torch.Tensor:
        """Return uncertainties [M, 1] of deviations [M, 3] of atoms or systems."""
        return torch.linalg.vector_norm(deviations, dim=1, keepdim=True)

    def members(self, energies: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
        """Return energies [M, 3] of the members around energies [M, 1]."""
        return energies + deviations

    def watched(
        self, system: System, kept: torch.Tensor, beside_energy: bool, per_atom: bool
    ) -> torch.Tensor:
        """Return the atoms [K] that an uncertainty or ensemble is given of, of those that are selected."""
        return kept

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        results = self.energies(systems, outputs, selected_atoms)
        for name in ["energy_uncertainty", "energy_ensemble"]:
            if name not in outputs or len(systems) == 0:
                continue
            per_atom = outputs[name].sample_kind == "atom"
            values: List[torch.Tensor] = []
            samples: List[torch.Tensor] = []
            for index, system in enumerate(systems):
                kept = self.selection(index, system, selected_atoms)
                kept = self.watched(system, kept, "energy" in outputs, per_atom)
                parts = self.deviations(system).index_select(0, kept)
                energies = self.atomic_energies(system, kept).index_select(0, kept).reshape(-1, 1)
                if per_atom:
                    samples.append(atom_labels(index, kept))
                else:
                    parts = parts.sum(dim=0, keepdim=True)
                    energies = energies.sum(dim=0, keepdim=True)
                    samples.append(torch.full((1, 1), index, device=kept.device))
                parts = parts + self.anchor(system)
                if name == "energy_uncertainty":
                    values.append(self.spread(parts))
                else:
                    values.append(self.members(energies, parts))
            names = ["system", "atom"] if per_atom else ["system"]
            rows = self.rounded(torch.cat(values), systems[0])
            results[name] = block_map(rows, torch.cat(samples), names, [], "energy")
        return results


def references(model: Uncertain, example: Example) -> Tensors:
    """Return the tensors of one system in a pack, without its number."""
    tensors = {
        key: tensor
        for key, tensor in references_of_several(model, example).items()
        if key.partition("/")[0] == "energy" and key.count("/") == 1
    }
    structure = Structure(example.types, example.positions, example.cell, example.pbc)
    parts = model.deviations(system_with_neighbors(structure, model, torch.float64)).detach()
    for kind, rows in (("atoms", parts), ("total", parts.sum(dim=0, keepdim=True))):
        energies = tensors[f"energy/{kind}"].reshape(-1, 1)
        found = {
            UNCERTAINTY: model.spread(rows),
            ENSEMBLE: model.members(energies, rows),
        }
        for name, values in found.items():
            tensors[f"{name}/{kind}"] = values if kind == "atoms" else values[0]
    return tensors


def pack_of_uncertain(
    model: Any = Uncertain, change: Optional[Callable[[Tensors], None]] = None
) -> bytes:
    """Return a golden pack of a model, whose tensors ``change`` may change."""
    module = model().eval()
    about = {"unit": "eV", "per": "system", "gradients": []}
    targets = [
        description("energy"),
        {**description(UNCERTAINTY), **about, "quantity": "uncertainty"},
        {**description(ENSEMBLE), **about, "quantity": "ensemble", "properties": 3},
    ]
    return golden_pack(lambda example: references(module, example), targets, change)


def export_uncertain(
    path: Path,
    model: Any = Uncertain,
    dtype: str = "float64",
    pack: Optional[bytes] = None,
    unit: str = "eV",
) -> Path:
    """Export a model with an energy, its uncertainty and its ensemble to ``path`` and return it.

    :param model: :class:`Uncertain`, or a subclass with a fault
    :param pack: golden pack; by default that of the same model
    :param unit: declared unit of the uncertainty
    """
    module = model(dtype=getattr(torch, dtype)).eval()
    units = {"energy": "eV", UNCERTAINTY: unit, ENSEMBLE: "eV"}
    capabilities = ModelCapabilities(
        outputs={
            name: ModelOutput(unit=own, sample_kind="atom", description=name)
            for name, own in units.items()
        },
        atomic_types=ATOMIC_TYPES,
        interaction_range=module.range(),
        length_unit="angstrom",
        supported_devices=["cpu", "cuda"],
        dtype=dtype,
    )
    metadata = ModelMetadata(name=f"toy {model.__name__}")
    atomistic = AtomisticModel(module, metadata, capabilities)
    save(path, atomistic.eval(), pack_of_uncertain(model) if pack is None else pack)
    return path
