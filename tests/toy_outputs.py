"""Sound models whose outputs are not one energy: dipoles, positions and momenta, tensors, variants.

:class:`Outputs` knows many outputs and gives those that :func:`export_outputs` declares, with or
without an energy. Faults override one of its methods.
"""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    System,
)
from toy_models import (
    ATOMIC_TYPES,
    Pair,
    energy_map,
    save,
    smooth_cutoff,
)

# Unit and sample kind of each output.
OUTPUTS: Dict[str, Tuple[str, str]] = {
    "energy": ("eV", "atom"),
    "energy/pbe": ("eV", "atom"),
    "energy/pbesol": ("eV", "atom"),
    "energy_uncertainty": ("eV", "atom"),
    "energy_ensemble": ("eV", "system"),
    "non_conservative_force": ("eV/angstrom", "atom"),
    "non_conservative_stress": ("eV/angstrom^3", "system"),
    "feature": ("", "atom"),
    "position": ("angstrom", "atom"),
    "momentum": ("u*angstrom/fs", "atom"),
    "mtt::dipole": ("e*angstrom", "system"),
    "mtt::shells": ("", "atom"),
    "mtt::tensor": ("eV", "atom"),
    "mtt::quadrupole": ("e*angstrom^2", "atom"),
    "mtt::multipoles": ("e", "atom"),
}


def sums(values: torch.Tensor, centers: torch.Tensor, n_atoms: int) -> torch.Tensor:
    """Sum rows [E, K] over the pairs of each center [N, K]."""
    zeros = torch.zeros((n_atoms, values.shape[1]), dtype=values.dtype, device=values.device)
    return zeros.index_add(0, centers, values)


def harmonics(vectors: torch.Tensor) -> torch.Tensor:
    """Real solid harmonics of degree 2 [E, 5], for m from -2 to 2."""
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    root = 1.7320508075688772
    return torch.stack(
        [
            root * x * y,
            root * y * z,
            0.5 * (2.0 * z * z - x * x - y * y),
            root * x * z,
            0.5 * root * (x * x - y * y),
        ],
        dim=1,
    )


