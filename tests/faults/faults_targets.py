"""Faults of one target among several; every other target of the file is sound."""

from pathlib import Path
from typing import Any, Dict  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from metatomic.torch import System
from toy_outputs import Outputs, export_outputs, harmonics
from toy_targets import (
    CHARGES,
    Several,
    charges_of,
    description,
    export_several,
    pack_of_targets,
)

# ruff: noqa: UP006, UP045

# Who judges what matters to no engine that runs MD.
FOR_ALL = ("--for", "all")


def beside_energy(output: str) -> Any:
    """Return an exporter of models with an energy and that output."""

    def export(path: Path, model: Any) -> Path:
        return export_outputs(path, model, ["energy", output])

    return export


shells, momenta = beside_energy("mtt::shells"), beside_energy("momentum")
quadrupoles, features = beside_energy("mtt::quadrupole"), beside_energy("feature")


@fault("T01", "PARITY/forces@energy/pbe")
def wrong_forces_of_the_second_energy(path: Path) -> None:
    """The trained model had other forces in the second energy than the file gives."""

    def change(tensors: Dict[str, torch.Tensor]) -> None:
        for key in tensors:
            if key.endswith("energy/pbe/forces"):
                tensors[key] = 1.001 * tensors[key]

    export_several(path, pack=pack_of_targets(change))


@fault("T02", "PARITY/units@mtt::u0")
def energy_of_another_unit(path: Path) -> None:
    """One energy is declared in eV, and its numbers are in Hartree."""
    export_several(path, u0="eV")


@fault("T03", "PARITY/values@mtt::charges")
def charges_of_another_unit(path: Path) -> None:
    """Charges are declared to have the unit of an energy."""
    export_several(path, charges="eV")


@fault("T04", "SCHEMA/golden pack")
def target_without_output(path: Path) -> None:
    """The golden pack has a target that the model gives under another name."""

    def change(tensors: Dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if CHARGES in key]:
            tensors[key.replace(CHARGES, "mtt::partial")] = tensors[key].clone()

    renamed: Any = {**description(CHARGES), "name": "mtt::partial"}
    export_several(path, pack=pack_of_targets(change, [renamed]))


@fault("T05", "FD/forces@energy/pbe", "FD/virial@energy/pbe", exporter=export_several)
class PartlyDetached(Several):
    """A part of the second energy has no gradient."""

    def variant(self, name: str, energies: torch.Tensor) -> torch.Tensor:
        if name == "energy/pbe":
            return 1.0999 * energies + 0.0001 * energies.detach()
        if name == "mtt::u0":
            return self.hartree * energies
        return energies


