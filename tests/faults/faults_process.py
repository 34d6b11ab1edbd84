"""Faults of resources and of what a model shares with its process: memory, time, threads, settings."""

from pathlib import Path
from typing import Any, List, Tuple  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from metatomic.torch import NeighborListOptions, System
from toy_models import Pair, neighbor_edges, pair_energies
from toy_outputs import Outputs, export_outputs

# ruff: noqa: UP006, UP045

ALL_IN = "--only DD/domains,PARITY,LIMITS/traces --processes {}"
# Of a model without an energy, which no engine that runs MD can use anyway.
OF_VALUES = "--only SCHEMA,GEO,DD,LIMITS/traces --processes 1 --for all"


@fault("N20", "LIMITS/memory per call")
class KeepsGraphs(Pair):
    """Keeps the energies of every call, and with them all that their gradients need."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.history = torch.jit.annotate(List[torch.Tensor], [torch.zeros(1)])

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        self.history.append(values)
        return values.to(system.positions.dtype)


def only_tensors(path: Path, model: Any) -> None:
    """Export a model without an energy."""
    export_outputs(path, model, ["mtt::tensor"])


@fault("N20", "LIMITS/memory per call", exporter=only_tensors, arguments=("--for", "all"))
class KeepsValues(Outputs):
    """A model without an energy keeps the values of every call."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.history = torch.jit.annotate(List[torch.Tensor], [torch.zeros(1)])

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        self.history.append(values + torch.zeros((100, 1, 1), dtype=values.dtype))
        return values


@fault("D21", "LIMITS/spoiled instance", exporter=only_tensors, arguments=OF_VALUES.split())
class ValuesSpoiled(Outputs):
    """A model without an energy gives other values once it was asked for no atom."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.was_empty = False

    def kept_rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        if kept.shape[0] == 0:
            self.was_empty = True
        return kept

    def values(self, name: str, system: System) -> torch.Tensor:
        factor = 1.001 if self.was_empty else 1.0
        return factor * self.right_values(name, system)


@fault("R01", "LIMITS/memory per reload")
class NeverFreed(Pair):
    """Each instance makes a list that holds itself: reference counting never frees its table."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.ready = False

    def anchor(self, system: System) -> torch.Tensor:
        if not self.ready:
            knot = torch.jit.annotate(List[Any], [torch.zeros(200000)])
            knot.append(knot)
            self.ready = True
        return 0.0 * system.positions.sum().to(torch.float64)


@fault("L24", "LIMITS/several instances")
class SharedSeed(Pair):
    """Draws a weight in the first call, from the generator that every instance shares."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.weight = torch.zeros(1, dtype=dtype)

    def anchor(self, system: System) -> torch.Tensor:
        if bool(self.weight == 0.0):
            self.weight = torch.rand(1, dtype=self.weight.dtype)
        return 1e-3 * self.weight.to(torch.float64) * len(system) + 0.0 * system.positions.sum()


@fault("R03", "LIMITS/concurrent instances", arguments=("--allow-operator", "aten::manual_seed"))
class SeededNoise(Pair):
    """Seeds the generator and draws its random features anew: right unless another thread draws."""

    def anchor(self, system: System) -> torch.Tensor:
        total = torch.zeros(1, dtype=torch.float64)
        for _ in range(200):
            torch.manual_seed(7)
            total = total + torch.rand(500, dtype=torch.float64).sum() / 500.0
            total = total + torch.rand(500, dtype=torch.float64).sum() / 500.0
        return 1e-3 * total + 0.0 * system.positions.sum().to(torch.float64)


@fault("N11", "LIMITS/threads")
class SumOfLargeNumbers(Pair):
    """Large numbers cancel in a float32 sum, whose order depends on the number of threads."""

    def anchor(self, system: System) -> torch.Tensor:
        waves = 1e5 * torch.sin(torch.arange(400000, dtype=torch.float32))
        return 1e-3 * waves.sum().to(torch.float64) + 0.0 * system.positions.sum()


@fault("N10", "LIMITS/global state", arguments=("--allow-operator", "aten::set_grad_enabled"))
class GradientsOff(Pair):
    """Switches gradients off for the rest of the process after computing its own."""

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        out = values.to(system.positions.dtype)
        torch.set_grad_enabled(False)
        return out


@fault("N14", "LIMITS/floating-point exceptions")
class DividesThenMasks(Pair):
    """Divides by zero and masks the result: an engine that traps exceptions is killed."""

    def anchor(self, system: System) -> torch.Tensor:
        zeros = torch.zeros(len(system), dtype=torch.float64)
        inverse = torch.where(zeros > 0.0, 1.0 / zeros, zeros)
        return inverse.sum() + 0.0 * system.positions.sum().to(torch.float64)


@fault("R04", "LIMITS/time per call")
class TableForEachSize(Pair):
    """Builds a table anew whenever the number of atoms changes, as recompilation would."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.atoms = -1
        self.table = torch.eye(500)

    def anchor(self, system: System) -> torch.Tensor:
        if self.atoms != len(system):
            self.atoms = len(system)
            for _ in range(12):
                self.table = torch.tanh(self.table @ self.table).detach()
        return 0.0 * (system.positions.sum() + self.table[0, 0]).to(torch.float64)


