"""Faults of what a model says of its own energies: uncertainties, and the members of an ensemble."""

from pathlib import Path

import torch
from corpus import fault
from metatomic.torch import System
from toy_uncertain import ENSEMBLE, UNCERTAINTY, Tensors, Uncertain, export_uncertain
from toy_uncertain import pack_of_uncertain as pack_of

ZERO = "SCHEMA/uncertainty@energy_uncertainty"
MEMBERS = "SCHEMA/uncertainty@energy_ensemble"


@fault("T37", ZERO, exporter=export_uncertain)
class Certain(Uncertain):
    """The uncertainty is zero everywhere: no engine ever warns. Its golden pack says so too."""

    def spread(self, deviations: torch.Tensor) -> torch.Tensor:
        return 0.0 * torch.linalg.vector_norm(deviations, dim=1, keepdim=True)


@fault("T38", ZERO, exporter=export_uncertain)
class LogarithmOfTheUncertainty(Uncertain):
    """The logarithm of the uncertainty is given, which is negative where the uncertainty is small."""

    def spread(self, deviations: torch.Tensor) -> torch.Tensor:
        return torch.log(torch.linalg.vector_norm(deviations, dim=1, keepdim=True) + 1e-9)


@fault("T39", "PARITY/values@energy_uncertainty")
def variance_instead_of_its_root(path: Path) -> None:
    """The trained model gave the root of the variance, the file gives the variance."""

    class Variance(Uncertain):
        def spread(self, deviations: torch.Tensor) -> torch.Tensor:
            return (deviations * deviations).sum(dim=1, keepdim=True)

    export_uncertain(path, Variance, pack=pack_of(Uncertain))


@fault("T40", "PARITY/values@energy_uncertainty")
def uncertainty_in_another_unit(path: Path) -> None:
    """The uncertainty is declared in meV, and its numbers are in eV: thresholds mean something else."""
    export_uncertain(path, unit="meV")


@fault("T41", "PARITY/values@energy_ensemble")
def members_exchanged(path: Path) -> None:
    """Two members of the ensemble are exchanged, so that no run can be reweighted with another file."""

    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if ENSEMBLE in key]:
            tensors[key] = tensors[key][..., [1, 0, 2]].contiguous()

    export_uncertain(path, pack=pack_of(change=change))


@fault("T42", MEMBERS, exporter=export_uncertain)
class MeanOfOthers(Uncertain):
    """The energy is not the mean of the members: one of them was left out when it was made."""

    def members(self, energies: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
        return energies + deviations - deviations[:, :1]


@fault("T43", MEMBERS, exporter=export_uncertain)
class MembersAllTheSame(Uncertain):
    """All members predict the same: they were made of one seed."""

    def members(self, energies: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
        return energies + 0.0 * deviations


@fault("T44", "PARITY/values@energy_uncertainty")
def sum_over_atoms(path: Path) -> None:
    """The uncertainty of a system is the sum of those of its atoms, as if all errors had one sign."""

    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if f"{UNCERTAINTY}/total" in key]:
            atoms = tensors[key.replace("total", "atoms")]
            tensors[key] = atoms.sum().reshape(1)

    export_uncertain(path, pack=pack_of(change=change))


@fault("T45", "DD/values@energy_uncertainty", exporter=export_uncertain)
class RelativeToTheRank(Uncertain):
    """Uncertainties are given relative to the mean over all atoms that a rank has, ghosts too."""

    def spread(self, deviations: torch.Tensor) -> torch.Tensor:
        lengths = torch.linalg.vector_norm(deviations, dim=1, keepdim=True)
        return lengths / (lengths.mean() + 1e-3)


@fault("T46", "DD/empty selection@energy", exporter=export_uncertain)
class NoFeaturesOfManyGhosts(Uncertain):
    """Many pairs are taken in portions, and a rank without atoms has none: its features have no width."""

    def watched(
        self, system: System, kept: torch.Tensor, beside_energy: bool, per_atom: bool
    ) -> torch.Tensor:
        if beside_energy and self.edges(system)[0].shape[0] >= 4096:
            width = 3 if kept.shape[0] > 0 else 0
            product = torch.matmul(torch.zeros((kept.shape[0], width)), torch.zeros((3, 3)))
            # Used, as TorchScript leaves out what is not.
            return kept + product[:, 0].to(torch.int64)
        return kept


@fault(
    "T46",
    "DD/empty selection@energy",
    "SCHEMA/rank without atoms@energy",
    exporter=export_uncertain,
)
class LargestOfNoAtoms(Uncertain):
    """The uncertainty beside the energy looks for the last selected atom, which some ranks do not have."""

    def watched(
        self, system: System, kept: torch.Tensor, beside_energy: bool, per_atom: bool
    ) -> torch.Tensor:
        return kept[kept <= kept.max()] if beside_energy else kept


@fault(
    "T46",
    "DD/empty selection@energy",
    "SCHEMA/rank without atoms@energy",
    exporter=export_uncertain,
)
class UncertaintyOfGhosts(Uncertain):
    """Without selected atoms the uncertainty beside the energy is that of all: ghosts of other ranks."""

    def watched(
        self, system: System, kept: torch.Tensor, beside_energy: bool, per_atom: bool
    ) -> torch.Tensor:
        if beside_energy and kept.shape[0] == 0:
            return torch.arange(len(system))
        return kept
