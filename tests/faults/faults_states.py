"""Faults of models that depend on the charge and spin multiplicity of a system."""

# ruff: noqa: UP006, UP035  (TorchScript wants the names of typing)

from typing import List

import torch
from corpus import fault
from metatomic.torch import System
from toy_engines import Charged, stated
from toy_states import export_in_states

PARITY = ("PARITY/energy", "PARITY/forces", "PARITY/virial")


@fault("P18", *PARITY, exporter=export_in_states)
class IgnoresTheCharge(Charged):
    """Requests the total charge and does not look at it: ions are neutral."""

    def given(self, system: System, name: str, default: float) -> torch.Tensor:
        values = torch.full((1,), default, dtype=torch.float64, device=system.positions.device)
        if name != "charge" and name in system.known_data():
            values = system.get_data(name).block().values.reshape(1).to(torch.float64)
        return values


@fault("P18", *PARITY, exporter=export_in_states)
class IgnoresTheSpin(Charged):
    """Requests the spin multiplicity and does not look at it: triplets are singlets."""

    def given(self, system: System, name: str, default: float) -> torch.Tensor:
        values = torch.full((1,), default, dtype=torch.float64, device=system.positions.device)
        if name == "charge" and name in system.known_data():
            values = system.get_data(name).block().values.reshape(1).to(torch.float64)
        return values


@fault("P18", *PARITY, exporter=export_in_states)
class SwapsChargeAndSpin(Charged):
    """Reads the spin multiplicity where the charge is meant, and the other way round."""

    def given(self, system: System, name: str, default: float) -> torch.Tensor:
        other = "spin_multiplicity" if name == "charge" else "charge"
        if other in system.known_data():
            return system.get_data(other).block().values.reshape(1).to(torch.float64)
        return torch.full((1,), default, dtype=torch.float64, device=system.positions.device)


@fault("P18", *PARITY, exporter=export_in_states)
class CountsElectrons(Charged):
    """Takes the charge for a number of electrons more, so that anions are cations."""

    def given(self, system: System, name: str, default: float) -> torch.Tensor:
        values = stated(system, name, default)
        return -values if name == "charge" else values


@fault("P18", *PARITY, exporter=export_in_states)
class UnpairedElectrons(Charged):
    """Takes the spin multiplicity for the number of unpaired electrons, which is less by one."""

    def given(self, system: System, name: str, default: float) -> torch.Tensor:
        values = stated(system, name, default)
        return values + 1.0 if name == "spin_multiplicity" else values


@fault("P19", "SYM/batch", exporter=export_in_states)
class StateOfTheBatch(Charged):
    """All systems of a batch are taken to have the charge and spin of the first."""

    def all_energies(self, systems: List[System], kept: List[torch.Tensor]) -> List[torch.Tensor]:
        charge = self.given(systems[0], "charge", 0.0)
        spin = self.given(systems[0], "spin_multiplicity", 1.0)
        state = 1.0 + 0.1 * charge + 0.01 * (spin - 1.0)
        energies: List[torch.Tensor] = []
        for system in systems:
            species = self.species_of_type.index_select(0, system.types.to(torch.int64))
            centers, neighbors, vectors = self.edges(system)
            raw = self.interactions(species, centers, neighbors, vectors).to(torch.float64)
            energies.append(raw * state + self.baseline.index_select(0, species))
        return energies
