"""Faults that show only when a system is cut into domains: ranges, ghosts, selected atoms."""

from pathlib import Path
from typing import Optional, Tuple  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from metatensor.torch import Labels
from metatomic.torch import System
from toy_models import (
    CUTOFF,
    Embedded,
    Pair,
    embedded_energies,
    export_toy,
    neighbor_edges,
    pair_terms,
    smooth_cutoff,
    sum_to_atoms,
)

# ruff: noqa: UP006, UP045


@fault("D01", "DD/receptive field")
def range_of_one_layer(path: Path) -> None:
    """Declares the cutoff as the range of a two-layer model: half of what it needs."""
    export_toy(path, "embedded", interaction_range=CUTOFF)


@fault("D01", "DD/receptive field")
def range_one_percent_short(path: Path) -> None:
    """The range is 1 % short: only pairs of atoms at the very rim differ."""
    export_toy(path, "embedded", interaction_range=2 * CUTOFF * 0.99)


@fault("D02", "DD/energy", "DD/receptive field", truth=None)
class LongRange(Embedded):
    """Every atom feels the mean density of all atoms, but a finite range is declared."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        raw = embedded_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)
        return raw + 1e-3 * torch.tanh(raw.sum() / max(1, species.shape[0]))


@fault("D01", "DD/receptive field", "DD/forces", truth=None)
class AdaptiveCutoff(Pair):
    """Each atom has a cutoff that shrinks with its neighbors; the cutoff of a pair depends on both.

    In a dense system no atom sees beyond the declared range, in a thin one far beyond.
    """

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        squared = (vectors * vectors).sum(dim=1)
        count = sum_to_atoms(smooth_cutoff(squared, self.cutoff), centers, species.shape[0])
        room = torch.clamp(1.0 - count / 3.0, min=0.0)
        part = 0.5 + 0.5 * room * room * room
        both = 0.5 * (part.index_select(0, centers) + part.index_select(0, neighbors))
        reach = squared / (both * both)
        depth = self.strength[species.index_select(0, centers), species.index_select(0, neighbors)]
        terms = depth * torch.exp(-0.25 * squared) * smooth_cutoff(reach, self.cutoff)
        return sum_to_atoms(terms, centers, species.shape[0])


@fault("D01", "DD/receptive field", truth=None)
class MessagesWhereCrowded(Pair):
    """Neighbors hand on how many they have, but only those that have many: chains do not show it."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        squared = (vectors * vectors).sum(dim=1)
        near = smooth_cutoff(squared, self.cutoff)
        count = sum_to_atoms(near, centers, species.shape[0])
        crowd = torch.clamp(count - 1.2, min=0.0)
        crowd = crowd * crowd * crowd
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        handed = terms * (1.0 + 0.01 * crowd.index_select(0, neighbors))
        return sum_to_atoms(handed, centers, species.shape[0])


@fault("D01", "DD/receptive field", truth=None)
class NeighborsCounted(Pair):
    """A neighbor counts by how many neighbors it has, a number that no gradient shows."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        count = sum_to_atoms(torch.ones_like(terms), centers, species.shape[0])
        return sum_to_atoms(
            terms * (1.0 + 0.01 * count.index_select(0, neighbors)), centers, species.shape[0]
        )


@fault("D01", "DD/receptive field", dtype="float32", golden=False)
class RangeShortInSinglePrecision(Embedded):
    """One layer short, in code that cannot be run in float64 to see more of it."""

    def range(self) -> float:
        return self.cutoff

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        assert vectors.dtype == torch.float32
        first = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        state = torch.tanh(sum_to_atoms(first, centers, species.shape[0]))
        message = 1e-6 * state.index_select(0, neighbors)
        return sum_to_atoms(first * (1.0 + message), centers, species.shape[0])


@fault("D03", "DD/energy", "DD/forces", "DD/virial")
class ShiftsIgnored(Pair):
    """Vectors rebuilt from positions without the cell shifts."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, _ = neighbor_edges(system, self.cutoff, True, True)
        positions = system.positions
        difference = positions.index_select(0, neighbors) - positions.index_select(0, centers)
        return centers, neighbors, difference


@fault("D05", "DD/forces", truth="embedded")
class GhostGradientsDropped(Embedded):
    """Forces on ghost atoms are cut off, so what they owe to the owner's rank is lost."""

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        local = torch.zeros(len(system), dtype=torch.bool)
        local[kept] = True
        both = local.index_select(0, centers) & local.index_select(0, neighbors)
        vectors = torch.where(both[:, None], vectors, vectors.detach())
        raw = self.interactions(species, centers, neighbors, vectors)
        return raw.to(torch.float64) + self.baseline.index_select(0, species)


