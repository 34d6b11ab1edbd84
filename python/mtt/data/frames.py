"""Frames of all files that a path stands for, whoever reads them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import ase

from mtt.data.ase_frames import read_frames
from mtt.data.deepmd_folder import read_deepmd
from mtt.data.dpdata_files import read_dpdata
from mtt.data.memmap_folder import read_memmap
from mtt.data.packed_zip import read_only_values, read_packed
from mtt.errors import UserError
from mtt.options.schema.data_paths import (
    data_files,
    is_deepmd,
    is_memmap,
    is_packed,
    is_values,
    why_unusable,
)

_MOST_LISTED: Final = 12


class Frame(NamedTuple):
    """One structure as a file has it; ``source`` is ``FILE#INDEX``, counted from 0."""

    atoms: ase.Atoms
    source: str


def read_all(
    path: Path,
    reader: str | None = None,
    form: str | None = None,
    keys: Mapping[str, str] | None = None,
    only_values: bool = False,
) -> list[Frame]:
    """Return the frames of all files that ``path`` stands for, one file after the other.

    :param reader: ``ase``, ``deepmd`` or ``dpdata``; None is ``deepmd`` for its folders, else ``ase``
    :param form: name that ASE or dpdata has for the format
    :param keys: values to read of folders of metatrain (:func:`mtt.data.memmap_folder.read_memmap`)
    :param only_values: whether frames may be without atoms, as those of ``.mts`` files are
    :raises UserError: if a file is missing, is not what the reader reads, or holds no structures
    """
    # dpdata has formats that are folders.
    files = [path] if reader == "dpdata" and path.is_dir() else data_files(path)
    if not files:
        raise UserError(why_unusable(path) or "no file", where=str(path))
    frames = []
    for file in files:
        read: Sequence[ase.Atoms]
        if reader == "deepmd" or (reader is None and is_deepmd(file)):
            read = read_deepmd(file)
        elif reader is None and is_memmap(file):
            read = read_memmap(file, keys)
        elif reader is None and is_packed(file):
            read = read_packed(file)
        elif reader is None and is_values(file):
            if not only_values:
                raise UserError(
                    "the file has values of a target, and no structures",
                    where=str(file),
                    hint="name it as 'read_from' of the target",
                )
            read = read_only_values(file)
        elif reader == "dpdata":
            read = read_dpdata(file, form)
        else:
            read = read_frames(file, form)
        frames += [Frame(atoms, f"{file}#{index}") for index, atoms in enumerate(read)]
    return frames


def listed(sources: Iterable[str]) -> str:
    """Return where structures are, in short: ``a.xyz#0, #3 to #7, b.xyz#2``."""
    parts: list[str] = []
    for file, group in groupby(
        (source.rpartition("#") for source in sources), lambda each: each[0]
    ):
        numbers = [int(number) for _, _, number in group]
        texts = [
            f"#{first}" if first == last else f"#{first} to #{last}"
            for first, last in _runs(numbers)
        ]
        parts += [f"{file}{texts[0]}", *texts[1:]]
    more = len(parts) - _MOST_LISTED
    return ", ".join(parts[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
