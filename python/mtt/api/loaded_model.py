"""A model to predict with, from a checkpoint or an exported file."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mtt.data.read_files import structure_of
from mtt.data.same_units import Units, converted, in_angstrom, in_ev
from mtt.data.states import state_of_atoms
from mtt.data.structure import Structure
from mtt.data.target import ENERGY, Target
from mtt.errors import UserError
from mtt.evaluation.predict import TargetPrediction, open_model

if TYPE_CHECKING:
    from mtt.api.ase_calculator import MttCalculator
    from mtt.checkpoint import Header


@dataclass(frozen=True)
class Prediction(Mapping[str, TargetPrediction]):
    """What a model predicts for one structure: a mapping from the names of targets to their values.

    ``values``, ``forces`` and ``stress`` of a target are in the units of the model; ``energy``,
    ``forces`` and ``stress`` here are those of its energy in eV, eV/angstrom and eV/angstrom^3.
    """

    targets: Mapping[str, TargetPrediction]
    energy_name: str | None
    energy_factor: float
    length_factor: float

    def __getitem__(self, name: str) -> TargetPrediction:
        return self.targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        shown = [f"energy={self.energy:.6f} eV"] if self.energy_name else []
        return f"Prediction({', '.join([*shown, f'targets={sorted(self.targets)}'])})"

    @property
    def energy(self) -> float:
        """Return the energy in eV; raises AttributeError if the model has none."""
        return float(self._energy.values[0]) * self.energy_factor

    @property
    def forces(self) -> NDArray[np.float64] | None:
        """Return the forces (N, 3) in eV/angstrom; None if the model gives none."""
        own = self._energy.forces
        return None if own is None else own * (self.energy_factor / self.length_factor)

    @property
    def stress(self) -> NDArray[np.float64] | None:
        """Return the stress (3, 3) in eV/angstrom^3, ASE's sign; None unless all axes are periodic."""
        own = self._energy.stress
        return None if own is None else own * (self.energy_factor / self.length_factor**3)

    @property
    def _energy(self) -> TargetPrediction:
        if self.energy_name is None:
            raise AttributeError("the model predicts no energy; its targets are the keys of this")
        return self.targets[self.energy_name]


class LoadedModel:
    """A checkpoint (its best weights) or an exported model, ready to predict.

    Positions of :class:`ase.Atoms` are in angstrom, whatever the unit of the model. A model with
    conditioning takes ``charge``, and ``spin_multiplicity`` or ``spin``, from ``atoms.info``; without
    them, a structure is a neutral singlet.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.path = path
        self._predictor = open_model(path, device)
        self.kind = self._predictor.kind
        self.targets: list[Target] = list(self._predictor.targets)
        self.length_unit = self._predictor.length_unit or "angstrom"
        self.atomic_types = list(self._predictor.atomic_types)
        # Whether the charge and spin in atoms.info matter.
        self.conditioned = self._predictor.conditioned

    def __repr__(self) -> str:
        names = ", ".join(target.name for target in self.targets)
        return f"<{self.kind} {str(self.path)!r}: {names}; {len(self.atomic_types)} atomic types>"

    @cached_property
    def header(self) -> "Header":
        """Return the header of the checkpoint: ``header.position.epoch``, ``header.options``, ...

        :raises UserError: this is an exported model, which has none
        """
        from mtt import checkpoint

        if self.kind != "checkpoint":
            raise UserError(
                "an exported model has no header", str(self.path), "load the checkpoint it is from"
            )
        return checkpoint.read_header(self.path)

    @overload
    def predict(self, atoms: Atoms) -> Prediction: ...
    @overload
    def predict(self, atoms: Sequence[Atoms]) -> list[Prediction]: ...

    def predict(self, atoms: Atoms | Sequence[Atoms]) -> Prediction | list[Prediction]:
        """Return the prediction for a structure, or those for several, in their order.

        :raises UserError: an element, charge or spin that the model does not know, or a structure
            that is none
        """
        alone = isinstance(atoms, Atoms)
        several = [atoms] if isinstance(atoms, Atoms) else _listed(atoms)
        structures = [self._structure(each, f"structure {k}") for k, each in enumerate(several)]
        energy = self.energy_target
        scale = (None if energy is None else in_ev(energy.unit)) or 1.0
        asked = [*self.targets, *self._predictor.derived.values()]
        predictions = [
            Prediction(values, None if energy is None else energy.name, scale, self._angstrom)
            for values in self._predictor.predict(structures, asked)
        ]
        return predictions[0] if alone else predictions

    def calculator(self, **parameters: Any) -> "MttCalculator":
        """Return an ASE calculator; molecules have no stress, as in ASE's own calculators."""
        from mtt.api.ase_calculator import MttCalculator

        return MttCalculator(self, **parameters)

    @cached_property
    def energy_target(self) -> Target | None:
        """Return the target that MD would run with: ``energy``, or the first energy."""
        energies = [target for target in self.targets if target.is_energy]
        named = [target for target in energies if target.name == ENERGY]
        return next(iter(named + energies), None)

    @property
    def _angstrom(self) -> float:
        return in_angstrom(self.length_unit) or 1.0

    def _structure(self, atoms: Atoms, source: str) -> Structure:
        structure = structure_of(atoms, source)
        if self.conditioned:
            structure = structure.in_state(state_of_atoms(atoms, source))
            self._predictor.check_states([structure])
        (structure,) = converted([structure], Units("angstrom", {}), Units(self.length_unit, {}))
        return structure


def _listed(several: Iterable[Atoms]) -> list[Atoms]:
    """Return structures as a list; whatever else comes is told as what it is."""
    entries = list(several) if isinstance(several, Iterable) else [several]
    for entry in entries:
        if not isinstance(entry, Atoms):
            raise UserError(
                f"predict takes ase.Atoms or a list of them, and here is {type(entry).__name__}",
                hint="read structures of a file by ase.io.read('data.xyz', ':')",
            )
    return entries


def load(path: str | os.PathLike[str], device: str = "auto") -> LoadedModel:
    """Load ``model.ckpt`` or ``model.pt``; which of the two it is, its first bytes say.

    An exported model runs in the sandbox of the verifier, on the CPU: a file of somebody else's can
    do no harm.

    :param device: of a checkpoint: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``
    :raises UserError: no such file, neither of the two, no such device
    """
    return LoadedModel(Path(path), device)
