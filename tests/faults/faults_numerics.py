"""Faults of numbers and gradients: precision, derivatives, state kept between calls, randomness."""

from pathlib import Path
from typing import Tuple  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from metatomic.torch import AtomisticModel, ModelMetadata, NeighborListOptions, System
from toy_models import (
    Pair,
    capabilities,
    golden_pack,
    neighbor_edges,
    pair_energies,
    pair_terms,
    save,
    sum_to_atoms,
)

# ruff: noqa: UP006, UP045

LARGE = [-1.0e5, -1.02e5, -0.98e5, -1.1e5]


@fault("N01", "NTH/repeated calls")
class CountsCalls(Pair):
    """From the third call on, the numbers are others."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.calls = 0

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        raw = self.interactions(species, centers, neighbors, vectors)
        self.calls += 1
        if self.calls > 2:
            raw = raw * (1.0 + 1e-6)
        return raw.to(torch.float64) + self.baseline.index_select(0, species)


@fault("N22", "NTH/varying systems")
class StalePairs(Pair):
    """The pairs of the system before, if it had as many atoms and pairs, are used again."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.centers = torch.zeros(0, dtype=torch.int64)
        self.neighbors = torch.zeros(0, dtype=torch.int64)
        self.atoms = -1

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        if self.atoms != len(system) or self.centers.shape[0] != centers.shape[0]:
            self.centers = centers
            self.neighbors = neighbors
            self.atoms = len(system)
        return self.centers, self.neighbors, vectors


@fault("P22", "NTH/varying systems")
class StaleCell(Pair):
    """Keeps the cell while the number of atoms stays the same: wrong in NPT."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.cell = torch.zeros((3, 3), dtype=dtype)
        self.atoms = -1

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        if self.atoms != len(system):
            self.atoms = len(system)
            self.cell = system.cell.detach()
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        shifts = block.samples.values[:, 2:].to(vectors.dtype)
        return centers, neighbors, vectors + shifts @ (self.cell - system.cell)


class WithDropout(Pair):
    """Sound as long as the dropout module is in evaluation mode."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.dropout = torch.nn.Dropout(0.1)

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        return sum_to_atoms(self.dropout(terms), centers, species.shape[0])


@fault("N15", "SCHEMA/evaluation mode")
def train_mode(path: Path) -> None:
    """Left in training mode, dropout active."""
    module = WithDropout().eval()
    model = AtomisticModel(module, ModelMetadata(), capabilities(module))
    module.dropout.train()
    save(path, model, golden_pack(Pair()))


@fault("N15", "NTH/random numbers")
class DropoutAlways(Pair):
    """Dropout that does not look at the mode; in small systems it may happen to drop nothing."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        kept = torch.nn.functional.dropout(terms, 0.05, True)
        return sum_to_atoms(kept, centers, species.shape[0])


@fault("N23", "NTH/random numbers")
class RandomRotation(Pair):
    """Turns the system at random in each call; nearly invariant, so no single number shows it."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        random = torch.randn(3, 3, dtype=vectors.dtype)
        rotation = torch.linalg.qr(random)[0]
        return centers, neighbors, vectors @ rotation


@fault("N04", "FD/forces")
class GradientScaled(Pair):
    """Forces 1e-5 too large: a kernel whose backward is not the derivative of its forward."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        raw = pair_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)
        return raw + 1e-5 * (raw - raw.detach())


@fault("N16", "FD/forces")
class PairsDetached(Pair):
    """The neighbor vectors are detached: energies right, forces zero."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        return centers, neighbors, vectors.detach()


@fault("N16", "FD/forces", golden=False)
class BranchDetached(Pair):
    """One branch is detached: forces lack the part that comes through the neighbor's density."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        squared = (vectors.detach() * vectors.detach()).sum(dim=1)
        density = torch.tanh(sum_to_atoms(torch.exp(-squared), centers, species.shape[0]))
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        return sum_to_atoms(
            terms * (1.0 + density.index_select(0, neighbors)), centers, species.shape[0]
        )


@fault("N16", "FD/forces")
class NoGraph(Pair):
    """Nothing carries a gradient: LAMMPS aborts in backward, outside any try."""

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        return values.detach().to(system.positions.dtype)


@fault("N17", "FD/virial", "PARITY/virial", "DD/virial")
class StrainMissing(Pair):
    """The strain of the cell does not reach the vectors: forces right, pressure wrong."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        shifts = block.samples.values[:, 2:].to(vectors.dtype)
        positions = system.positions
        difference = positions.index_select(0, neighbors) - positions.index_select(0, centers)
        return centers, neighbors, difference + shifts @ system.cell.detach()


@fault("P09", "FD/virial", "PARITY/virial")
class VirialSwapped(Pair):
    """Two off-diagonal elements of the virial are exchanged."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        shifts = block.samples.values[:, 2:].to(vectors.dtype)
        change = system.cell - system.cell.detach()
        swapped = torch.stack([change[:, 0], change[:, 2], change[:, 1]], dim=1)
        return centers, neighbors, vectors + shifts @ (swapped - change)


@fault("P09", "FD/virial", "PARITY/virial")
class VirialSign(Pair):
    """The cell's part of the virial has the wrong sign."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        shifts = block.samples.values[:, 2:].to(vectors.dtype)
        change = system.cell - system.cell.detach()
        return centers, neighbors, vectors - shifts @ (2.0 * change)


