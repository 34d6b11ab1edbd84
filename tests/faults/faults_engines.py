"""Faults that depend on how an engine calls: outputs, selection, strain, batches, decompositions."""

import os
import pickle
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from faults_wrapper import export_bare
from metatensor.torch import Labels
from metatomic.torch import ModelOutput, System
from toy_models import Embedded, Pair, export_toy, neighbor_edges, pair_energies

# ruff: noqa: UP006, UP045


@fault("L20", "ENGINE/lammps")
def uncertainty_promised(path: Path) -> None:
    """Declares an uncertainty and never returns it: LAMMPS asks for it in every step."""
    atoms = {"unit": "eV", "sample_kind": "atom"}
    outputs = {
        "energy": ModelOutput(**atoms, description="potential energy"),
        "energy_uncertainty": ModelOutput(**atoms, description="of the energy"),
    }
    export_toy(path, "pair", outputs=outputs)


@fault("D06", "ENGINE/ase")
class SelectionRequired(Pair):
    """Works only with ``selected_atoms``, which LAMMPS always sets and ASE never."""

    def selection(
        self, index: int, system: System, selected_atoms: Optional[Labels]
    ) -> torch.Tensor:
        assert selected_atoms is not None
        atoms = selected_atoms.values.to(torch.int64)
        return atoms[atoms[:, 0] == index][:, 1].sort()[0]


@fault("P12", "ENGINE/ipi", "ENGINE/torch-sim")
class FirstCellForAll(Pair):
    """The systems of a batch must all be periodic or none, as in a training set of one kind."""

    def all_energies(self, systems: List[System], kept: List[torch.Tensor]) -> List[torch.Tensor]:
        energies: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            assert bool((system.pbc == systems[0].pbc).all())
            energies.append(self.atomic_energies(system, kept[index]))
        return energies


@fault("P16", "ENGINE/gromacs")
def angstrom_assumed(path: Path) -> None:
    """Takes GROMACS' nanometers for angstrom."""
    export_bare(path, Pair())


@fault("P03", "ENGINE/plumed")
class LargestTypeOfAll(Pair):
    """Looks for the largest type of a system; PLUMED's first call has no atoms."""

    def anchor(self, system: System) -> torch.Tensor:
        return 0.0 * (system.positions.sum() + system.types.max()).to(torch.float64)


@fault("N17", "ENGINE/eon")
class StrainRequired(Pair):
    """Differentiates by the cell in every call; eOn asks for no stress, and the call stops."""

    def anchor(self, system: System) -> torch.Tensor:
        if torch.is_grad_enabled() and system.positions.requires_grad:
            assert system.cell.requires_grad
        return 0.0 * system.positions.sum().to(torch.float64)


@fault("N03", "NTH/executors", "NTH/repeated calls")
class TiesOfMaximum(Pair):
    """The maximum of two equal numbers: TorchScript's optimized derivative of it is zero."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        raw = pair_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)
        return torch.max(raw * 0.5, 0.5 * raw) * 2.0


@fault("D21", "DD/after re-decomposition", truth="embedded")
class FirstLocalCount(Embedded):
    """Remembers how many atoms were local in the first call."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.local = -1

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        if self.local < 0:
            self.local = kept.shape[0]
        return energies.index_select(0, kept[: self.local]).sum().reshape(1)


@fault("P13", "SYM/rotation", truth=None, arguments=("--max-rotation-error", "5"))
class OrientationMatters(Pair):
    """Interactions along z are stronger: more than the user allows."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        stretch = torch.tensor([1.0, 1.0, 1.01], dtype=vectors.dtype)
        return centers, neighbors, vectors * stretch


@fault("L06", "PARITY/forces")
class OtherLibrary(Pair):
    """Another version of a library rounds an exponential: every number differs by 1e-7."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        raw = pair_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)
        return raw * (1.0 + 1e-7)


@fault("L16", "PARITY/forces", dtype="float32")
class TensorNotUpgraded(Pair):
    """The upgrade of an old checkpoint left one renamed weight at its initial value."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.strength[1, 2] *= 1.002


@fault("L07", "LOAD/model")
class MixedContainer(Pair):
    """A container of metatensor data and tensors, at which ``Module::to`` stops."""

    mixed: Dict[str, Any]

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self._mts_buffer_names = ["mixed"]
        labels = Labels(["atom"], torch.zeros(1, 1, dtype=torch.int32))
        self.mixed = {"labels": labels, "tensor": torch.zeros(2)}


class Command:
    """What a pickle of it does when it is loaded."""

    def __reduce__(self) -> Tuple[Any, ...]:
        return os.system, ("touch was-executed",)


@fault("L13", "LOAD/file")
def pickle_with_command(path: Path) -> None:
    """A pickle that runs a command of the person who made it."""
    path.write_bytes(pickle.dumps({"model": Command()}))


class HalfPrecision(Pair):
    """Computes in bfloat16 what arrives in single."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centers, neighbors, vectors = neighbor_edges(system, self.cutoff, True, True)
        if vectors.dtype == torch.float32:
            vectors = vectors.to(torch.bfloat16).to(torch.float32)
        return centers, neighbors, vectors.to(torch.float64)


@fault("N06", "DTYPE/inputs of another precision")
def half_precision(path: Path) -> None:
    """Takes float32 inputs although it declares float64, and gives wrong numbers for them."""
    export_bare(path, HalfPrecision())
