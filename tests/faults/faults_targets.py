"""Faults of one target among several; every other target of the file is sound."""

from pathlib import Path
from typing import Any, Dict  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from metatomic.torch import System
from toy_targets import (
    CHARGES,
    Several,
    charges_of,
    description,
    export_several,
    pack_of_targets,
)

# ruff: noqa: UP006, UP045


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


@fault("T07", "DD/values@mtt::charges", exporter=export_several)
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


@fault("T09", "SCHEMA/values@mtt::charges", exporter=export_several)
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