@fault("R05", "LIMITS/scaling")
class AllTriples(Pair):
    """Loops over all triples of atoms: four times the atoms take 64 times as long."""

    def anchor(self, system: System) -> torch.Tensor:
        x = system.positions[:, 0].detach()
        triples = x[:, None, None] + x[None, :, None] + x[None, None, :]
        return 0.0 * (torch.tanh(triples).sum() + system.positions.sum()).to(torch.float64)


@fault("N18", "DTYPE/strided inputs", arguments=("--allow-operator", "aten::as_strided"))
class RawMemory(Pair):
    """Reads the cell as nine numbers in a row, whatever its strides are."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        block = system.get_neighbor_list(NeighborListOptions(self.cutoff, True, True))
        shifts = block.samples.values[:, 2:].to(vectors.dtype)
        raw = torch.as_strided(system.cell, [3, 3], [3, 1])
        return centers, neighbors, vectors + shifts @ (raw - system.cell)


@fault("N12", "DTYPE/whole numbers", golden=False)
class InPlaneDistance(Pair):
    """Uses the distance from the z axis, whose derivative is NaN for neighbors exactly above."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        flat = torch.sqrt(vectors[:, 0] * vectors[:, 0] + vectors[:, 1] * vectors[:, 1])
        moved = vectors * (1.0 + 0.0 * flat)[:, None]
        return pair_energies(species, centers, neighbors, moved, self.strength, self.cutoff)


@fault("L11", "DTYPE/module moves")
class TensorsInDictionary(Pair):
    """Keeps its free-atom energies in a dictionary, which Module::to leaves on the CPU."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.tables = {"baseline": self.baseline.clone()}

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        sums = energies.index_select(0, kept).sum() + 0.0 * self.tables["baseline"].sum()
        return sums.reshape(1)


class AfterAnEmptyRank(Pair):
    """Once it was asked for no atom, all that it says is a little too much."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.was_empty = False

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        if kept.shape[0] == 0:
            self.was_empty = True
        factor = 1.001 if self.was_empty else 1.0
        return factor * energies.index_select(0, kept).sum().reshape(1)


@fault("D21", "LIMITS/spoiled instance", arguments=ALL_IN.format(1).split())
class SpoiledInOneProcess(AfterAnEmptyRank):
    """Is a little wrong once it was asked for no atom, in the process that all checks share."""


@fault("D21", "LIMITS/spoiled instance", arguments=ALL_IN.format(2).split())
class SpoiledInTheSecond(AfterAnEmptyRank):
    """The same, where only the second of two processes asks such a thing."""
