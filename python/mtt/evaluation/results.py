"""Predictions as extended XYZ."""

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from mtt.data.derived_targets import ENSEMBLE
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.files import replacing
from mtt.report.metrics import FORCES, STRESS


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
    starts: Mapping[str, Sequence[int | None]] | None = None,
) -> None:
    """Write all structures with predictions and, where known, references, with every digit.

    Replaces the file at once. Values have the names of :func:`xyz_names`, references the same after
    ``reference_``, so that the file with default keys is training data. Beside the members of an ensemble
    is their spread: ``energy_spread`` of ``energy_ensemble``. Rows of numbers of structures of which
    some are not known have NaN there, and a mask of all, ``reference_NAME_mask``, which ``mask`` of
    the options reads.

    :param predictions: for each structure, by the name of the target
    :param starts: by target, the point at which the spectrum of each structure begins, written as
        ``NAME_start``
    """
    names = xyz_names(targets)
    # ASE's own writer keeps eight decimals only.
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        masked = {target.name for target in targets if _has_gaps(structures, target)}
        for index, (structure, prediction) in enumerate(zip(structures, predictions, strict=True)):
            own = {name: start[index] for name, start in (starts or {}).items()}
            file.writelines(_frame(structure, prediction, targets, names, masked, own))


def _has_gaps(structures: Sequence[Structure], target: Target) -> bool:
    """Return whether some, and not all, numbers of a structure are not known."""
    if target.per == "atom":
        return False
    known = (structure.references.get(target.name) for structure in structures)
    gaps = (np.isnan(own.values) for own in known if own is not None)
    return any(bool(gap.any() and not gap.all()) for gap in gaps)


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


def spread_of(members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation (n,) of the members (n, K) of an ensemble, with K - 1 below.

    That of a single member is zero.
    """
    deviation: NDArray[np.float64] = members.std(axis=1, ddof=min(1, members.shape[1] - 1))
    return deviation


def spread_name_of(ensemble: str) -> str:
    """Return what the spread of an ensemble is called, by the name of the ensemble."""
    stem, slash, variant = ensemble.partition("/")
    return f"{stem.removesuffix(f'_{ENSEMBLE}')}_spread{slash}{variant}"


def _frame(
    structure: Structure,
    prediction: Mapping[str, Prediction],
    targets: Sequence[Target],
    names: Mapping[tuple[str, str], str],
    masked: Container[str],
    starts: Mapping[str, int | None],
) -> Iterator[str]:
    info = [f'pbc="{" ".join("T" if periodic else "F" for periodic in structure.pbc)}"']
    if structure.pbc.any():
        info.insert(0, f'Lattice="{_numbers(structure.cell)}"')
    columns, properties = [structure.positions], "species:S:1:pos:R:3"
    for target in targets:
        name, stress, forces = (names[target.name, part] for part in ("values", STRESS, FORCES))
        pairs = ("", prediction[target.name]), ("reference_", structure.references.get(target.name))
        if target.quantity == ENSEMBLE:
            spread = spread_of(np.atleast_2d(prediction[target.name].values))
            spread_name = spread_name_of(name)
            if target.per == "atom":
                columns.append(spread[:, None])
                properties += f":{spread_name}:R:1"
            else:
                info.append(f"{spread_name}={_numbers(spread)}")
        known = [(prefix, values) for prefix, values in pairs if values is not None]
        for prefix, values in known:
            if target.per == "atom":
                columns.append(values.values)
                properties += f":{prefix}{name}:R:{target.numbers}"
            elif not (gaps := np.isnan(values.values)).any() or (prefix and not gaps.all()):
                text = _numbers(_as_read(values.values, target))
                info.append(f"{prefix}{name}=" + (text if target.numbers == 1 else f'"{text}"'))
                if prefix and target.name in masked:
                    there = ~np.isnan(_as_read(values.values, target)).ravel()
                    info.append(f'{prefix}{name}_mask="{" ".join(map(str, there.astype(int)))}"')
        start = starts.get(target.name)
        if start is not None:
            info.append(f"{name}_start={start}")
        for prefix, values in known:
            if values.stress is not None:
                info.append(f'{prefix}{stress}="{_numbers(values.stress)}"')
            if values.forces is not None:
                columns.append(values.forces)
                properties += f":{prefix}{forces}:R:3"
    yield f"{len(structure)}\nProperties={properties} {' '.join(info)}\n"
    for atomic_type, row in zip(structure.types, np.concatenate(columns, axis=1), strict=True):
        yield f"{chemical_symbols[atomic_type]} {_numbers(row)}\n"


def _as_read(values: NDArray[np.float64], target: Target) -> NDArray[np.float64]:
    """Return the values of a structure in the order in which the format has them.

    Nine numbers are a matrix, columns first.
    """
    return values.reshape(3, 3).T if target.numbers == 9 else values


def _numbers(array: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in array.ravel())
