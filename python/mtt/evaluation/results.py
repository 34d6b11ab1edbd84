"""Predictions as extended XYZ, and their errors as a table and as numbers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from rich.table import Table

from mtt.data.structure import Reference, Structure
from mtt.data.target import Target
from mtt.files import replacing
from mtt.report.metrics import FORCES, PER_ATOM, STRESS, quantities, readable
from mtt.report.plots import Parity

Errors = dict[str, dict[str, float | int | str]]


class Prediction(Protocol):
    """Values of one target for one structure, in the shapes and units of a reference."""

    @property
    def values(self) -> NDArray[np.float64]: ...
    @property
    def forces(self) -> NDArray[np.float64] | None: ...
    @property
    def stress(self) -> NDArray[np.float64] | None: ...


Predictions = Sequence[Mapping[str, Prediction]]


def write_xyz(
    path: Path,
    structures: Sequence[Structure],
    predictions: Predictions,
    targets: Sequence[Target],
) -> None:
    """Write all structures with predictions and, where known, references, with every digit.

    Replaces the file at once. Values have the names of :func:`xyz_names`, references the same after
    ``reference_``, so that the file with default keys is training data.

    :param predictions: for each structure, by the name of the target
    """
    names = xyz_names(targets)
    # ASE's own writer keeps eight decimals only.
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        for structure, prediction in zip(structures, predictions, strict=True):
            file.writelines(_frame(structure, prediction, targets, names))


def xyz_names(targets: Sequence[Target]) -> dict[tuple[str, str], str]:
    """Return how values, forces and stress of targets are called in files, by (target, part).

    ``energy``, ``forces`` and ``stress`` of an energy, with ``/VARIANT`` for ``energy/VARIANT``;
    ``NAME``, ``NAME_forces`` and ``NAME_stress`` of ``OWNER::NAME``, with the owner in front where
    two names would be the same. The format has no place for colons in names.
    """
    short = [target.name.rpartition("::")[2] for target in targets]
    names: dict[tuple[str, str], str] = {}
    for target, name in zip(targets, short, strict=True):
        unique = name if short.count(name) == 1 else target.name.replace("::", "_")
        stem, slash, variant = target.name.partition("/")
        own = stem == "energy"
        names[target.name, "values"] = target.name if own else unique
        for part in (FORCES, STRESS):
            names[target.name, part] = f"{part}{slash}{variant}" if own else f"{unique}_{part}"
    return names


def _frame(
    structure: Structure,
    prediction: Mapping[str, Prediction],
    targets: Sequence[Target],
    names: Mapping[tuple[str, str], str],
) -> Iterator[str]:
    info = [f'pbc="{" ".join("T" if periodic else "F" for periodic in structure.pbc)}"']
    if structure.pbc.any():
        info.insert(0, f'Lattice="{_numbers(structure.cell)}"')
    columns, properties = [structure.positions], "species:S:1:pos:R:3"
    for target in targets:
        name, stress, forces = (names[target.name, part] for part in ("values", STRESS, FORCES))
        pairs = ("", prediction[target.name]), ("reference_", structure.references.get(target.name))
        known = [(prefix, values) for prefix, values in pairs if values is not None]
        for prefix, values in known:
            if target.per == "atom":
                columns.append(values.values)
                properties += f":{prefix}{name}:R:{target.properties}"
            elif not np.isnan(values.values).any():
                text = _numbers(values.values)
                info.append(f"{prefix}{name}=" + (text if target.properties == 1 else f'"{text}"'))
        for prefix, values in known:
            if values.stress is not None:
                info.append(f'{prefix}{stress}="{_numbers(values.stress)}"')
            if values.forces is not None:
                columns.append(values.forces)
                properties += f":{prefix}{forces}:R:3"
    yield f"{len(structure)}\nProperties={properties} {' '.join(info)}\n"
    for atomic_type, row in zip(structure.types, np.concatenate(columns, axis=1), strict=True):
        yield f"{chemical_symbols[atomic_type]} {_numbers(row)}\n"


def _numbers(array: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in array.ravel())


def parity_panels(
    structures: Sequence[Structure],
    predictions: Predictions,
    targets: Sequence[Target],
    length_unit: str,
) -> dict[str, Parity]:
    """Return reference and predicted values of everything that has references, by their labels.

    For one energy, labels are ``energy`` (per structure), ``energy per atom``, ``forces`` and
    ``stress`` (components); see :func:`mtt.report.metrics.quantities`. What is compared of a target
    need not be in its ``gradients``, which describe the data that it was trained on.

    :param predictions: for each structure, by the name of the target
    """
    panels: dict[str, Parity] = {}
    for quantity in quantities([target.with_all_gradients() for target in targets], length_unit):
        pairs = [
            pair
            for structure, prediction in zip(structures, predictions, strict=True)
            for pair in _compared(
                structure.references.get(quantity.target),
                prediction[quantity.target],
                quantity.part,
                len(structure),
            )
        ]
        if pairs:
            reference, predicted = (np.concatenate(values) for values in zip(*pairs, strict=True))
            panels[quantity.label] = Parity(
                quantity.label, quantity.unit, reference, predicted, quantity.is_total
            )
    return panels


def _compared(
    reference: Reference | None, predicted: Prediction, part: str, n_atoms: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Give the values of one structure, if both are known."""
    if reference is None:
        return
    if part in (FORCES, STRESS):
        pair = (getattr(reference, part), getattr(predicted, part))
        if pair[0] is not None and pair[1] is not None:
            yield pair[0].ravel(), pair[1].ravel()
        return
    known = ~np.isnan(reference.values)
    if known.any():
        divisor = n_atoms if part == PER_ATOM else 1
        yield reference.values[known] / divisor, predicted.values[known] / divisor


def errors(panels: Mapping[str, Parity]) -> Errors:
    """Return RMSE, MAE, unit and number of values of each panel, ready for JSON."""
    result: Errors = {}
    for name, panel in panels.items():
        difference = panel.predicted - panel.reference
        result[name.replace(" ", "_")] = {
            "rmse": float(np.sqrt(np.mean(difference * difference))),
            "mae": float(np.mean(np.abs(difference))),
            "unit": panel.unit,
            "values": len(difference),
        }
    return result


def error_table(rows: Errors, title: str) -> Table:
    """Return the errors as a table for the terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("target")
    for column in ("RMSE", "MAE", "values"):
        table.add_column(column, justify="right")
    for name, error in rows.items():
        unit, rmse = str(error["unit"]), float(error["rmse"])
        table.add_row(
            _label(name),
            readable(rmse, unit),
            readable(float(error["mae"]), unit, like=rmse),
            str(error["values"]),
        )
    return table


def _label(name: str) -> str:
    """Return what :func:`errors` made its name of."""
    for part in (PER_ATOM, FORCES, STRESS):
        if name.endswith(f"_{part}"):
            return f"{name.removesuffix(f'_{part}')} {part.replace('_', ' ')}"
    return name
