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
from toy_models import Embedded, Pair, export_toy, neighbor_edges, pair_energies, sum_to_atoms
from toy_engines import Charged, ChargedStrictly, Described, Direct, Flash, export_outputs

# ruff: noqa: UP006, UP045


@fault("L20", "ENGINE/lammps", "ENGINE/ase", "ENGINE/torch-sim", "ENGINE/gromacs")
def uncertainty_promised(path: Path) -> None:
    """Declares an uncertainty and never returns it: these engines ask for it in every step."""
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
class OneSystemOnly(Pair):
    """Stops at a second system in one call: i-PI has replicas, torch-sim whatever there is."""

    def all_energies(self, systems: List[System], kept: List[torch.Tensor]) -> List[torch.Tensor]:
        assert len(systems) == 1
        return [self.atomic_energies(systems[0], kept[0])]


@fault("P12", "ENGINE/torch-sim")
class SystemsOfOneSize(Pair):
    """The systems of a batch must have as many atoms each, as the replicas of i-PI have."""

    def all_energies(self, systems: List[System], kept: List[torch.Tensor]) -> List[torch.Tensor]:
        energies: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            assert len(system) == len(systems[0])
            energies.append(self.atomic_energies(system, kept[index]))
        return energies


@fault("P16", "ENGINE/gromacs")
def angstrom_assumed(path: Path) -> None:
    """Takes GROMACS' nanometers for angstrom."""
    export_bare(path, Pair())


@fault("P03", "ENGINE/plumed", arguments=("--for", "plumed"))
def no_features(path: Path) -> None:
    """A potential without features: there is nothing that PLUMED could ask for."""
    export_toy(path, "pair")


@fault("P03", "ENGINE/plumed", exporter=export_outputs, arguments=("--for", "plumed"))
class LargestTypeOfAll(Described):
    """Looks for the largest type of a system; PLUMED's first call has no atoms."""

    def features(self, system: System) -> torch.Tensor:
        centers, _, vectors = self.edges(system)
        weight = sum_to_atoms((vectors * vectors).sum(dim=1), centers, len(system))
        return torch.stack([weight, weight / system.types.max()], dim=1)


@fault("N04", "ENGINE/plumed", exporter=export_outputs, arguments=("--for", "plumed"))
class DetachedFeature(Described):
    """A part of a feature has no gradient, so a bias on it pushes no atoms."""

    def features(self, system: System) -> torch.Tensor:
        centers, _, vectors = self.edges(system)
        weight = sum_to_atoms((vectors * vectors).sum(dim=1), centers, len(system))
        return torch.stack([weight, torch.sqrt(1.0 + weight).detach()], dim=1)


@fault("P15", "ENGINE/lammps:fix", exporter=export_outputs, arguments=("--for", "lammps:fix"))
class FirstPairMatters(Flash):
    """Where atoms go depends on which pair comes first; LAMMPS lists pairs in an order of its own."""

    def moved(self, system: System, momenta: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
        _, neighbors, _ = self.edges(system)
        first = neighbors[:1].to(momenta.dtype).sum()
        return system.positions + 0.5 * momenta / masses + 1e-3 * first


@fault("L20", "ENGINE/lammps:fix", exporter=export_outputs, arguments=("--for", "lammps:fix"))
class NoMomenta(Described):
    """Predicts neither positions nor momenta, so ``fix metatomic`` refuses it."""


@fault(
    "P15", "ENGINE/lammps:compute", exporter=export_outputs, arguments=("--for", "lammps:compute")
)
class OrderOfPairs(Direct):
    """Its own forces depend on which pair comes first."""

    def direct_forces(self, system: System) -> torch.Tensor:
        _, neighbors, _ = self.edges(system)
        return system.positions + 1e-3 * neighbors[:1].to(system.positions.dtype).sum()


@fault("P17", "SCHEMA/inputs", exporter=export_outputs)
class ChargeOfTheSystem(Charged):
    """Requests charge and spin multiplicity, and takes 0 and 1 where an engine has none."""


@fault(
    "P17", "SCHEMA/inputs", "ENGINE/ipi", "ENGINE/gromacs", "ENGINE/eon", exporter=export_outputs
)
class ChargeRequired(ChargedStrictly):
    """Requests charge and spin multiplicity, and stops where an engine has none."""


@fault("P15", "ENGINE/lammps", exporter=export_outputs)
class ForcesOfAllAtoms(Direct):
    """Gives its own forces of atoms that are not selected."""

    def rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        return torch.arange(n_atoms, device=kept.device)


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
