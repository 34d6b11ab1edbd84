"""Toy models with outputs and inputs beside the energy, as some engines ask for them or have them.

``Direct`` gives forces and stress by itself, ``Described`` features, ``Flash`` positions and momenta after
a step. ``Charged`` wants to know the charge and the spin multiplicity of a system, ``Unlimited`` has no
interaction range.
"""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    System,
)
from toy_models import ATOMIC_TYPES, Pair, ToyModel, save, smooth_cutoff, sum_to_atoms


def block_map(
    values: torch.Tensor, samples: torch.Tensor, names: List[str], components: List[str], name: str
) -> TensorMap:
    """TensorMap of one block: ``values`` [K, 3, ..., P], ``samples`` [K, len(names)]."""
    axis = torch.arange(3, dtype=torch.int32, device=values.device).reshape(-1, 1)
    columns = torch.arange(values.shape[-1], dtype=torch.int32, device=values.device).reshape(-1, 1)
    block = TensorBlock(
        values=values,
        samples=Labels(names, samples.to(torch.int32)),
        components=[Labels([component], axis) for component in components],
        properties=Labels([name], columns),
    )
    single = torch.zeros((1, 1), dtype=torch.int32, device=values.device)
    return TensorMap(keys=Labels(["_"], single), blocks=[block])


def atom_labels(index: int, kept: torch.Tensor) -> torch.Tensor:
    """Samples (system, atom) of the atoms ``kept`` [K, 2]."""
    return torch.stack([torch.full_like(kept, index), kept], dim=1)


class Direct(Pair):
    """Forces and stress of its own, which are no derivatives."""

    def direct_forces(self, system: System) -> torch.Tensor:
        """[N, 3]"""
        centers, _, vectors = self.edges(system)
        cut = smooth_cutoff((vectors * vectors).sum(dim=1), self.cutoff)
        parts = [sum_to_atoms(cut * vectors[:, k], centers, len(system)) for k in range(3)]
        return torch.stack(parts, dim=1)

    def rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        """Atoms whose forces are given."""
        return kept

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        results = self.energies(systems, outputs, selected_atoms)
        forces: List[torch.Tensor] = []
        labels: List[torch.Tensor] = []
        stresses: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            kept = self.rows(self.selection(index, system, selected_atoms), len(system))
            force = self.direct_forces(system)
            forces.append(force.index_select(0, kept))
            labels.append(atom_labels(index, kept))
            stresses.append((system.positions.t() @ force + 1.0).reshape(1, 3, 3, 1))
        if "non_conservative_force" in outputs:
            results["non_conservative_force"] = block_map(
                torch.cat(forces).unsqueeze(-1),
                torch.cat(labels),
                ["system", "atom"],
                ["xyz"],
                "non_conservative_force",
            )
        if "non_conservative_stress" in outputs:
            assert outputs["non_conservative_stress"].sample_kind == "system"
            results["non_conservative_stress"] = block_map(
                torch.cat(stresses),
                torch.arange(len(systems), device=systems[0].positions.device).reshape(-1, 1),
                ["system"],
                ["xyz_1", "xyz_2"],
                "non_conservative_stress",
            )
        return results


class Described(Pair):
    """Two features of each atom, as PLUMED takes them for collective variables."""

    def features(self, system: System) -> torch.Tensor:
        """[N, 2]"""
        centers, _, vectors = self.edges(system)
        squared = (vectors * vectors).sum(dim=1)
        cut = smooth_cutoff(squared, self.cutoff)
        density = sum_to_atoms(cut, centers, len(system))
        width = sum_to_atoms(cut * squared, centers, len(system))
        return torch.stack([torch.tanh(density), width], dim=1)

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        results = self.energies(systems, outputs, selected_atoms)
        if "feature" in outputs:
            values: List[torch.Tensor] = []
            labels: List[torch.Tensor] = []
            for index, system in enumerate(systems):
                kept = self.selection(index, system, selected_atoms)
                zero = 0.0 * system.positions.sum()
                values.append(self.features(system).index_select(0, kept) + zero)
                labels.append(atom_labels(index, kept))
            results["feature"] = block_map(
                torch.cat(values), torch.cat(labels), ["system", "atom"], [], "feature"
            )
        return results