@fault("T06", "NTH/repeated calls@mtt::u0", exporter=export_several)
class CountsCallsOfOne(Several):
    """From the third call on, one of the energies is another."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.calls = 0

    def variant(self, name: str, energies: torch.Tensor) -> torch.Tensor:
        if name == "energy/pbe":
            return 1.1 * energies
        if name == "mtt::u0":
            self.calls += 1
            return (self.hartree if self.calls < 3 else 1.0001 * self.hartree) * energies
        return energies


@fault("T07", "DD/values@mtt::charges", exporter=export_several, arguments=FOR_ALL)
class NeutralWithGhosts(Several):
    """Charges are made neutral by the mean over all atoms that a rank has, ghosts too."""

    def charges(
        self,
        system: System,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        charges = charges_of(species, centers, neighbors, vectors, self.cutoff)
        return charges - charges.sum() / max(1, charges.shape[0])


@fault("T08", "NTH/values@mtt::charges", exporter=export_several)
class ChargesChangeLater(Several):
    """From the third call on, the charges are others."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.calls = 0

    def charges(
        self,
        system: System,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        self.calls += 1
        factor = 1.0 if self.calls < 3 else 1.0001
        return factor * charges_of(species, centers, neighbors, vectors, self.cutoff)


@fault(
    "T09",
    "SCHEMA/values of selected atoms@mtt::charges",
    exporter=export_several,
    arguments=FOR_ALL,
)
class ChargesOfAllAtoms(Several):
    """The charges of all atoms come back, whatever atoms are selected."""

    def charge_rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        return torch.arange(n_atoms, device=kept.device)


@fault("T10", "GEO/values@mtt::charges", exporter=export_several)
class ChargesPerNeighbor(Several):
    """Charges are divided by the number of neighbors, which an isolated atom has not."""

    def charges(
        self,
        system: System,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        charges = charges_of(species, centers, neighbors, vectors, self.cutoff)
        counts = torch.bincount(centers, minlength=species.shape[0])
        return charges * counts / counts


@fault("T11", "SYM/values@mtt::charges", exporter=export_several)
class ChargesByPlace(Several):
    """Charges depend on where an atom is."""

    def charges(
        self,
        system: System,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        charges = charges_of(species, centers, neighbors, vectors, self.cutoff)
        return charges + 1e-6 * system.positions[:, 0]


@fault(
    "T12",
    "DTYPE/values@mtt::charges",
    exporter=export_several,
    arguments=("--allow-operator", "aten::as_strided"),
)
class ChargesByMemory(Several):
    """Types are read as if they lay side by side in memory."""

    def charges(
        self,
        system: System,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        types = torch.as_strided(system.types, [system.types.shape[0]], [1])
        scale = 1.0 + 1e-3 * types.to(vectors.dtype)
        return scale * charges_of(species, centers, neighbors, vectors, self.cutoff)


# Outputs that no golden pack describes: files of other programs, with or without an energy.


@fault("T13", "SCHEMA/energy output")
def no_energy(path: Path) -> None:
    """The model predicts dipoles only, and engines that run MD ask for an energy."""
    export_outputs(path, Outputs, ["mtt::dipole"])


@fault("T14", "SCHEMA/variants", arguments=("--for", "gromacs"))
def variants_only(path: Path) -> None:
    """There are variants of the energy and no plain one, which is all that GROMACS reads."""
    export_outputs(path, Outputs, ["energy/pbe", "energy/pbesol"])


@fault("T15", "SCHEMA/given units", arguments=("--length-unit", "nm"))
def caller_names_another_unit(path: Path) -> None:
    """The caller says nm, and the file says angstrom."""
    export_outputs(path, Outputs, ["energy"])


@fault("T16", "SCHEMA/values@mtt::shells", exporter=shells)
class NotFinite(Outputs):
    """Values of an output are no numbers."""

    def densities_of(self, weights: torch.Tensor) -> torch.Tensor:
        return torch.log(-1.0 - weights)


@fault("T17", "SCHEMA/values of selected atoms@mtt::shells", exporter=shells, arguments=FOR_ALL)
class RowsOfAllAtoms(Outputs):
    """Rows of all atoms come back, whatever atoms are selected."""

    def kept_rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        return torch.arange(n_atoms, device=kept.device)


@fault("T18", "SCHEMA/values of selected atoms@mtt::shells", exporter=shells, arguments=FOR_ALL)
class RowsOfOtherAtoms(Outputs):
    """Rows are labeled with the selected atoms in the reverse order."""

    def labels(self, kept: torch.Tensor) -> torch.Tensor:
        return kept.flip(0)


@fault("T19", "SCHEMA/unit of values@momentum")
def momentum_without_unit(path: Path) -> None:
    """A momentum has no unit, so whoever asks for one gets the number as it is."""
    export_outputs(path, Outputs, ["energy", "momentum"], units={"momentum": ""})


@fault("T20", "SYM/rotation of values@momentum", exporter=momenta)
class AlwaysAlongX(Outputs):
    """Vectors have the right length and point along x."""

    def vectors_of(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        return weights * torch.tensor([[1.0, 0.0, 0.0]], dtype=weights.dtype)


@fault("T21", "SYM/rotation of values@mtt::quadrupole", exporter=quadrupoles)
class ComponentsExchanged(Outputs):
    """Two components of a spherical tensor are exchanged."""

    def quadrupoles_of(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        right = weights * harmonics(vectors)
        return right[:, torch.tensor([1, 0, 2, 3, 4])]


@fault("T22", "DD/values@momentum", exporter=momenta, arguments=("--for", "lammps:fix"))
class MomentaWithoutDrift(Outputs):
    """The mean over all atoms that a rank has, ghosts too, is taken off the momenta."""

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        return values - values.mean(dim=0, keepdim=True)


@fault("T23", "GEO/values without atoms@feature", exporter=features, arguments=("--for", "plumed"))
class FeaturesNeedAtoms(Outputs):
    """Features are scaled by the largest one, which no atoms do not have."""

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        return values + 0.0 * values.max()


@fault("T24", "SYM/values@mtt::shells", exporter=shells)
class ShellsByPlace(Outputs):
    """An output depends on where the system is."""

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        if name == "mtt::shells":
            return values + 1e-4 * system.positions
        return values


@fault("T25", "NTH/values@mtt::shells", exporter=shells)
class ShellsChangeLater(Outputs):
    """From the third call on, an output is another."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.calls = 0

    def densities_of(self, weights: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return weights if self.calls < 3 else 1.0001 * weights