@fault("D05", "DD/forces")
class OneGhostGradientDropped(Pair):
    """One single ghost's gradient is dropped."""

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        if kept.shape[0] < len(system) and kept.shape[0] > 0:
            vectors = torch.where(
                (neighbors == len(system) - 1)[:, None], vectors.detach(), vectors
            )
        raw = self.interactions(species, centers, neighbors, vectors)
        return raw.to(torch.float64) + self.baseline.index_select(0, species)


@fault("D06", "DD/energy")
class SelectionIgnored(Pair):
    """``selected_atoms`` is ignored: on two ranks the energy is doubled."""

    def selection(
        self, index: int, system: System, selected_atoms: Optional[Labels]
    ) -> torch.Tensor:
        return torch.arange(len(system))


@fault("D07", "DD/energy")
class BaselineOfAll(Pair):
    """The energies of the free atoms are added for ghosts too; forces are right."""

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        offsets = self.baseline.index_select(0, species)
        return ((energies - offsets).index_select(0, kept).sum() + offsets.sum()).reshape(1)


@fault("D08", "DD/empty selection")
class NoRowWhenEmpty(Pair):
    """No row for an empty selection: LAMMPS aborts as soon as a rank has no atoms."""

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        selected = energies.index_select(0, kept)
        if kept.shape[0] == 0:
            return selected
        return selected.sum().reshape(1)


@fault("D08", "DD/empty selection")
class StopsWhenEmpty(Pair):
    """Looks for the largest selected index, which an empty selection does not have."""

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        last = int(kept.max())
        return energies[: last + 1].index_select(0, kept).sum().reshape(1)


@fault("D08", "SCHEMA/rank without atoms")
class NoGraphWhenEmpty(Pair):
    """The zero for an empty selection has no gradient path: backward stops."""

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        if kept.shape[0] == 0:
            return torch.zeros(1, dtype=torch.float64)
        return energies.index_select(0, kept).sum().reshape(1)

    def anchor(self, system: System) -> torch.Tensor:
        return torch.zeros(1, dtype=torch.float64)


@fault("D08", "SCHEMA/rank without atoms (per-atom energies)")
class LabelsStopWhenEmpty(Pair):
    """The rows of no atoms at all cannot be labeled."""

    def labels(self, kept: torch.Tensor) -> torch.Tensor:
        return torch.clamp(kept, max=kept.max())


@fault("D10", "DD/pairs beyond the cutoff", module_options={"strict": False})
class PairsBeyondCutoff(Pair):
    """Asks for a list that may hold farther pairs, and does not filter them."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        squared = (vectors * vectors).sum(dim=1)
        inside = 1.0 - squared / (self.cutoff * self.cutoff)
        depth = self.strength[species.index_select(0, centers), species.index_select(0, neighbors)]
        shape = 3.0 * torch.exp(-squared) - torch.exp(-0.25 * squared)
        return sum_to_atoms(depth * shape * inside * inside * inside, centers, species.shape[0])


@fault("D10", "SYM/pair order", truth="embedded")
class SortedPairsAssumed(Embedded):
    """Sums runs of pairs as if the list were sorted by center, which LAMMPS does not promise."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        order = torch.arange(species.shape[0], device=centers.device)
        counts = (centers[None, :] == order[:, None]).sum(dim=1)
        runs = torch.repeat_interleave(order, counts)
        return embedded_energies(species, runs, neighbors, vectors, self.strength, self.cutoff)


@fault("D11", "PARITY/energy", module_options={"full_list": False})
class HalfListAsFull(Pair):
    """Asks for half lists and sums them as if they were full."""


@fault("D11", "PARITY/energy")
class FullListDoubled(Pair):
    """Asks for full lists and adds each pair to both atoms: interactions count twice."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        both = sum_to_atoms(terms, centers, species.shape[0])
        return both + sum_to_atoms(terms, neighbors, species.shape[0])


@fault("D13", "SCHEMA/rows belong to atoms")
class RowsReversed(Pair):
    """Per-atom energies come in another order than their labels say."""

    def labels(self, kept: torch.Tensor) -> torch.Tensor:
        return kept.flip(0)


@fault("D13", "SCHEMA/selected atoms")
class RowsRenumbered(Pair):
    """The rows of selected atoms are numbered from zero instead of by atom."""

    def labels(self, kept: torch.Tensor) -> torch.Tensor:
        return torch.arange(kept.shape[0], device=kept.device)


@fault("D13", "PARITY/atomic energies", "DD/atomic energies")
class EnergySpread(Pair):
    """Every atom is given the mean energy: the total is right, the parts are not."""

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        raw = self.interactions(species, centers, neighbors, vectors).to(torch.float64)
        energies = raw + self.baseline.index_select(0, species)
        if len(system) == 0 or kept.shape[0] != len(system):
            return energies
        return energies.mean().expand(len(system))