class LargeBaseline(Pair):
    """Sound twin of :class:`BaselineSwallows`."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype, baseline=LARGE)


@fault("N05", "PARITY/energy", "PARITY/atomic energies", truth=LargeBaseline, dtype="float32")
class BaselineSwallows(Pair):
    """Pair terms added one by one to -1e5 eV in float32: the digits below 0.01 eV are lost."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype, baseline=LARGE)

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        offset = self.baseline.index_select(0, species).to(vectors.dtype)
        return offset.index_add(0, centers, terms).to(torch.float64)


@fault("N06", "PARITY/forces")
class VectorsInSingle(Pair):
    """Declared float64, but the vectors pass through float32."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        return centers, neighbors, vectors.to(torch.float32).to(torch.float64)


@fault("N06", "SYM/translation")
class PositionsInSingle(Pair):
    """Vectors made of positions in float32: wrong the farther from the origin."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        shifts = block.samples.values[:, 2:].to(vectors.dtype)
        positions = system.positions.to(torch.float32).to(torch.float64)
        difference = positions.index_select(0, neighbors) - positions.index_select(0, centers)
        return centers, neighbors, difference + shifts @ system.cell


@fault("N08", "PARITY/forces")
class WeightsInSingle(Pair):
    """Weights rounded to float32 on the way into a float64 export."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.strength = self.strength.to(torch.float32).to(dtype)


@fault("N07", "GEO/isolated atom", dtype="float32")
class RareBranch(Pair):
    """The branch for systems without pairs mixes float64 into float32 and stops."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        if centers.shape[0] == 0:
            ones = torch.ones(species.shape[0], dtype=torch.float64)
            zeros = torch.zeros(species.shape[0], dtype=vectors.dtype)
            return zeros.index_add(0, torch.arange(species.shape[0]), 0.0 * ones)
        return pair_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)


class OffCenter(Pair):
    """Sound twin of :class:`NormAtZero`."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        raw = pair_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)
        zeros = torch.zeros((species.shape[0], 3), dtype=vectors.dtype)
        sums = zeros.index_add(0, centers, vectors)
        squared = (sums * sums).sum(dim=1)
        return raw + 0.001 * squared * torch.sqrt(squared + 1e-30)


@fault("N12", "GEO/isolated atom", truth=OffCenter)
class NormAtZero(Pair):
    """Distance to the center of the neighborhood by a square root: a lone atom gets NaN forces."""

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        raw = self.interactions(species, centers, neighbors, vectors)
        sums = torch.zeros_like(system.positions).index_add(0, centers, vectors)
        offset = (system.positions + sums) - system.positions
        length = torch.sqrt((offset * offset).sum(dim=1))
        energies = raw + 0.001 * length * length * length
        return energies.to(torch.float64) + self.baseline.index_select(0, species)


@fault("N12", "GEO/close atoms", golden=False)
class AngleOfParallels(Pair):
    """The arc cosine of 1 has no derivative: an atom with a single neighbor gets NaN forces."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        zeros = torch.zeros((species.shape[0], 3), dtype=vectors.dtype)
        mean = zeros.index_add(0, centers, vectors).index_select(0, centers)
        squares = (vectors * vectors).sum(dim=1) * (mean * mean).sum(dim=1)
        cosine = (vectors * mean).sum(dim=1) / torch.sqrt(squares + 1e-20)
        angle = torch.acos(torch.clamp(cosine, -1.0, 1.0))
        return sum_to_atoms(terms * (1.0 + 0.1 * angle), centers, species.shape[0])


@fault("N13", "GEO/close atoms", dtype="float32", golden=False)
class OverflowsWhenClose(Pair):
    """The repulsion of two atoms pressed together overflows float32, and its derivative is NaN."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        terms = pair_terms(species, centers, neighbors, vectors, self.strength, self.cutoff)
        squared = (vectors * vectors).sum(dim=1)
        wall = 1e-3 * torch.exp(8.0 / (squared * squared)) * torch.exp(-squared)
        return sum_to_atoms(terms + wall * terms * terms, centers, species.shape[0])


@fault("N10", "NTH/random numbers", arguments=("--allow-operator", "aten::manual_seed"))
class Reseeds(Pair):
    """Seeds torch's generator in every call: the engine's own random numbers repeat."""

    def anchor(self, system: System) -> torch.Tensor:
        torch.manual_seed(0)
        return 0.0 * system.positions.sum().to(torch.float64)


@fault("N19", "NTH/inputs unchanged")
class TypesMutated(Pair):
    """Makes the atomic types count from zero, in the engine's own array."""

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        system.types.sub_(1)
        species = self.species_of_type.index_select(0, system.types.to(torch.int64) + 1)
        centers, neighbors, vectors = self.edges(system)
        raw = self.interactions(species, centers, neighbors, vectors)
        return raw.to(torch.float64) + self.baseline.index_select(0, species)


@fault("N19", "FD/forces", arguments=("--allow-operator", "prim::data,aten::data"))
class VectorsMutated(Pair):
    """Scales the neighbor vectors in place behind autograd's back, after using them."""

    def anchor(self, system: System) -> torch.Tensor:
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        block.values.data.mul_(0.5)
        return 0.0 * system.positions.sum().to(torch.float64)
