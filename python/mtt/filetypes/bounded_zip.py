"""Zip archives that may be hostile: neither their directory nor what they unpack to is trusted."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mtt.files import open_regular

# How the first record of an archive begins, and how an archive ends.
MAGIC: Final = b"PK\x03\x04"
END: Final = b"PK\x05\x06"
# The directory of a model with ten thousand tensors is a quarter of this.
MAX_DIRECTORY: Final = 4 * 2**20
_CHUNK: Final = 2**16
_DIRECTORY_END: Final = 22
# The offset is in another record, of archives beyond 4 GB.
_IN_ZIP64: Final = 2**32 - 1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What the library lets through when bytes are wrong, by and large.
_WRONG: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
)


class ZipProblem(Exception):
    """The archive cannot be read; the text says why, to end a sentence about it."""


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, once its directory has been read within limits.

    :raises ZipProblem: there is no directory, it is damaged or too large, or it is a model's and
        libtorch could find other records in it than this reader does
    """
    with open_regular(path) as file:
        try:
            archive = zipfile.ZipFile(_Careful(file))
        except zipfile.BadZipFile as error:
            raise ZipProblem(str(error).lower()) from error
        except _WRONG as error:
            raise ZipProblem("its directory is damaged") from error
        with archive:
            if why := _ambiguity(archive, file):
                raise ZipProblem(why)
            yield archive


def _ambiguity(archive: zipfile.ZipFile, file: BinaryIO) -> str:
    """Return what makes an archive of TorchScript another one for libtorch; empty if nothing does.

    Libtorch takes the folder of the first record, finds names without regard to case, and counts from
    the first byte of the file. ``csrc/model/zip.cpp`` says the same of the same files.
    """
    names = [info.filename for info in archive.infolist()]
    if not any(name.endswith("/constants.pkl") for name in names):
        return ""
    folder = names[0].partition("/")[0]
    seen: set[str] = set()
    for name in names:
        parts = name.split("/")
        if len(parts) < 2 or {"", ".", ".."} & set(parts) or "\\" in name or not name.isprintable():
            return f"it has a record with an unusual name: {name!r}"
        if parts[0] != folder:
            return f"it has two folders, {folder!r} and {parts[0]!r}"
        if name.lower() in seen:
            return f"it has two records {name!r}"
        seen.add(name.lower())
    file.seek(-_DIRECTORY_END, 2)
    end = file.read()
    if not end.startswith(END):
        return "something comes after its directory"
    begin = int.from_bytes(end[16:20], "little")
    if begin not in (archive.start_dir, _IN_ZIP64):
        return "something comes before its first record"
    return ""


def read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The first ``limit`` bytes of a record, or all of it if it is shorter.

    :raises ZipProblem: it is not there, damaged, encrypted, or packed in a way that has no bound
    """
    return b"".join(chunks(archive, name, limit))


def chunks(archive: zipfile.ZipFile, name: str, limit: int) -> Iterator[bytes]:
    """Like :func:`read`, in pieces."""
    try:
        info = archive.getinfo(name)
        # The other methods unpack a whole block at once, however large it gets.
        if info.compress_type not in _METHODS:
            raise ZipProblem(f"its record {name} is packed in an unusual way")
        with archive.open(info) as record:
            while limit > 0 and (piece := record.read(min(_CHUNK, limit))):
                limit -= len(piece)
                yield piece
    except KeyError as error:
        raise ZipProblem(f"it has no record {name}") from error
    except _WRONG as error:
        raise ZipProblem(f"its record {name} is damaged") from error


class _Careful:
    """A file that is never read in a piece larger than the largest directory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(min(size, MAX_DIRECTORY + 1) if size >= 0 else MAX_DIRECTORY + 1)
        if len(content) > MAX_DIRECTORY or size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its directory is too large to be looked at")
        return content
