"""What a file of structures may ask of the machine: looked at before ASE, which believes what it reads.

Extended XYZ is gone through line by line: the number of atoms that a frame states must be there, and the
columns that it names as well. Packed files are unpacked for it, within a limit. What other formats ask for
is bounded by the memory that reading may take.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from mtt.errors import UserError
from mtt.files import open_regular

MAX_LINE: Final = 2**20
# Text of numbers packs to a quarter or so.
MAX_EXPANSION: Final = 100
# Below this size it does not matter to what a file unpacks.
_SMALL: Final = 2**26
MEMORY: Final = 2**31
MEMORY_PER_BYTE: Final = 100
UNPACKERS: Final[dict[str, Callable[[IO[bytes]], Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
PROPERTIES: Final = re.compile(rb"""[Pp]roperties\s*=\s*["'{]?\s*([^\s"'}]+)""")
_FEW_COLUMNS: Final = 1000
_DAMAGED: Final = (OSError, EOFError, lzma.LZMAError, ValueError)


@contextlib.contextmanager
def within_limits(path: Path) -> Iterator[None]:
    """Check a file of structures, and bound the memory that reading it in the block may take.

    :raises UserError: it states what it does not hold, unpacks without end, or takes too much memory
    """
    with contextlib.ExitStack() as stack:
        try:
            size = _check(path)
            stack.enter_context(_bounded_memory(MEMORY + MEMORY_PER_BYTE * size))
        except _DAMAGED as error:
            raise _unreadable(path, str(error) or type(error).__name__) from error
        try:
            yield
        except MemoryError as error:
            raise UserError(
                "the file takes more memory to read than a file of structures of its size",
                where=str(path),
                hint="check how it was written, or split it",
            ) from error


def _check(path: Path) -> int:
    """Return the size of the file, unpacked; raises UserError if it is beyond a limit."""
    packed = path.stat().st_size
    with open_regular(path) as raw:
        unpack = UNPACKERS.get(path.suffix.lower())
        if unpack is None:
            file: IO[bytes] = raw
        else:
            most = max(_SMALL, MAX_EXPANSION * packed)
            counted = _Counted(unpack(raw), most, path)
            file = io.BufferedReader(counted)
        if Path(path.stem if unpack else path).suffix.lower() in (".xyz", ".extxyz"):
            _check_xyz(file, path)
        if unpack is None:
            return packed
        while file.read(2**20):
            pass
        return counted.size


class _Counted(io.RawIOBase):
    """What a file unpacks to, up to a limit."""

    def __init__(self, file: IO[bytes], most: int, path: Path) -> None:
        self._file, self._most, self._path = file, most, path
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        self.size += len(content)
        if self.size > self._most:
            raise UserError(
                f"the file unpacks to more than {MAX_EXPANSION} times its size",
                where=str(self._path),
                hint="unpack it yourself if you trust it, and give the file that is in it",
            )
        buffer[: len(content)] = content
        return len(content)


def _check_xyz(file: IO[bytes], path: Path) -> None:
    """Frames of a file as ASE goes through them: a number of atoms, a line about them, the atoms."""
    lines = Lines(file, path)
    frame = 0
    first = lines.next()
    while first.strip():
        where = f"{path}#{frame}"
        try:
            count = int(first) if len(first) < 40 else 0
        except ValueError:
            return  # ASE says what is wrong
        about, atom = lines.next(), b""
        for number in range(count):
            line = lines.next()
            if not line:
                raise UserError(
                    f"the structure is to have {count} atoms, and the file ends after {number}",
                    where=f"{where}, line {lines.number}",
                    hint="the file is cut off, or the number of atoms in its first line is wrong",
                )
            atom = atom or line
        _check_columns(about, atom, where)
        first, frame = lines.next(), frame + 1
        while first.lstrip().startswith(b"VEC"):
            first = lines.next()


def _check_columns(about: bytes, atom: bytes, where: str) -> None:
    for match in PROPERTIES.finditer(about):
        texts = match[1].split(b":")[2::3]
        columns = sum(int(text) for text in texts if text.isdigit() and len(text) < 19)
        there = len(atom.split())
        if columns > max(there, _FEW_COLUMNS) or any(len(text) > 18 for text in texts):
            raise UserError(
                f"'Properties' names {columns} columns, and the first atom has {there}", where=where
            )


class Lines:
    """Lines of a file, none of them longer than anything sensible; ``number`` is that of the last."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path, self.number = file, path, 0

    def next(self) -> bytes:
        """Return the next line, or nothing at the end."""
        line = self._file.readline(MAX_LINE + 1)
        self.number += 1
        if len(line) > MAX_LINE:
            raise UserError(
                f"line {self.number} is longer than {MAX_LINE} bytes",
                where=str(self._path),
                hint="this is no file of structures in extended XYZ, or it is damaged",
            )
        return line


@contextlib.contextmanager
def _bounded_memory(more: int) -> Iterator[None]:
    """Let this process take ``more`` bytes than it has, and no more, where the system can do that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        # Pages that this process has, first.
        with open("/proc/self/statm", "rb") as status:
            taken = int(status.read().split()[0]) * resource.getpagesize()
        least = [limit for limit in (soft, taken + more) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(least), hard))
    except (OSError, ValueError, IndexError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(
        f"the file cannot be read as a file of structures: {why}",
        where=str(path),
        hint="use a format that ASE reads, for example extended XYZ (.xyz)",
    )