class Outputs(Pair):
    """A pair potential and further outputs made of the same neighbors."""

    def weights(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        """Weight of each pair [E, 1], not the same from both ends."""
        own = species.index_select(0, centers).to(vectors.dtype)
        other = species.index_select(0, neighbors).to(vectors.dtype)
        cut = smooth_cutoff((vectors * vectors).sum(dim=1), self.cutoff)
        return ((0.5 + 0.3 * other + 0.1 * own * own) * cut).reshape(-1, 1)

    def vectors_of(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """What each pair adds to the vector of its center [E, 3]."""
        return weights * vectors

    def quadrupoles_of(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """What each pair adds to the quadrupole of its center [E, 5]."""
        return weights * harmonics(vectors)

    def densities_of(self, weights: torch.Tensor) -> torch.Tensor:
        """What each pair adds to the density of its center [E, 1]."""
        return weights

    def kept_rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        """Atoms whose rows come back."""
        return kept

    def values(self, name: str, system: System) -> torch.Tensor:
        """Numbers of each atom [N, K]."""
        return self.right_values(name, system)

    def right_values(self, name: str, system: System) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        n_atoms = species.shape[0]
        centers, neighbors, vectors = self.edges(system)
        weights = self.weights(species, centers, neighbors, vectors)
        density = sums(self.densities_of(weights), centers, n_atoms)
        if name == "position":
            return system.positions + 0.1 * sums(
                self.vectors_of(weights, vectors), centers, n_atoms
            )
        if name == "momentum" or name == "mtt::dipole" or name == "non_conservative_force":
            return sums(self.vectors_of(weights, vectors), centers, n_atoms)
        if name == "mtt::tensor" or name == "non_conservative_stress":
            pairs = weights * (vectors[:, :, None] * vectors[:, None, :]).reshape(-1, 9)
            pairs = sums(pairs, centers, n_atoms)
            if name == "non_conservative_stress":
                pairs = pairs / torch.abs(torch.linalg.det(system.cell))
            return pairs
        if name == "mtt::quadrupole":
            return sums(self.quadrupoles_of(weights, vectors), centers, n_atoms)
        if name == "mtt::multipoles":
            return torch.cat(
                [density, sums(self.quadrupoles_of(weights, vectors), centers, n_atoms)], dim=1
            )
        if name == "energy_uncertainty":
            return torch.tanh(density)
        return torch.cat([density, torch.tanh(density), density * density], dim=1)

    def components(self, name: str, device: torch.device) -> List[Labels]:
        three = torch.arange(3, device=device, dtype=torch.int32).reshape(-1, 1)
        if name in ["position", "momentum", "mtt::dipole", "non_conservative_force"]:
            return [Labels(["xyz"], three)]
        if name in ["mtt::tensor", "non_conservative_stress"]:
            return [Labels(["xyz_1"], three), Labels(["xyz_2"], three)]
        return torch.jit.annotate(List[Labels], [])

    def property_name(self, name: str) -> str:
        if name == "energy_ensemble" or name == "energy_uncertainty":
            return "energy"
        if "::" in name:
            return name.split("::")[1]
        return name

    def block(
        self, name: str, values: torch.Tensor, samples: Labels, components: List[Labels]
    ) -> TensorBlock:
        shape = [values.shape[0]]
        for axis in components:
            shape.append(len(axis))
        count = values.shape[1]
        for axis in components:
            count = count // len(axis)
        shape.append(count)
        properties = torch.arange(count, device=values.device, dtype=torch.int32).reshape(-1, 1)
        return TensorBlock(
            values=values.reshape(shape),
            samples=samples,
            components=components,
            properties=Labels([self.property_name(name)], properties),
        )

    def tensor_map(self, name: str, values: torch.Tensor, samples: Labels) -> TensorMap:
        device = values.device
        if name == "mtt::quadrupole" or name == "mtt::multipoles":
            mu = torch.arange(-2, 3, device=device, dtype=torch.int32).reshape(-1, 1)
            blocks: List[TensorBlock] = []
            keys: List[List[int]] = []
            if name == "mtt::multipoles":
                zero = torch.zeros((1, 1), device=device, dtype=torch.int32)
                blocks.append(self.block(name, values[:, :1], samples, [Labels(["o3_mu"], zero)]))
                keys.append([0, 1])
            blocks.append(self.block(name, values[:, -5:], samples, [Labels(["o3_mu"], mu)]))
            keys.append([2, 1])
            labels = torch.tensor(keys, device=device, dtype=torch.int32)
            return TensorMap(Labels(["o3_lambda", "o3_sigma"], labels), blocks)
        single = torch.zeros((1, 1), dtype=torch.int32, device=device)
        block = self.block(name, values, samples, self.components(name, device))
        return TensorMap(Labels(["_"], single), [block])

    def other_output(
        self, name: str, systems: List[System], kept: List[torch.Tensor], per_atom: bool
    ) -> TensorMap:
        rows: List[torch.Tensor] = []
        samples: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            values = self.values(name, system)
            atoms = self.kept_rows(kept[index], len(system))
            chosen = values.index_select(0, atoms)
            if per_atom:
                labels = self.labels(atoms)
                samples.append(torch.stack([torch.full_like(labels, index), labels], dim=1))
            else:
                chosen = chosen.sum(dim=0, keepdim=True)
                samples.append(torch.full((1, 1), index, device=values.device, dtype=torch.int64))
            rows.append(chosen.to(system.positions.dtype))
        names = ["system", "atom"] if per_atom else ["system"]
        rows_of = Labels(names, torch.cat(samples).to(torch.int32))
        return self.tensor_map(name, torch.cat(rows), rows_of)

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
        for name, output in outputs.items():
            per_atom = output.sample_kind == "atom"
            if name == "energy" or name.startswith("energy/"):
                factor = 1.1 if name == "energy/pbesol" else 1.0
                results[name] = self.energy(factor, systems, kept, per_atom)
            else:
                results[name] = self.other_output(name, systems, kept, per_atom)
        return results

    def energy(
        self, factor: float, systems: List[System], kept: List[torch.Tensor], per_atom: bool
    ) -> TensorMap:
        rows: List[torch.Tensor] = []
        samples: List[torch.Tensor] = []
        energies = self.all_energies(systems, kept)
        for index, system in enumerate(systems):
            atoms = kept[index]
            if per_atom:
                row = factor * energies[index].index_select(0, atoms)
                samples.append(torch.stack([torch.full_like(atoms, index), atoms], dim=1))
            else:
                row = factor * self.total(system, energies[index], atoms)
                samples.append(torch.full((1, 1), index, device=row.device, dtype=torch.int64))
            rows.append(row + self.anchor(system))
        names = ["system", "atom"] if per_atom else ["system"]
        return energy_map(self.rounded(torch.cat(rows), systems[0]), torch.cat(samples), names)


class Composition(torch.nn.Module):
    """An energy of each atomic type and nothing else: no neighbor lists, a range of 0."""

    lookup: torch.Tensor

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        lookup = torch.zeros(120, dtype=torch.float64)
        lookup[torch.tensor(ATOMIC_TYPES)] = torch.tensor(
            [-13.6, -1029.5, -2041.25, -45.0]
        ).double()
        self.register_buffer("lookup", lookup)

    def range(self) -> float:
        return 0.0

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        results: Dict[str, TensorMap] = {}
        rows: List[torch.Tensor] = []
        samples: List[torch.Tensor] = []
        if "energy" not in outputs or len(systems) == 0:
            return results
        per_atom = outputs["energy"].sample_kind == "atom"
        for index, system in enumerate(systems):
            atoms = torch.arange(len(system), device=system.positions.device)
            if selected_atoms is not None:
                chosen = selected_atoms.values.to(torch.int64)
                atoms = chosen[chosen[:, 0] == index][:, 1].sort()[0]
            row = self.lookup.index_select(0, system.types.to(torch.int64)).index_select(0, atoms)
            if per_atom:
                samples.append(torch.stack([torch.full_like(atoms, index), atoms], dim=1))
            else:
                row = row.sum().reshape(1)
                samples.append(torch.full((1, 1), index, device=row.device, dtype=torch.int64))
            anchor = 0.0 * (system.positions.sum() + system.cell.sum())
            rows.append(row + anchor)
        names = ["system", "atom"] if per_atom else ["system"]
        values = torch.cat(rows).to(systems[0].positions.dtype)
        results["energy"] = energy_map(values, torch.cat(samples), names)
        return results


def export_outputs(
    path: Path,
    model: Any = Outputs,
    outputs: Any = ("mtt::dipole",),
    dtype: str = "float64",
    units: Optional[Dict[str, str]] = None,
    **changes: Any,
) -> Path:
    """Export a model without golden pack to ``path`` and return it.

    :param model: :class:`Outputs` or :class:`Composition`, or a subclass with a fault
    :param outputs: names out of :data:`OUTPUTS` that the file declares
    :param units: declared units that differ from those of :data:`OUTPUTS`
    :param changes: changed capabilities
    """
    module = model(dtype=getattr(torch, dtype)).eval()
    declared = {}
    for name in outputs:
        unit, kind = OUTPUTS[name]
        unit = (units or {}).get(name, unit)
        declared[name] = ModelOutput(unit=unit, sample_kind=kind, description=name)
    fields: Dict[str, Any] = {
        "outputs": declared,
        "atomic_types": ATOMIC_TYPES,
        "interaction_range": module.range(),
        "length_unit": "angstrom",
        "supported_devices": ["cpu", "cuda"],
        "dtype": dtype,
    }
    capabilities = ModelCapabilities(**{**fields, **changes})
    metadata = ModelMetadata(name=f"toy {model.__name__}")
    save(path, AtomisticModel(module, metadata, capabilities).eval(), None)
    return path