class Flash(Pair):
    """Where atoms are after a step, and their momenta: what FlashMD predicts."""

    timestep: torch.Tensor

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.register_buffer("timestep", torch.tensor(8.0))

    def requested_inputs(self) -> Dict[str, ModelOutput]:
        return {
            "momentum": ModelOutput(unit="(eV*u)^(1/2)", sample_kind="atom"),
            "mass": ModelOutput(unit="u", sample_kind="atom"),
        }

    def moved(self, system: System, momenta: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
        """Positions after the step [N, 3]."""
        return system.positions + 0.5 * momenta / masses

    def steps(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        """Positions and momenta, of those that are asked for."""
        results = self.energies(systems, outputs, selected_atoms)
        positions: List[torch.Tensor] = []
        momenta: List[torch.Tensor] = []
        labels: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            kept = self.selection(index, system, selected_atoms)
            p = system.get_data("momentum").block().values.reshape(-1, 3)
            m = system.get_data("mass").block().values.reshape(-1, 1)
            positions.append(self.moved(system, p, m).index_select(0, kept))
            momenta.append((0.9 * p).index_select(0, kept))
            labels.append(atom_labels(index, kept))
        names = ["system", "atom"]
        if "position" in outputs:
            results["position"] = block_map(
                torch.cat(positions).unsqueeze(-1), torch.cat(labels), names, ["xyz"], "position"
            )
        if "momentum" in outputs:
            results["momentum"] = block_map(
                torch.cat(momenta).unsqueeze(-1), torch.cat(labels), names, ["xyz"], "momentum"
            )
        return results

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        return self.steps(systems, outputs, selected_atoms)


def stated(system: System, name: str, default: float) -> torch.Tensor:
    """What an engine says of a system, as one number; no method, as TorchScript calls none of a base."""
    if name in system.known_data():
        return system.get_data(name).block().values.reshape(1).to(torch.float64)
    return torch.full((1,), default, dtype=torch.float64, device=system.positions.device)


class Charged(Pair):
    """Wants charge and spin multiplicity of the system, and takes 0 and 1 where it gets none."""

    def requested_inputs(self) -> Dict[str, ModelOutput]:
        return {
            "charge": ModelOutput(unit="e", sample_kind="system"),
            "spin_multiplicity": ModelOutput(unit="", sample_kind="system"),
        }

    def given(self, system: System, name: str, default: float) -> torch.Tensor:
        """The input of that name, as one number."""
        return stated(system, name, default)

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        raw = self.interactions(species, centers, neighbors, vectors).to(torch.float64)
        charge = self.given(system, "charge", 0.0)
        spin = self.given(system, "spin_multiplicity", 1.0)
        state = 1.0 + 0.1 * charge + 0.01 * (spin - 1.0)
        return raw * state + self.baseline.index_select(0, species)


class ChargedStrictly(Charged):
    """Stops where it gets no charge."""

    def given(self, system: System, name: str, default: float) -> torch.Tensor:
        return system.get_data(name).block().values.reshape(1).to(torch.float64)


class Unlimited(Pair):
    """Charges that interact at any distance, in molecules; declares an infinite range."""

    def range(self) -> float:
        return float("inf")

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        raw = self.interactions(species, centers, neighbors, vectors).to(torch.float64)
        energies = raw + self.baseline.index_select(0, species)
        if not bool(system.pbc.any()):
            charges = 0.3 + 0.1 * species.to(torch.float64)
            apart = (system.positions.unsqueeze(0) - system.positions.unsqueeze(1)).to(
                torch.float64
            )
            inverse = 1.0 / torch.sqrt((apart * apart).sum(dim=2) + 1.0)
            own = torch.eye(len(system), dtype=torch.float64, device=inverse.device)
            energies = energies + ((inverse * (1.0 - own)) @ charges) * charges
        return energies


OUTPUTS: Dict[type, Dict[str, Any]] = {
    Direct: {
        "non_conservative_force": {"unit": "eV/A", "sample_kind": "atom"},
        "non_conservative_stress": {"unit": "eV/A^3", "sample_kind": "system"},
    },
    Described: {"feature": {"unit": "", "sample_kind": "atom"}},
    Flash: {
        "position": {"unit": "angstrom", "sample_kind": "atom"},
        "momentum": {"unit": "(eV*u)^(1/2)", "sample_kind": "atom"},
    },
}


def export_outputs(
    path: Path, kind: Any, dtype: str = "float64", energy: bool = True, **changes: Any
) -> Path:
    """Export a model of this file, or a subclass of one, without a golden pack.

    :param energy: whether an energy is declared as well
    :param changes: changed capabilities
    """
    module: ToyModel = kind(dtype=getattr(torch, dtype)).eval()
    outputs = {}
    if energy:
        outputs["energy"] = ModelOutput(unit="eV", sample_kind="atom", description="energy")
    for base, declared in OUTPUTS.items():
        if isinstance(module, base):
            for name, fields in declared.items():
                outputs[name] = ModelOutput(**fields, description=name)
    fields = {
        "outputs": outputs,
        "atomic_types": ATOMIC_TYPES,
        "interaction_range": module.range(),
        "length_unit": "angstrom",
        "supported_devices": ["cpu"],
        "dtype": dtype,
    }
    declared = ModelCapabilities(**{**fields, **changes})
    model = AtomisticModel(module, ModelMetadata(name=f"toy {kind.__name__}"), declared)
    save(path, model.eval(), None)
    return path
