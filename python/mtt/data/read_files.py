"""Structures and their references from files, with every gap in the data named."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ase
import numpy as np
from numpy.typing import NDArray

from mtt.data.ase_targets import read_target
from mtt.data.frames import read_all
from mtt.data.memmap_folder import values_of
from mtt.data.plausibility.contradictions import contradictions
from mtt.data.reader import InMemory, Reader
from mtt.data.same_units import Units, converted
from mtt.data.splits import resolve_indices
from mtt.data.states import with_states
from mtt.data.structure import Structure
from mtt.data.weights import with_weights
from mtt.errors import UserError
from mtt.options.schema.data_paths import data_files

# In the length unit of the data, whichever it is: angstrom, bohr, nanometer.
MAX_COORDINATE: Final = 1e5
MIN_HEIGHT: Final = 1e-3
CONFIG_TYPE: Final = "config_type"

if TYPE_CHECKING:
    from mtt.options.schema.datasets import DatasetOptions

logger = logging.getLogger(__name__)


def read_structures(
    options: "DatasetOptions",
    require_targets: bool = True,
    units: Units | None = None,
    rooms: Mapping[str, int] | None = None,
) -> list[Structure]:
    """Return the structures of one entry of ``training_set``, ``validation_set`` or ``test_set``.

    Gradients that the options leave open are used where the data has them, which is logged together
    with how many structures lack them.

    :param require_targets: False (evaluation) also takes structures without reference values: their
        values are NaN, or they have no reference at all
    :param units: what to convert lengths and targets to; None leaves them in the units of the file
    :param rooms: by target, how many of the first values of each structure count for nothing
        (:mod:`mtt.data.spectra`); those need not be finite numbers
    :raises UserError: unreadable or empty files, missing keys, requested gradients that the data
        lacks, wrong shapes, values that are not finite numbers, cells that do not fit the
        periodicity, charges and spins that are missing or not whole
    """
    systems = options.systems
    path = systems.read_from
    _check_units_of_dpdata(options)
    keys = values_of(options.targets)
    inputs = options.extra_data
    if inputs is not None:
        keys |= {inputs.key_of(name): "system" for name in inputs.names}
    frames = read_all(path, systems.reader, systems.format, keys)
    files = {path: frames}
    chosen = resolve_indices(systems.indices, len(frames), f"{path}, indices")
    picked = [frames[index] for index in chosen]
    structures = [structure_of(*frame) for frame in picked]
    for name, target in options.targets.items():
        for text in contradictions([frame.atoms for frame in picked], target, name):
            logger.warning("%s: %s", path, text)
        room = (rooms or {}).get(name, 0)
        values = read_target(
            path,
            files,
            chosen,
            structures,
            target,
            systems.length_unit,
            require_targets,
            keys,
            room,
        )
        for structure, value in zip(structures, values, strict=True):
            if value is not None:
                structure.references[name] = value
    structures = with_weights(structures, picked, options.weights, path)
    structures = with_states(structures, picked, options.extra_data, path)
    own = Units.of(options)
    if units is None or own.fits(units):
        return structures
    logger.info("%s: converted from %s to %s", path, own, units.of_targets(own.targets))
    return converted(structures, own, units)


def _check_units_of_dpdata(options: "DatasetOptions") -> None:
    """Refuse units that dpdata has converted already; those of other files may be any."""
    if options.systems.reader != "dpdata":
        return
    units = {options.systems.length_unit: "angstrom"} | {
        target.unit: "eV"
        for target in options.targets.values()
        if target.is_energy and target.read_from is None
    }
    for unit, own in units.items():
        if unit != own:
            raise UserError(
                f"dpdata gives eV and angstrom, and the options say {unit}",
                where=str(options.systems.read_from),
                hint="leave the units out of the options of this data set",
            )


def read_datasets(
    options: Sequence["DatasetOptions"],
    units: Units | None = None,
    rooms: Mapping[str, int] | None = None,
) -> Reader:
    """Return all structures of a list of entries, one after the other, in the same units.

    :param units: those of the first entry if None
    :param rooms: as of :func:`read_structures`
    :raises UserError: as :func:`read_structures`
    """
    same = units or Units.of(options[0])
    read = (read_structures(entry, units=same, rooms=rooms) for entry in options)
    return InMemory([*itertools.chain(*read)])


def named_files(options: Sequence["DatasetOptions"]) -> list[Path]:
    """Return every data file that a list of entries names."""
    paths: list[Path | None] = [entry.systems.read_from for entry in options]
    for target in (target for entry in options for target in entry.targets.values()):
        for part in (target, target.forces, target.stress, target.virial):
            paths.append(getattr(part, "read_from", None))
    return [file for path in paths if path is not None for file in data_files(path)]


def read_plain(path: Path) -> list[Structure]:
    """Return every structure of a file, without references.

    :raises UserError: as :func:`read_structures`
    """
    return [structure_of(*frame) for frame in read_all(path)]


def structure_of(atoms: ase.Atoms, source: str) -> Structure:
    """Return atoms as a structure without references.

    :param source: where they are from, for messages
    :raises UserError: no atoms, no elements, numbers that are not finite, cells that are none
    """
    if len(atoms) == 0:
        raise UserError("the structure has no atoms", where=source, hint="remove it from the file")
    if (atoms.numbers <= 0).any():
        atom = int(np.flatnonzero(atoms.numbers <= 0)[0])
        raise UserError(
            f"atom {atom} has the atomic type {atoms.numbers[atom]} (symbol"
            f" '{atoms.symbols[atom]}'), which is no element",
            where=source,
            hint="name the element in the file",
        )
    pbc = np.array(atoms.pbc, dtype=bool)
    cell = np.where(pbc[:, None], np.asarray(atoms.cell.array, dtype=np.float64), 0.0)
    positions = np.array(atoms.positions, dtype=np.float64)
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise UserError("the positions or the cell are not finite numbers", where=source)
    rows = cell[pbc]
    _check_lengths(positions, rows, source)
    if pbc.any() and np.linalg.matrix_rank(rows) < len(rows):
        raise UserError(
            f"the cell does not span the periodic axes {_axes(pbc)}: it has the rows "
            + ", ".join(str([float(x) for x in row]) for row in rows),
            where=source,
            hint='write the cell (Lattice="...") into the file, or pbc="F F F" for a molecule',
        )
    heights = 1.0 / np.linalg.norm(np.linalg.pinv(rows), axis=0) if pbc.any() else np.ones(1)
    if heights.min() < MIN_HEIGHT:
        raise UserError(
            f"the cell is only {heights.min():.1e} thick: every atom is its own neighbor many times",
            where=source,
            hint="check the unit of the cell",
        )
    return Structure(
        np.array(atoms.numbers, dtype=np.int32),
        positions,
        cell,
        pbc,
        source=source,
        config_type=str(atoms.info.get(CONFIG_TYPE, "")),
    )


def _check_lengths(positions: NDArray[np.float64], rows: NDArray[np.float64], source: str) -> None:
    """Refuse what no neighbor list can be made of, before anyone tries."""
    far = np.abs(positions).max(axis=1)
    if far.max() > MAX_COORDINATE:
        atom = int(far.argmax())
        raise UserError(
            f"atom {atom} is at {positions[atom].tolist()}: no coordinate may be beyond"
            f" {MAX_COORDINATE:g}",
            where=source,
            hint="move the atoms back into the cell, or remove the structure",
        )
    if len(rows) and np.abs(rows).max() > MAX_COORDINATE:
        raise UserError(
            f"the cell has a vector of {np.abs(rows).max():.1e}: none may be beyond"
            f" {MAX_COORDINATE:g}",
            where=source,
            hint="check the unit of the cell",
        )


def _axes(pbc: NDArray[np.bool_]) -> str:
    return "".join(axis for axis, periodic in zip("abc", pbc, strict=True) if periodic)
