"""A model as a calculator of ASE."""

from typing import TYPE_CHECKING, Any, ClassVar

import ase
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from mtt.errors import UserError

if TYPE_CHECKING:
    from mtt.api.loaded_model import LoadedModel


class MttCalculator(Calculator):
    """Energy in eV, forces in eV/angstrom, stress in eV/angstrom^3 for periodic structures."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, model: "LoadedModel", **parameters: Any) -> None:
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
        prediction = self.model.predict(self.atoms)
        self.results = {"energy": prediction.energy, "free_energy": prediction.energy}
        if prediction.forces is not None:
            self.results["forces"] = prediction.forces
        if prediction.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress)
        elif properties is not None and "stress" in properties:
            raise PropertyNotImplementedError(
                "a structure has a stress only if it is periodic along all three axes"
            )
