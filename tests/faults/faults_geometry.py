"""Faults of particular geometries and of symmetries: lone atoms, cells, periodicity, batches."""

from typing import List, Tuple  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from metatomic.torch import NeighborListOptions, System
from toy_models import (
    Pair,
    neighbor_edges,
    pair_energies,
    pair_terms,
    sum_to_atoms,
)

# ruff: noqa: UP006, UP045


@fault("P01", "GEO/atoms without neighbors")
class LoneAtomSkipped(Pair):
    """Returns zero for systems without pairs, not the energies of the free atoms."""

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        if centers.shape[0] == 0:
            return torch.zeros(len(system), dtype=torch.float64)
        raw = self.interactions(species, centers, neighbors, vectors)
        return raw.to(torch.float64) + self.baseline.index_select(0, species)


@fault("P01", "GEO/isolated atom")
class LoneAtomStops(Pair):
    """Stops when there are no pairs to take the largest distance of."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        scale = (vectors * vectors).sum(dim=1).max().detach()
        return centers, neighbors, vectors * (scale / scale)


@fault("P02", "GEO/atoms without neighbors")
class CountFromLargestIndex(Pair):
    """Takes the number of atoms from the largest index in the pairs."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        count = species.shape[0] if centers.shape[0] == 0 else int(centers.max()) + 1
        return sum_to_atoms(terms, centers, count)


@fault("P03", "SCHEMA/rank without atoms and ghosts")
class EmptySystemStops(Pair):
    """Stops at zero atoms, with which PLUMED starts."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        assert int(system.types.min()) > 0
        return neighbor_edges(system, self.cutoff, True, True)


@fault("P04", "GEO/periodicity")
class NeedsCell(Pair):
    """Wraps through the inverse of the cell, which a molecule does not have."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        return centers, neighbors, vectors @ torch.linalg.inv(system.cell) @ system.cell


@fault("P10", "GEO/periodicity")
class DividesByVolume(Pair):
    """Divides by the volume: NaN without a cell."""

    def anchor(self, system: System) -> torch.Tensor:
        return 0.0 * (system.positions.sum() / torch.linalg.det(system.cell)).to(torch.float64)


@fault("P05", "GEO/periodicity")
class PartlyPeriodicIgnored(Pair):
    """Takes slabs and wires for molecules: their periodic images are dropped."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        if bool(system.pbc.all()):
            return centers, neighbors, vectors
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        inside = (block.samples.values[:, 2:] == 0).all(dim=1)
        return centers[inside], neighbors[inside], vectors[inside]


@fault("P06", "GEO/cells")
class OrthorhombicAssumed(Pair):
    """Uses only the diagonal of the cell."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        shifts = block.samples.values[:, 2:].to(vectors.dtype)
        tilt = system.cell - torch.diag(torch.diagonal(system.cell))
        return centers, neighbors, vectors - shifts @ tilt


@fault("P07", "GEO/cells")
class SelfImagesDropped(Pair):
    """Drops the pairs of an atom with its own images: wrong in cells smaller than the cutoff."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        other = centers != neighbors
        return centers[other], neighbors[other], vectors[other]


@fault("P07", "GEO/cells")
class NearestImageOnly(Pair):
    """Minimum-image convention: one image of each neighbor."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        n = len(system)
        squared = (vectors * vectors).sum(dim=1).detach()
        nearest = torch.full((n * n,), 1e9, dtype=vectors.dtype)
        pair = centers * n + neighbors
        nearest = nearest.index_reduce(0, pair, squared, "amin")
        kept = squared <= nearest.index_select(0, pair)
        return centers[kept], neighbors[kept], vectors[kept]


@fault("P08", "SYM/translation")
class WrappedAssumed(Pair):
    """Depends on where in the cell an atom is written."""

    def anchor(self, system: System) -> torch.Tensor:
        return 1e-6 * (system.positions * system.positions).sum().to(torch.float64)


@fault("P08", "SYM/wrapping")
class PositionsWrapped(Pair):
    """Wraps the atoms into the cell but keeps the shifts that belong to the unwrapped ones."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        if not bool(system.pbc.all()):
            return centers, neighbors, vectors
        steps = torch.floor(system.positions @ torch.linalg.inv(system.cell) + 0.5).detach()
        moved = -(steps @ system.cell)
        return centers, neighbors, vectors + moved[neighbors] - moved[centers]


@fault("P11", "GEO/smoothness", truth=None)
class JumpAtCutoff(Pair):
    """No cutoff function: the energy jumps when a pair crosses the cutoff."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        squared = (vectors * vectors).sum(dim=1)
        depth = self.strength[species.index_select(0, centers), species.index_select(0, neighbors)]
        shape = 3.0 * torch.exp(-squared) - torch.exp(-0.25 * squared)
        return sum_to_atoms(depth * shape, centers, species.shape[0])


@fault("P11", "GEO/smoothness", truth=None)
class KinkAtCutoff(Pair):
    """Linear cutoff function: forces jump when a pair crosses the cutoff."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        squared = (vectors * vectors).sum(dim=1)
        depth = self.strength[species.index_select(0, centers), species.index_select(0, neighbors)]
        shape = 3.0 * torch.exp(-squared) - torch.exp(-0.25 * squared)
        linear = 1.0 - squared / (self.cutoff * self.cutoff)
        return sum_to_atoms(depth * shape * linear, centers, species.shape[0])


@fault("P12", "SYM/batch")
class BatchLeak(Pair):
    """The energies of one system depend on how many are evaluated together."""

    def all_energies(self, systems: List[System], kept: List[torch.Tensor]) -> List[torch.Tensor]:
        energies: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            own = self.atomic_energies(system, kept[index])
            energies.append(own + 1e-6 * (len(systems) - 1) * system.positions.sum() ** 2)
        return energies


@fault("P12", "SYM/batch")
class BatchOffsets(Pair):
    """All systems of a batch share the pairs' atom numbers: types of the first are used for all."""

    def all_energies(self, systems: List[System], kept: List[torch.Tensor]) -> List[torch.Tensor]:
        types: List[torch.Tensor] = []
        for system in systems:
            types.append(system.types)
        species = self.species_of_type.index_select(0, torch.cat(types).to(torch.int64))
        energies: List[torch.Tensor] = []
        offset = 0
        for system in systems:
            n = len(system)
            centers, neighbors, vectors = self.edges(system)
            raw = self.interactions(species, centers, neighbors, vectors)[:n]
            own = species[offset : offset + n]
            energies.append(raw.to(torch.float64) + self.baseline.index_select(0, own))
            offset += n
        return energies


@fault("P12", "SYM/extensivity")
class MeanInsteadOfSum(Pair):
    """The interactions are averaged over the atoms: two copies have not twice the energy."""

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        offsets = self.baseline.index_select(0, species)
        raw = (energies - offsets).index_select(0, kept).sum()
        mean = raw / max(1, len(system))
        return (mean + offsets.index_select(0, kept).sum()).reshape(1)


@fault("P13", "SYM/permutation", truth=None)
class OrderMatters(Pair):
    """Interactions depend on the number of the atom in the file."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        raw = pair_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)
        index = torch.arange(species.shape[0], device=raw.device).to(raw.dtype)
        return raw * (1.0 + 1e-6 * index)
