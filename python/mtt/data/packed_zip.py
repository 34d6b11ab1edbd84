"""Data sets as metatrain packs them: one zip archive, and values of targets in ``.mts`` files.

In the archive each structure has a folder, counted from 0, with ``system.mta`` and one ``NAME.mts`` for
each value. A value is found under ``NAME``, of ``OWNER::NAME`` also by the part behind the colons; what
has gradients is found with them under ``NAME/forces`` and ``NAME/strain``. Nothing is unpacked to the disk.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import ase
import numpy as np
from ase.data import atomic_numbers

from mtt.data.metatensor_files import (
    Records,
    Values,
    array_of,
    check_stored,
    damaged,
    read_values,
)
from mtt.data.target import POSITIONS, STRAIN
from mtt.errors import UserError
from mtt.files import check_regular, open_regular, reading
from mtt.filetypes import bounded_zip
from mtt.filetypes.recognize import describe

# The key of the values of a file that has nothing else.
ONLY: Final = "values"
_SYSTEM: Final = "system.mta"
_VALUES: Final = ".mts"
_SHOWN: Final = (
    "such an archive has 0/system.mta, 1/system.mta and so on: make it from inside the folder, by "
    "zip -0 -r ../data.zip ."
)
_LARGEST: Final = max(atomic_numbers.values())
_MOST_DIGITS: Final = 18
_MAX_RECORD: Final = 2**31


class PackedAtoms(ase.Atoms):
    """Atoms with what is known of each of their values, by key, in ``kept``.

    ``nan`` has the keys of those that are NaN throughout, which stands for missing.
    """

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, **others)
        self.kept: dict[str, Values] = {}
        self.nan: set[str] = set()


def read_packed(path: Path) -> list[PackedAtoms]:
    """Return all structures of an archive, in order, with their values.

    :raises UserError: it is no such archive, is damaged, or states what it does not hold
    """
    size = _size(path)
    try:
        with bounded_zip.opened(path, size) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            fields = _fields(infos, path)
            check_stored([info for info in infos if _is_data(info.filename)], size, str(path))
            return [*_frames(archive, fields, path)]
    except bounded_zip.ZipProblem as error:
        # Whoever gets this far has the names of such an archive.
        hint = "copy the archive again, or pack it again: it is not whole"
        raise _no_data(path, f"the archive cannot be read: {error}", hint) from error
    except MemoryError as error:
        raise _too_large(path) from error


def read_only_values(path: Path) -> list[PackedAtoms]:
    """Return a frame without atoms for each structure of a file of values, under the key ``values``.

    :raises UserError: it is none, or damaged
    """
    size = _size(path)
    try:
        with reading(path), open_regular(path) as file:
            values = read_values(file.read(size), str(path))
    except MemoryError as error:
        raise _too_large(path) from error
    frames = []
    for each in values:
        frame = PackedAtoms()
        _store(frame, ONLY, each)
        frames.append(frame)
    return frames


def _size(path: Path) -> int:
    if not path.exists():
        raise UserError("there is no such file", where=str(path))
    check_regular(path)
    kind = describe(path)
    if kind.kind in ("html", "lfs-pointer", "zeros"):
        raise kind.refusal(path, "data")
    return path.stat().st_size


def _is_data(name: str) -> bool:
    folder, _, record = name.partition("/")
    of_structure = record == _SYSTEM or (record.endswith(_VALUES) and "/" not in record)
    return folder.isascii() and folder.isdigit() and of_structure


def _fields(infos: list[zipfile.ZipInfo], path: Path) -> list[list[str]]:
    """Return the names of the values of each structure."""
    # Of an archive that is cut off, the last system.mta that is whole would be taken for all of it.
    if infos and min(info.header_offset for info in infos) > 0:
        why = "the archive is cut off, or has something before it"
        raise _no_data(path, why, "copy it again, or pack it again")
    names = [info.filename for info in infos]
    for name in names:
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise _no_data(path, f"a record is called {name!r}, which leads elsewhere")
    by_number: dict[int, list[str]] = {}
    for name in filter(_is_data, names):
        folder, _, record = name.partition("/")
        if len(folder) > _MOST_DIGITS or str(int(folder)) != folder:
            raise _no_data(path, f"{folder[:30]} is not how structures are counted")
        by_number.setdefault(int(folder), []).append(record)
    if not by_number:
        raise _no_data(
            path, "the archive has no 0/system.mta: no structures as metatrain packs them"
        )
    for number in range(len(by_number)):
        if _SYSTEM not in by_number.get(number, ()):
            raise _no_data(
                path,
                f"the archive has no {number}/{_SYSTEM}, and structures behind it or its values",
            )
    return [
        sorted(record.removesuffix(_VALUES) for record in by_number[number] if record != _SYSTEM)
        for number in range(len(by_number))
    ]


def _frames(archive: zipfile.ZipFile, fields: list[list[str]], path: Path) -> Iterator[PackedAtoms]:
    for number, names in enumerate(fields):
        record = f"{number}/{_SYSTEM}"
        atoms = _system(_content(archive, record), f"{path}#{number}, {_SYSTEM}")
        for name in names:
            where = f"{path}#{number}, {name}{_VALUES}"
            content = _content(archive, f"{number}/{name}{_VALUES}")
            # metatrain wraps the file in an array of bytes.
            if content.startswith(b"\x93NUMPY"):
                wrapped = array_of(content, where)
                if wrapped.dtype != np.uint8 or wrapped.ndim != 1:
                    raise damaged(where, f"it holds {wrapped.dtype}, and not bytes")
                content = wrapped.tobytes()
            values = read_values(content, where)
            if len(values) > 1:
                raise damaged(where, f"it has values of {len(values)} structures")
            for each in values:
                _check_atoms(each, len(atoms), where)
                _store(atoms, name, each)
                short = name.rpartition("::")[2]
                if short not in names:
                    _store(atoms, short, each)
        yield atoms


def _content(archive: zipfile.ZipFile, record: str) -> bytes:
    return bounded_zip.read(archive, record, _MAX_RECORD)


def _system(content: bytes, where: str) -> PackedAtoms:
    records = Records(content, where)
    arrays = {name: records.array(f"{name}.npy") for name in ("types", "positions", "cell", "pbc")}
    n = len(arrays["types"]) if arrays["types"].ndim == 1 else -1
    expected = {"types": (n,), "positions": (n, 3), "cell": (3, 3), "pbc": (3,)}
    kinds = {"types": "i", "positions": "f", "cell": "f", "pbc": "b"}
    for name, array in arrays.items():
        if array.shape != expected[name] or array.dtype.kind != kinds[name]:
            raise damaged(
                where, f"{name} is {array.dtype} of the shape {array.shape}, for {max(n, 0)} atoms"
            )
    types = arrays["types"]
    wrong = (types <= 0) | (types > _LARGEST)
    if wrong.any():
        raise damaged(
            where, f"an atom has the atomic number {types[wrong][0]}, which is no element"
        )
    return PackedAtoms(
        types,
        arrays["positions"].astype(np.float64),
        cell=arrays["cell"].astype(np.float64),
        pbc=arrays["pbc"],
    )


def _check_atoms(values: Values, n_atoms: int, where: str) -> None:
    arrays = {"values": values.values} if values.layout.per == "atom" else {}
    if POSITIONS in values.gradients:
        arrays["a gradient"] = values.gradients[POSITIONS]
    for what, array in arrays.items():
        if len(array) != n_atoms:
            raise damaged(where, f"it has {what} of {len(array)} atoms, and there are {n_atoms}")


def _store(atoms: PackedAtoms, name: str, values: Values) -> None:
    """Keep values with a structure; those that are NaN throughout are what metatrain has for none."""
    positions, strain = (values.gradients.get(kind) for kind in (POSITIONS, STRAIN))
    stored: dict[str, Any] = {
        name: values.values,
        f"{name}/forces": None if positions is None else -positions,
        f"{name}/strain": strain,
    }
    for key, array in stored.items():
        if array is None:
            continue
        if np.isnan(array).all():
            atoms.nan.add(key)
        else:
            own = array.size == 1 and values.layout.per == "system"
            atoms.info[key] = float(array.reshape(-1)[0]) if own else array
    atoms.kept[name] = values


class Missing(NamedTuple):
    """Why values are missing, and what to do about it; ``is_nan``: they are there, as NaN."""

    what: str
    hint: str
    is_nan: bool


def why_missing(
    frames: Sequence[tuple[ase.Atoms, str]],
    others: Sequence[ase.Atoms],
    quantity: str,
    key: str,
) -> Missing | None:
    """Return why structures have no value under a key; None of files that are not packed.

    :param frames: those structures, and where each is (``FILE#INDEX``)
    :param others: structures of the same data, which tell in what record the key is
    """
    packed = [(atoms, where) for atoms, where in frames if isinstance(atoms, PackedAtoms)]
    absent = [where for atoms, where in packed if key not in atoms.nan]
    if not packed:
        return None
    if not absent:
        what = f"the {quantity} under the key '{key}' is NaN, which counts as missing,"
        return Missing(what, "write the numbers into the data", True)
    if key == ONLY:
        return None
    known = [each.kept for each in others if isinstance(each, PackedAtoms) and key in each.kept]
    kept = known[0] if known else {}
    names = (name for name, own in kept.items() if own is kept[key] and "::" in name)
    record = f"{absent[0].rpartition('#')[2]}/{next(names, key)}{_VALUES}"
    what = f"no {quantity} is stored under the key '{key}' (as {record})"
    return Missing(what, "pack the data again with these records", False)


def _no_data(path: Path, why: str, hint: str = _SHOWN) -> UserError:
    return UserError(why[:300], where=str(path), hint=hint)


def _too_large(path: Path) -> UserError:
    return UserError(
        "the data take more memory than there is", where=str(path), hint="use a part of the data"
    )
