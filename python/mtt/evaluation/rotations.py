"""How much the predictions of a model change when the structures turn, which nature's do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np

from mtt.data.random import generator, random_rotations
from mtt.data.same_units import in_angstrom, in_ev
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.data.turning import turn
from mtt.errors import UserError, VerificationFailed
from mtt.evaluation.results import Prediction, Predictions
from mtt.report.metrics import FORCES, PER_ATOM, VALUE, quantities, readable
from mtt.report.parity import rmse

# So many structures and rotations tell the size of the error, and cost little beside the evaluation.
_STRUCTURES: Final = 10
_ROTATIONS: Final = 4
_ATOMS: Final = 2000


class Rotated(Protocol):
    """What gives predictions: see :class:`mtt.evaluation.predict.Predictor`."""

    def predict(self, structures: Sequence[Structure], targets: Sequence[Target]) -> Any: ...


@dataclass(frozen=True)
class Change:
    """By how much rotations change a quantity.

    - ``largest``: of values per atom, or of the force on an atom, as the length of the difference;
    - ``rmse``: over all values, or all components of forces;
    - ``mev``: the largest one in meV per atom or meV/angstrom, None where the units are not known;
    - ``judged``: whether it is one of an energy and its forces, which a limit is about.
    """

    label: str
    unit: str
    largest: float
    rmse: float
    mev: float | None
    judged: bool = True


@dataclass(frozen=True)
class RotationalError:
    """Changes of all targets and forces under rotations, half of them with an inversion.

    Values that turn are compared with those before, turned in the same way.
    """

    structures: int
    rotations: int
    changes: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        changes = {
            change.label.replace(" ", "_"): {
                "max": change.largest,
                "rmse": change.rmse,
                "unit": change.unit,
            }
            for change in self.changes
        }
        return {"structures": self.structures, "rotations": self.rotations, "changes": changes}

    def sentence(self) -> str:
        """Return what people read."""
        parts = [
            f"{change.label.removesuffix(' per atom')} by up to {readable(change.largest, change.unit)} "
            f"(RMS {readable(change.rmse, change.unit, like=change.largest)})"
            for change in self.changes
        ]
        tried = f"{self.structures} structures, {self.rotations} rotations of each"
        return f"rotations change {', '.join(parts)}; {tried}"

    def check(self, allowed: float | None, model: str) -> None:
        """Compare with ``allowed``, in meV per atom and meV/angstrom; None allows everything.

        :raises VerificationFailed: more than is allowed
        :raises UserError: the units are not known
        """
        if allowed is None:
            return
        for change in self.changes:
            if not change.judged:
                continue
            if change.mev is None:
                raise UserError(
                    f"the model's unit '{change.unit}' cannot be compared with --max-rotation-error",
                    where=model,
                )
            if not change.mev <= allowed:
                of = "meV/angstrom" if change.label.endswith(FORCES) else "meV per atom"
                raise VerificationFailed(
                    f"{model}: rotations change {change.label.removesuffix(' per atom')} by up to "
                    f"{change.mev:.4g} {of}, and "
                    f"--max-rotation-error allows {allowed:g}"
                )


def rotational_error(
    model: Rotated,
    structures: Sequence[Structure],
    predictions: Predictions,
    targets: Sequence[Target],
    length_unit: str,
) -> RotationalError | None:
    """Return the changes for some of the structures, evenly spaced; None if there are none.

    :param predictions: of the structures as they are
    """
    targets = [target.with_all_gradients() for target in targets]
    chosen = _chosen(structures)
    if not chosen:
        return None
    matrices = random_rotations(
        generator(0, "rotational error"), _ROTATIONS * len(chosen), inversion=True
    )
    origins = [index for index in chosen for _ in range(_ROTATIONS)]
    turned = [
        _turned(structures[index], matrix) for index, matrix in zip(origins, matrices, strict=True)
    ]
    differences: dict[str, list[Any]] = {}
    results = model.predict(turned, targets)
    for index, matrix, result in zip(origins, matrices, results, strict=True):
        for target in targets:
            before, after = predictions[index][target.name], result[target.name]
            parts = _differences(target, before, after, matrix, len(structures[index]))
            for part, difference in parts.items():
                differences.setdefault(f"{target.name} {part}", []).append(difference)
    return RotationalError(
        len(chosen), _ROTATIONS, tuple(_changes(targets, length_unit, differences))
    )


def _chosen(structures: Sequence[Structure]) -> list[int]:
    """Return indices of structures that are evenly spaced, with so many atoms at most, or one."""
    count = min(_STRUCTURES, len(structures))
    spaced = [number * len(structures) // count for number in range(count)]
    atoms = np.cumsum([len(structures[index]) for index in spaced])
    return [index for place, index in enumerate(spaced) if place == 0 or atoms[place] <= _ATOMS]


def _turned(structure: Structure, matrix: Any) -> Structure:
    positions, cell = structure.positions @ matrix.T, structure.cell @ matrix.T
    return replace(structure, positions=positions, cell=cell, references={})


def _differences(
    target: Target, before: Prediction, after: Prediction, matrix: Any, n_atoms: int
) -> Mapping[str, Any]:
    rows = before.values.reshape(-1, target.numbers)
    matrices = np.broadcast_to(matrix, (len(rows), 3, 3))
    change = after.values.reshape(rows.shape) - turn(rows, target, matrices)
    # A molecule has no stress.
    change = change[~np.isnan(change).any(axis=1)]
    own = _part(target)
    parts = {own: change / n_atoms if own == PER_ATOM else change}
    if before.forces is not None and after.forces is not None:
        parts[FORCES] = after.forces - before.forces @ matrix.T
    return parts


def _part(target: Target) -> str:
    """Return what of its values is compared, as :func:`mtt.report.metrics.quantities` names it."""
    return PER_ATOM if target.per == "system" and not target.per_volume else VALUE


def _changes(
    targets: Sequence[Target], length_unit: str, differences: Mapping[str, list[Any]]
) -> Any:
    energies = {target.name: target for target in targets if target.is_energy}
    for quantity in quantities(targets, length_unit):
        listed = differences.get(f"{quantity.target} {quantity.part}")
        values = np.concatenate(listed) if listed else np.zeros((0, 1))
        if len(values) == 0:
            continue
        largest = float(np.linalg.norm(values, axis=1).max())
        energy = energies.get(quantity.target)
        factor = None
        if energy is not None:
            factor = _in_milli(energy.unit, length_unit if quantity.part == FORCES else None)
        mev = None if factor is None else factor * largest
        size = rmse(values.ravel())
        yield Change(quantity.label, quantity.unit, largest, size, mev, energy is not None)


def _in_milli(unit: str, length_unit: str | None) -> float | None:
    """Return the factor to meV, or to meV/angstrom; None if a unit is not known."""
    energy = in_ev(unit)
    length = 1.0 if length_unit is None else in_angstrom(length_unit)
    return None if energy is None or length is None else 1000.0 * energy / length
