"""Where a file in extended XYZ is broken: ASE says what it stumbled over, but not where."""

import contextlib
from pathlib import Path
from typing import Final, NamedTuple

from mtt.data.file_limits import PROPERTIES, UNPACKERS, Lines
from mtt.errors import UserError
from mtt.files import open_regular
from mtt.printable import printable

_NUMBERS: Final = {b"R": float, b"I": int}


class Fault(NamedTuple):
    """What is wrong, and in which frame and line."""

    what: str
    where: str


def first_fault(path: Path) -> Fault | None:
    """Return the first fault in the rows of a file; None if it has none, or is no extended XYZ."""
    unpack = UNPACKERS.get(path.suffix.lower())
    if Path(path.stem if unpack else path).suffix.lower() not in (".xyz", ".extxyz"):
        return None
    with contextlib.suppress(OSError, EOFError, UserError), open_regular(path) as raw:
        return _first_fault(Lines(raw if unpack is None else unpack(raw), path), path)
    return None


def _first_fault(lines: Lines, path: Path) -> Fault | None:
    frame = 0
    while (first := lines.next()).strip():
        if first.lstrip().startswith(b"VEC"):  # ASE takes a cell after the atoms
            continue
        what = _fault_of_frame(first, lines)
        if what is not None:
            return Fault(what, f"{path}#{frame}, line {lines.number}")
        frame += 1
    return None


def _fault_of_frame(first: bytes, lines: Lines) -> str | None:
    if not first.strip().isdigit() or len(first) > 20:
        return f"the number of atoms of a structure is to be here, and here is {_shown(first)}"
    columns = _columns(lines.next())
    for _ in range(int(first)):
        row = lines.next()
        words = row.split()
        if len(words) < len(columns):
            return f"the row has {len(words)} columns of {len(columns)}: {_shown(row)}"
        for word, kind in zip(words, columns, strict=False):
            try:
                _NUMBERS.get(kind, str)(word)
            except ValueError:
                return f"{_shown(word)} is no number: {_shown(row)}"
    return None


def _columns(about: bytes) -> list[bytes]:
    """Return the kind of each column of a frame: R, I, S or L."""
    match = PROPERTIES.search(about)
    if match is None:
        return [b"S", b"R", b"R", b"R"]
    parts = match[1].split(b":")
    counts = [int(count) if count.isdigit() and len(count) < 4 else 1 for count in parts[2::3]]
    return [kind for kind, count in zip(parts[1::3], counts, strict=False) for _ in range(count)]


def _shown(text: bytes) -> str:
    return f"'{printable(text.decode('utf-8', 'replace').strip(), 60)}'"
