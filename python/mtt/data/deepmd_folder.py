"""Folders of DeePMD-kit: ``type.raw``, ``type_map.raw`` and ``set.*/*.npy``.

A folder holds F structures of the same N atoms. Lengths are in angstrom and energies in eV, as
DeePMD-kit has them, if the options do not say otherwise.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import ase
import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mtt.errors import UserError
from mtt.files import LARGEST_TEXT, check_regular, open_regular, read_regular, reading
from mtt.filetypes.recognize import describe

# What DeePMD-kit calls what other files call so.
_KEYS: Final = {"force": "forces"}
# Of a folder whose frames have atoms in different orders.
_MIXED: Final = "real_atom_types"
# What the atoms of a structure are; no value of theirs can have these names.
_RESERVED: Final = ("numbers", "positions")
_SHOWN: Final = "a folder of DeePMD-kit has type.raw, type_map.raw and set.000/coord.npy"


def read_deepmd(folder: Path) -> list[ase.Atoms]:
    """Return all frames of a folder, in the order of its sets.

    Every further ``NAME.npy`` of a set is a value of its structures or atoms, by its name: energy,
    force (which becomes forces), virial, or one of somebody's own.

    :raises UserError: files are missing, are no plain arrays, or do not fit each other
    """
    types = _integers(folder / "type.raw")
    symbols = _type_map(folder, types)
    periodic = not (folder / "nopbc").exists()
    sets = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not sets:
        raise UserError("the folder has no set.000", where=str(folder), hint=_SHOWN)
    return [atoms for path in sets for atoms in _frames(path, types, symbols, periodic)]


def _frames(
    path: Path, types: NDArray[np.int64], symbols: list[str], periodic: bool
) -> Iterator[ase.Atoms]:
    arrays = {file.stem: load_array(file) for file in sorted(path.glob("*.npy"))}
    for name in _RESERVED:
        if name in arrays:
            raise UserError(
                f"a value cannot be called '{name}': type.raw and coord.npy say what the atoms are",
                where=str(path / f"{name}.npy"),
                hint="give the file another name",
            )
    positions = _taken(arrays, "coord", path, 3 * len(types))
    n_frames = len(positions)
    cells = _taken(arrays, "box", path, 9) if periodic else np.zeros((n_frames, 9))
    mixed = arrays.pop(_MIXED, None)
    kinds = np.tile(types, (n_frames, 1)) if mixed is None else mixed
    for name, array in {"box": cells, _MIXED: kinds, **arrays}.items():
        if len(array) != n_frames or (name == _MIXED and array.shape[1:] != types.shape):
            raise UserError(
                f"the array has the shape {array.shape}, and coord.npy {positions.shape}",
                where=str(path / f"{name}.npy"),
                hint="each array has one row for each structure of the set",
            )
    numbers = _numbers(kinds, symbols, path)
    for index in range(n_frames):
        atoms = ase.Atoms(
            numbers[index], positions[index].reshape(-1, 3), cell=cells[index].reshape(3, 3)
        )
        atoms.pbc = periodic
        for name, array in arrays.items():
            _store(atoms, _KEYS.get(name, name), array[index].ravel())
        yield atoms


def _taken(arrays: dict[str, NDArray[Any]], name: str, path: Path, n: int) -> NDArray[Any]:
    array = arrays.pop(name, None)
    if array is None:
        raise UserError(f"there is no {name}.npy", where=str(path), hint=_SHOWN)
    if array.ndim < 2 or math.prod(array.shape[1:]) != n:
        raise UserError(
            f"the array has the shape {array.shape}; each structure has {n} numbers",
            where=str(path / f"{name}.npy"),
            hint="type.raw has one number for each atom",
        )
    return array.reshape(len(array), n)


def _store(atoms: ase.Atoms, key: str, values: NDArray[Any]) -> None:
    """Keep values of the structure, or of its atoms, where their number says so."""
    n_atoms = len(atoms)
    if values.size == 3 * n_atoms and key == "forces":
        atoms.arrays[key] = values.reshape(n_atoms, 3)
    elif values.size == 1:
        atoms.info[key] = float(values[0])
    elif values.size == n_atoms and key not in ("virial", "stress"):
        atoms.arrays[key] = values
    else:
        atoms.info[key] = values


def _numbers(kinds: NDArray[Any], symbols: list[str], path: Path) -> NDArray[np.int64]:
    # Written so that what is no number at all is wrong as well.
    wrong = ~((kinds >= 0) & (kinds < len(symbols)) & (kinds == np.floor(kinds)))
    if wrong.any():
        raise UserError(
            f"type_map.raw names {len(symbols)} elements, and an atom has the type {kinds[wrong][0]}",
            where=str(path.parent),
            hint="types count from 0: look at type.raw, or add the missing symbols to type_map.raw",
        )
    elements = np.array([atomic_numbers[symbol] for symbol in symbols], dtype=np.int64)
    return elements[kinds.astype(np.int64)]


def _type_map(folder: Path, types: NDArray[np.int64]) -> list[str]:
    path = folder / "type_map.raw"
    if not path.exists():
        raise UserError(
            "there is no type_map.raw, which says which element each type is",
            where=str(folder),
            hint="write the symbols into it, one a line, in the order of the types",
        )
    symbols = _text(path).decode("utf-8", "replace").split()
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown or not symbols:
        raise UserError(
            f"'{unknown[0]}' is no element" if unknown else "the file is empty", where=str(path)
        )
    return symbols


def _integers(path: Path) -> NDArray[np.int64]:
    if not path.exists():
        raise UserError("there is no type.raw", where=str(path.parent), hint=_SHOWN)
    words = _text(path).split()
    if not words or not all(word.isdigit() and len(word) < 9 for word in words):
        raise _no_array(path, "the types of the atoms are needed: whole numbers, one a line")
    return np.array([int(word) for word in words], dtype=np.int64)


def _text(path: Path) -> bytes:
    with reading(path):
        return read_regular(path, LARGEST_TEXT)


def load_array(path: Path, single: bool = False) -> NDArray[Any]:
    """Return an array of plain numbers of a .npy file that is as long as it says.

    :param single: it may be one number, without a shape
    :raises UserError: it is none, holds objects, or is cut off
    """
    check_regular(path)
    with reading(path), open_regular(path) as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
        except (ValueError, EOFError) as error:
            raise _no_array(
                path, f"the file cannot be read as an array of NumPy: {error}"
            ) from error
        if dtype.kind not in "fiu" or not (shape or single):
            raise _no_array(path, f"the array holds {dtype}, and one of numbers is needed")
        # NumPy takes True and -1 for lengths, and an empty array of any length.
        if any(isinstance(length, bool) or length <= 0 for length in shape):
            raise _no_array(path, f"the array has the shape {shape}: there is nothing in it")
        stated = file.tell() + math.prod(shape) * dtype.itemsize
        size = os.fstat(file.fileno()).st_size
        if stated != size:
            raise UserError(
                f"the file states an array of the shape {shape}, which takes {stated} bytes, and has"
                f" {size}",
                where=str(path),
                hint="the file is cut off or damaged: copy it again",
            )
        numbers = read_numbers(file, dtype, stated, path)
    return numbers.reshape(shape, order="F" if fortran else "C")


def read_numbers(file: BinaryIO, dtype: Any, size: int, path: Path) -> NDArray[Any]:
    """Return what is left of a file of ``size`` bytes as numbers.

    :raises UserError: there is too little memory
    """
    try:
        return np.frombuffer(file.read(size), dtype)
    except MemoryError as error:
        raise UserError(
            f"the array takes {size} bytes, more than there is memory",
            where=str(path),
            hint="use a part of the data",
        ) from error


def _no_array(path: Path, why: str) -> UserError:
    kind = describe(path)
    if kind.kind in ("html", "lfs-pointer", "zeros"):
        return kind.refusal(path, "data")
    hint = _SHOWN if "set." in path.parent.name or path.suffix == ".raw" else None
    return UserError(" ".join(why[:300].split()), where=str(path), hint=hint)
