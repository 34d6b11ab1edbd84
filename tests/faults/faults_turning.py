"""Faults of outputs that turn with the system, which a golden pack describes."""

from pathlib import Path

import torch
from corpus import fault
from metatomic.torch import System
from toy_models import pair_energies
from toy_outputs import Outputs, sums
from toy_turning import Tensors, export_exact, export_turning, pack_of_turning

# Who judges what matters to no engine that runs MD.
FOR_ALL = ("--for", "all")


def changed(name: str, order: list[int]) -> bytes:
    """Return a pack of the sound model whose components of one output are in another order."""

    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if name in key]:
            tensors[key] = tensors[key][..., order].contiguous()

    return pack_of_turning(change=change)


@fault("T26", "PARITY/values@mtt::dipole", arguments=FOR_ALL)
def components_in_another_order(path: Path) -> None:
    """The trained model had its components in the order y, z, x."""
    export_turning(path, pack=changed("mtt::dipole", [1, 2, 0]))


@fault("T27", "PARITY/values@mtt::quadrupole", arguments=FOR_ALL)
def unit_of_the_second_target(path: Path) -> None:
    """A quadrupole is declared in another unit than its numbers are in."""
    export_turning(path, units={"mtt::quadrupole": "e*bohr^2"})


@fault("T28", "SYM/rotation of values@mtt::dipole", exporter=export_turning, arguments=FOR_ALL)
class Pseudovector(Outputs):
    """A vector keeps its sign when the system is inverted, as an axial vector does."""

    def values(self, name: str, system: System) -> torch.Tensor:
        if name != "mtt::dipole":
            return self.right_values(name, system)
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        weights = self.weights(species, centers, neighbors, vectors)
        near = sums(weights * vectors, centers, species.shape[0])
        squares = (vectors * vectors).sum(dim=1, keepdim=True)
        far = sums(weights * squares * vectors, centers, species.shape[0])
        return torch.linalg.cross(near, far)


@fault("T29", "SYM/rotation of values@mtt::dipole", exporter=export_turning, arguments=FOR_ALL)
class DoesNotTurn(Outputs):
    """A vector has the same direction however the system lies; its golden pack says so too."""

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        if name != "mtt::dipole":
            return values
        lengths = torch.sqrt((values * values).sum(dim=1, keepdim=True) + 1e-12)
        return lengths * torch.tensor([[0.6, 0.0, 0.8]], dtype=values.dtype, device=values.device)


@fault("T30", "SYM/rotation of values@mtt::tensor", exporter=export_turning, arguments=FOR_ALL)
class RowsExchanged(Outputs):
    """Two rows of a matrix are exchanged."""

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        if name != "mtt::tensor":
            return values
        return values[:, torch.tensor([3, 4, 5, 0, 1, 2, 6, 7, 8])]


@fault("T31", "SCHEMA/values@mtt::quadrupole", arguments=FOR_ALL)
def parity_of_another_tensor(path: Path) -> None:
    """The trained model had a pseudotensor, and the file labels it as a tensor."""
    described = {"mtt::quadrupole": {"irreps": [[2, -1]]}}
    export_turning(path, pack=pack_of_turning(described=described))


@fault("T32", "SCHEMA/values@mtt::tensor", arguments=FOR_ALL)
def matrix_in_the_place_of_irreps(path: Path) -> None:
    """The trained model had spherical components, and the file gives Cartesian ones."""
    irreps = [[0, 1], [1, -1], [2, 1]]
    described = {"mtt::tensor": {"type": "spherical", "irreps": irreps}}
    export_turning(path, pack=pack_of_turning(described=described))


@fault("T33", "SCHEMA/values@mtt::multipoles", arguments=FOR_ALL)
def irreps_without_blocks(path: Path) -> None:
    """The trained model had six numbers that do not turn, and the file gives two blocks."""
    described = {"mtt::multipoles": {"type": "scalar", "properties": 6}}
    export_turning(path, pack=pack_of_turning(described=described))


@fault("T47", "SYM/rotation of values@mtt::dipole", exporter=export_exact, arguments=FOR_ALL)
class TurnsAlmost(Outputs):
    """A vector is a millionth longer along z, in a model whose architecture turns exactly."""

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        if name != "mtt::dipole":
            return values
        return values * torch.tensor([[1.0, 1.0, 1.000001]], dtype=values.dtype)


@fault("T48", "SYM/rotation@energy", exporter=export_exact)
class ExactInName(Outputs):
    """Neighbors along z count a little more, in a model whose architecture turns exactly."""

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        longer = torch.tensor([1.0, 1.0, 1.00001], dtype=vectors.dtype)
        return pair_energies(
            species, centers, neighbors, vectors * longer, self.strength, self.cutoff
        )


@fault("T34", "PARITY/values@non_conservative_stress")
def stress_that_is_a_virial(path: Path) -> None:
    """A non-conservative stress is not divided by the volume."""

    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if "stress" in key]:
            cell = tensors[f"{key.partition('/')[0]}/cell"]
            volume = float(torch.linalg.det(cell).abs())
            tensors[key] = tensors[key] * (volume if volume > 0 else 1.0)

    export_turning(path, pack=pack_of_turning(change=change))


@fault("T35", "DD/values@non_conservative_force", exporter=export_turning)
class ForcesWithoutDrift(Outputs):
    """The mean force on all atoms that a rank has, ghosts too, is taken off."""

    def values(self, name: str, system: System) -> torch.Tensor:
        values = self.right_values(name, system)
        if name != "non_conservative_force":
            return values
        return values - values.mean(dim=0, keepdim=True)


@fault("T36", "PARITY/values@mtt::dipole", arguments=FOR_ALL)
def golden_values_that_are_none(path: Path) -> None:
    """The golden pack has no numbers of an output, so that there is nothing to differ from."""

    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if "dipole" in key]:
            tensors[key] = torch.full_like(tensors[key], float("nan"))

    export_turning(path, pack=pack_of_turning(change=change))
