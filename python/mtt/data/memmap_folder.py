"""Folders of arrays as metatrain packs them: ``ns.npy``, ``na.npy``, ``x.bin``, ``a.bin``, ``c.bin``.

Structures lie one after the other. ``na.npy`` says where the atoms of each begin; ``x.bin`` has positions,
``a.bin`` atomic numbers (int32), ``c.bin`` cells, and ``NAME.bin`` values of structures or atoms, all in
float32 where nothing else is said. The files state no shapes, so their sizes must fit ``na.npy``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ase
import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mtt.data.deepmd_folder import load_array, read_numbers
from mtt.errors import UserError
from mtt.files import check_regular, open_regular, reading

if TYPE_CHECKING:
    from mtt.options.schema.datasets import TargetOptions

# Files that say what the structures are.
_RESERVED: Final = ("x", "a", "c", "numbers", "positions")
_HINT: Final = "the file is cut off or of other data: copy the folder again"
_LARGEST: Final = max(atomic_numbers.values())


def values_of(targets: Mapping[str, "TargetOptions"]) -> dict[str, str]:
    """Return, by their keys, whether values that targets need are per ``system`` or per ``atom``."""
    keys: dict[str, str] = {}
    for target in targets.values():
        keys[target.key] = target.per
        if target.is_energy:
            for name, per in (("forces", "atom"), ("stress", "system"), ("virial", "system")):
                asked = getattr(target, name)
                if asked is not False:
                    keys[getattr(asked, "key", None) or name] = per
    return keys


def read_memmap(folder: Path, keys: Mapping[str, str] | None = None) -> list[ase.Atoms]:
    """Return all structures of a folder, in order, with values of theirs.

    An axis is periodic if its cell vector is not zero.

    :param keys: the values to read that are there, each per ``system`` or per ``atom``; None reads
        every file whose size leaves no choice between the two
    :raises UserError: files are missing, are no plain arrays, or do not fit each other
    """
    first = _first_atoms(folder)
    n, n_atoms = len(first) - 1, int(first[-1])
    positions = _numbers(folder / "x.bin", n_atoms, 3, "<f4")
    types = _numbers(folder / "a.bin", n_atoms, 1, "<i4")[:, 0]
    wrong = (types <= 0) | (types > _LARGEST)
    if wrong.any():
        raise UserError(
            f"an atom has the atomic number {types[wrong][0]}, which is no element",
            where=str(folder / "a.bin"),
            hint=_HINT,
        )
    cells = np.zeros((n, 9), dtype=np.float32)
    if (folder / "c.bin").exists():
        cells = _numbers(folder / "c.bin", n, 9, "<f4")
    chosen = _keys_of(folder, n, n_atoms) if keys is None else keys
    values = {
        key: (per, _values(folder / f"{key}.bin", per, n, n_atoms))
        for key, per in chosen.items()
        if key not in _RESERVED and (folder / f"{key}.bin").exists()
    }
    frames = []
    for index in range(n):
        start, stop = int(first[index]), int(first[index + 1])
        cell = cells[index].reshape(3, 3).astype(np.float64)
        atoms = ase.Atoms(types[start:stop], positions[start:stop].astype(np.float64), cell=cell)
        atoms.pbc = (cell != 0.0).any(axis=1)
        for key, (per, array) in values.items():
            if per == "atom":
                atoms.arrays[key] = array[start:stop].astype(np.float64)
            else:
                own = array[index].astype(np.float64)
                atoms.info[key] = float(own[0]) if len(own) == 1 else own
        frames.append(atoms)
    return frames


def _first_atoms(folder: Path) -> NDArray[np.int64]:
    """Return where the atoms of each structure begin, and, at the end, the number of all atoms."""
    path = folder / "na.npy"
    first, number = load_array(path), load_array(folder / "ns.npy", single=True)
    whole = first.dtype.kind == "i" and number.dtype.kind == "i"
    if not whole or first.ndim != 1 or first.shape != (int(number.ravel()[0]) + 1,):
        raise UserError(
            f"the array has the shape {first.shape} of {first.dtype}, and ns.npy holds "
            f"{number.ravel()[0]} structures",
            where=str(path),
            hint="it has whole numbers, one more than there are structures: where the atoms of each begin",
        )
    steps = np.diff(first)
    if first[0] != 0 or (steps <= 0).any():
        raise UserError(
            "the numbers must begin with 0 and rise, as every structure has atoms",
            where=str(path),
            hint=_HINT,
        )
    return first.astype(np.int64)


def _values(path: Path, per: str, n: int, n_atoms: int) -> NDArray[Any]:
    rows = n_atoms if per == "atom" else n
    return _numbers(path, rows, max(1, path.stat().st_size // 4 // rows), "<f4")


def _keys_of(folder: Path, n: int, n_atoms: int) -> dict[str, str]:
    """Return what there is, by name, where the size of the file tells what it is of."""
    keys = {}
    for path in sorted(folder.glob("*.bin")):
        size = path.stat().st_size
        fits = [per for per, rows in (("system", n), ("atom", n_atoms)) if not size % (4 * rows)]
        # All atoms are a multiple of the structures only by chance, mostly.
        if size and path.stem not in _RESERVED and len(fits) == 1:
            keys[path.stem] = fits[0]
    return keys


def _numbers(path: Path, rows: int, columns: int, dtype: str) -> NDArray[Any]:
    """Return a file of plain numbers of four bytes as an array (rows, columns)."""
    if not path.exists():
        raise UserError(f"there is no {path.name}", where=str(path.parent), hint=_HINT)
    check_regular(path)
    stated, size = 4 * rows * columns, path.stat().st_size
    if stated != size:
        raise UserError(
            f"the file has {size} bytes; {rows} rows of {columns} numbers take {stated}",
            where=str(path),
            hint=_HINT,
        )
    with reading(path), open_regular(path) as file:
        array = read_numbers(file, dtype, size, path)
    return array.reshape(rows, columns)
