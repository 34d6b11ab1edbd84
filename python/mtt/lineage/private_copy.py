"""A file as it is at one moment: copied where nobody else can write, and hashed while it is read.

What is checked and used by its path may be swapped in between, as may a link on the way to it. Whoever
works on the copy uses the very bytes that were checked.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from mtt.files import check_regular, open_regular, reading, unwritable

_CHUNK: Final = 2**20


@dataclass(frozen=True)
class Copy:
    """The copy of a file, under the file's own name in a folder of its own, and the SHA-256 of both."""

    path: Path
    sha256: str


@contextlib.contextmanager
def opened(path: Path, what: str = "file") -> Iterator[BinaryIO]:
    """Open a regular file, once: what was looked at is what is read.

    :raises UserError: it cannot be read, or is a folder, a pipe or a device
    """
    check_regular(path, "this" if what == "file" else f"the {what}")
    with reading(path, what), open_regular(path) as file:
        yield file


@contextlib.contextmanager
def private_copy(path: Path) -> Iterator[Copy]:
    """Copy a file for the time of the block; only this user can get at the copy.

    :raises UserError: it cannot be read, or there is no space for the copy
    """
    with tempfile.TemporaryDirectory(prefix="mtt-checked-") as folder:
        target = Path(folder) / path.name
        digest = hashlib.sha256()
        with opened(path) as source:
            try:
                with target.open("xb") as copy:
                    while chunk := source.read(_CHUNK):
                        digest.update(chunk)
                        copy.write(chunk)
            except OSError as error:
                raise unwritable(target, error) from error
        yield Copy(target, digest.hexdigest())
