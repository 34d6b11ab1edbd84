"""Zip archives that may be hostile: neither their directory nor what they unpack to is trusted."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mtt.canonical import json_or_none
from mtt.files import open_regular

# How the first record of an archive begins, and how an archive ends.
MAGIC: Final = b"PK\x03\x04"
END: Final = b"PK\x05\x06"
# The directory of a model with ten thousand tensors is a quarter of this.
MAX_DIRECTORY: Final = 4 * 2**20
_CHUNK: Final = 2**16
_MAX_EXTENSIONS: Final = 2**20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What the library lets through when bytes are wrong, by and large.
WRONG: Final = (
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
def opened(path: Path, largest: int = MAX_DIRECTORY) -> Iterator[zipfile.ZipFile]:
    """The archive, once its directory has been read within limits.

    :param largest: bytes that the directory may have
    :raises ZipProblem: there is no directory, it is damaged or too large, or it is a model's and
        libtorch could find other records in it than this reader does
    """
    with open_regular(path) as file:
        try:
            archive = zipfile.ZipFile(_Careful(file, largest))
        except zipfile.BadZipFile as error:
            raise ZipProblem(str(error).lower()) from error
        except WRONG as error:
            raise ZipProblem("its directory is damaged") from error
        with archive:
            _check_model(archive)
            yield archive


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
    except WRONG as error:
        raise ZipProblem(f"its record {name} is damaged") from error


def _check_model(archive: zipfile.ZipFile) -> None:
    """Refuse archives of models that other readers, above all libtorch, find other records in.

    :raises ZipProblem: which it is
    """
    names = archive.namelist()
    if not any(name.casefold().endswith(("/constants.pkl", "/model.json")) for name in names):
        return
    folder, *others = {name.partition("/")[0] for name in names}
    if others:
        raise ZipProblem("it has more than one folder, and libtorch loads only one of them")
    # libtorch finds records without regard to case, and C ends a name at a zero byte.
    if len({name.lower() for name in names}) < len(names):
        raise ZipProblem("it has two records of one name")
    odd = {"", ".", ".."}
    if any(odd & set(name.split("/")) or "\\" in name or not name.isprintable() for name in names):
        raise ZipProblem("a record in it has a name that leads elsewhere")
    if any("\0" in info.orig_filename for info in archive.infolist()):
        raise ZipProblem("a record in it has a name that leads elsewhere")
    if archive.comment or min(info.header_offset for info in archive.infolist()) > 0:
        raise ZipProblem("there are bytes before or after it")
    for record in ("extra/extensions", "extra/extensions-deps"):
        if f"{folder}/{record}" in names:
            _check_extensions(json_or_none(read(archive, f"{folder}/{record}", _MAX_EXTENSIONS)))


def _check_extensions(declared: object) -> None:
    """Libraries are looked for in the folder of extensions that the user names, nowhere else."""
    # Lists that are none are for the verifier to judge: nothing is loaded by them.
    for item in declared if isinstance(declared, list) else []:
        name = item.get("name") if isinstance(item, dict) else None
        path = item.get("path") if isinstance(item, dict) else None
        if not isinstance(name, str) or not isinstance(path, str):
            continue
        if "/" in name or "\\" in name or name.startswith("."):
            raise ZipProblem("the name of an extension in it leads elsewhere")
        if path.startswith("/") or ".." in path.split("/") or "\\" in path:
            raise ZipProblem("the path of an extension in it leads out of the folder of extensions")


class _Careful:
    """A file that is never read in a piece larger than the largest directory."""

    def __init__(self, file: BinaryIO, largest: int) -> None:
        self._file, self._largest = file, largest
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        most = self._largest + 1
        content = self._file.read(min(size, most) if size >= 0 else most)
        if len(content) > self._largest or size > self._largest:
            raise zipfile.BadZipFile("its directory is too large to be looked at")
        return content
