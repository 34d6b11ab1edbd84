"""Where a file in extended XYZ is broken: ASE says what it stumbled over, but not where."""

import contextlib
import re
from pathlib import Path
from typing import Final, NamedTuple

from mtt.data.file_limits import PROPERTIES, UNPACKERS, Lines
from mtt.elements import NUMBERS
from mtt.errors import UserError
from mtt.files import open_regular
from mtt.printable import plural, printable

_NUMBERS: Final = {b"R": float, b"I": int}
# Values of which ASE takes nothing but nine plain numbers.
_MATRIX: Final = re.compile(rb'\b(stress|virial|Lattice)="([-+.\deE \t]*)"')


class Fault(NamedTuple):
    """What is wrong, in which frame and line, and what to do where that is known."""

    what: str
    where: str
    hint: str = ""


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
        found = _fault_of_frame(first, lines)
        if found is not None:
            return Fault(found[0], f"{path}#{frame}, line {lines.number}", found[1])
        frame += 1
    return None


def _fault_of_frame(first: bytes, lines: Lines) -> tuple[str, str] | None:
    """Return what is wrong with the line that was read last, and what to do if that is known."""
    if not first.strip().isdigit() or len(first) > 20:
        what = f"the number of atoms of a structure is to be here, and here is {_shown(first)}"
        return what, "" if lines.number == 1 else "look at the number of atoms of the frame above"
    start = lines.number
    about = lines.next()
    matrix = next((each for each in _MATRIX.finditer(about) if len(each[2].split()) != 9), None)
    if matrix is not None:
        name, count = matrix[1].decode(), len(matrix[2].split())
        what = (
            f"'{name}' has {plural(count, 'number')}, and 9 are needed: xx xy xz yx yy yz zx zy zz"
        )
        voigt = "in Voigt's order (xx yy zz yz xz xy) it needs another name, such as dft_stress"
        return what, f"write all nine; {voigt}" if count == 6 and name != "Lattice" else ""
    columns, species = _columns(about)
    for atom in range(int(first)):
        row = lines.next()
        words = row.split()
        if len(words) < len(columns):
            what = f"the row has {len(words)} of {len(columns)} columns: {_shown(row)}"
            begins = len(words) == 1 and words[0].isdigit() and atom > 0
            said = (
                f"line {start} says {int(first)} atoms, and another structure begins after {atom}"
            )
            return what, f"{said}: write the right number there" if begins else ""
        for word, kind in zip(words, columns, strict=False):
            try:
                _NUMBERS.get(kind, str)(word)
            except ValueError:
                comma = "write decimal points, not commas" if b"," in word else ""
                return f"{_shown(word)} is no number: {_shown(row)}", comma
        symbol = words[species].decode("utf-8", "replace") if species is not None else "X"
        if symbol.isalpha() and symbol.capitalize() not in {"X", *NUMBERS}:
            return f"{_shown(words[species or 0])} is no element: {_shown(row)}", ""
    return None


def _columns(about: bytes) -> tuple[list[bytes], int | None]:
    """Return the kind of each column of a frame, R, I, S or L, and which one names the element."""
    match = PROPERTIES.search(about)
    if match is None:
        return [b"S", b"R", b"R", b"R"], 0
    parts = match[1].split(b":")
    counts = [int(count) if count.isdigit() and len(count) < 4 else 1 for count in parts[2::3]]
    kinds = [kind for kind, count in zip(parts[1::3], counts, strict=False) for _ in range(count)]
    names = parts[0::3]
    species = sum(counts[: names.index(b"species")]) if b"species" in names else None
    return kinds, species if species is not None and species < len(kinds) else None


def _shown(text: bytes) -> str:
    return f"'{printable(text.decode('utf-8', 'replace').strip(), 60)}'"
