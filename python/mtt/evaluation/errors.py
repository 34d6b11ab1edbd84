"""Predictions as extended XYZ, and their errors as a table and as numbers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from rich.table import Table

from mtt.data.structure import Structure, Target
from mtt.files import replacing
from mtt.report.metrics import readable
from mtt.report.plots import Parity

if TYPE_CHECKING:
    from mtt.evaluation.predict import Prediction

Errors = dict[str, dict[str, float | int | str]]


def write_xyz(
    path: Path,
    structures: Sequence[Structure],
    predictions: Sequence["Prediction"],
    target: str,
) -> None:
    """Write all structures with predictions and, where known, references, with every digit.

    Values are called as the target: ``energy``, ``forces``, ``stress`` (with ``/VARIANT`` for the
    target ``energy/VARIANT``), references ``reference_energy`` and so on. Replaces the file at
    once.
    """
    # ASE's own writer keeps eight decimals only.
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        for structure, prediction in zip(structures, predictions, strict=True):
            file.writelines(_frame(structure, prediction, target))


def _frame(structure: Structure, prediction: "Prediction", target: str) -> Iterator[str]:
    variant = target.removeprefix("energy")
    reference = structure.targets.get(target, Target(float("nan")))
    info = [f'pbc="{" ".join("T" if periodic else "F" for periodic in structure.pbc)}"']
    if structure.pbc.any():
        info.insert(0, f'Lattice="{_numbers(structure.cell)}"')
    info.append(f"energy{variant}={prediction.energy!r}")
    if not np.isnan(reference.value):
        info.append(f"reference_energy{variant}={reference.value!r}")
    for name, stress in (("stress", prediction.stress), ("reference_stress", reference.stress)):
        if stress is not None:
            info.append(f'{name}{variant}="{_numbers(stress)}"')
    columns = [structure.positions, prediction.forces]
    properties = f"species:S:1:pos:R:3:forces{variant}:R:3"
    if reference.forces is not None:
        columns.append(reference.forces)
        properties += f":reference_forces{variant}:R:3"
    yield f"{len(structure)}\nProperties={properties} {' '.join(info)}\n"
    for atomic_type, row in zip(structure.types, np.concatenate(columns, axis=1), strict=True):
        yield f"{chemical_symbols[atomic_type]} {_numbers(row)}\n"


def _numbers(array: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in array.ravel())


def parity_panels(
    structures: Sequence[Structure],
    predictions: Sequence["Prediction"],
    target: str,
    energy_unit: str,
    length_unit: str,
) -> dict[str, Parity]:
    """Reference against predicted values of everything that has references.

    Keys are ``energy`` (per structure), ``energy per atom``, ``forces`` and ``stress``
    (components).
    """
    length = "A" if length_unit.lower() in ("angstrom", "a") else length_unit
    pairs: dict[str, tuple[list[NDArray[np.float64]], list[NDArray[np.float64]], str]] = {
        "energy": ([], [], energy_unit),
        "energy per atom": ([], [], f"{energy_unit}/atom"),
        "forces": ([], [], f"{energy_unit}/{length}"),
        "stress": ([], [], f"{energy_unit}/{length}^3"),
    }

    def add(name: str, reference: NDArray[np.float64], predicted: NDArray[np.float64]) -> None:
        pairs[name][0].append(reference.ravel())
        pairs[name][1].append(predicted.ravel())

    for structure, prediction in zip(structures, predictions, strict=True):
        reference = structure.targets.get(target)
        if reference is None:
            continue
        if not np.isnan(reference.value):
            energies = np.array([reference.value]), np.array([prediction.energy])
            add("energy", *energies)
            add("energy per atom", energies[0] / len(structure), energies[1] / len(structure))
        if reference.forces is not None:
            add("forces", reference.forces, prediction.forces)
        if reference.stress is not None and prediction.stress is not None:
            add("stress", reference.stress, prediction.stress)
    return {
        name: Parity(name, unit, np.concatenate(references), np.concatenate(predicted))
        for name, (references, predicted, unit) in pairs.items()
        if references
    }


def errors(panels: Mapping[str, Parity]) -> Errors:
    """RMSE, MAE, unit and number of values of each panel, ready for JSON."""
    found: Errors = {}
    for name, panel in panels.items():
        difference = panel.predicted - panel.reference
        found[name.replace(" ", "_")] = {
            "rmse": float(np.sqrt(np.mean(difference * difference))),
            "mae": float(np.mean(np.abs(difference))),
            "unit": panel.unit,
            "values": len(difference),
        }
    return found


def error_table(found: Errors, title: str) -> Table:
    """The errors for the terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("target")
    for column in ("RMSE", "MAE", "values"):
        table.add_column(column, justify="right")
    for name, error in found.items():
        unit, rmse = str(error["unit"]), float(error["rmse"])
        table.add_row(
            name.replace("_", " "),
            readable(rmse, unit),
            readable(float(error["mae"]), unit, like=rmse),
            str(error["values"]),
        )
    return table
