"""A model as a calculator of ASE."""

from pathlib import Path
from typing import Any, Protocol

import ase
import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from mtt.data.states import state_of_atoms
from mtt.data.target import Target
from mtt.errors import UserError


class _Energies(Protocol):
    """What a model predicts of one structure, in ASE's units."""

    @property
    def energy(self) -> float: ...
    @property
    def forces(self) -> NDArray[np.float64] | None: ...
    @property
    def stress(self) -> NDArray[np.float64] | None: ...


class _Model(Protocol):
    path: Path
    conditioned: bool

    @property
    def energy_target(self) -> Target | None: ...
    def predict(self, atoms: ase.Atoms) -> _Energies: ...


class MttCalculator(Calculator):
    """Energy in eV, forces in eV/angstrom, stress in eV/angstrom^3 for periodic structures."""

    # ASE declares it as a variable of instances.
    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, model: _Model, **parameters: Any) -> None:
        """
        :raises UserError: the model predicts no energy
        """
        super().__init__(**parameters)
        if model.energy_target is None:
            raise UserError(
                "the model predicts no energy, which a calculator needs",
                where=str(model.path),
                hint="use predict",
            )
        self.model = model
        self._state: dict[str, int] = {}

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation; of ``atoms.info``, charge and spin.

        ASE itself does not look there: a new charge would get the energy of the old one.
        """
        changes: list[str] = super().check_state(atoms, tol)
        if self.model.conditioned and state_of_atoms(atoms, "the structure") != self._state:
            changes.append("info")
        return changes

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute everything at once, as ASE asks for it.

        :raises PropertyNotImplementedError: stress of a structure that is not periodic along all
            axes, which has no volume
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        prediction = self.model.predict(self.atoms)
        if self.model.conditioned:
            self._state = state_of_atoms(self.atoms, "the structure")
        self.results = {"energy": prediction.energy, "free_energy": prediction.energy}
        if prediction.forces is not None:
            self.results["forces"] = prediction.forces
        if prediction.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress)
        elif properties is not None and "stress" in properties:
            raise PropertyNotImplementedError(
                "a structure has a stress only if it is periodic along all three axes"
            )
