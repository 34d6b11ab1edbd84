"""Writing files so that a crash or a full disk leaves the old one or the new one, whole; and their hashes."""

import hashlib
import os
from pathlib import Path

from .report.files import replacing


def write_atomic(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: sibling temporary file, fsync, rename, fsync of the folder.

    Whatever was at ``path`` stays untouched until the new content is safely on the disk.

    :raises UserError: if the folder is missing or cannot be written to, or the disk is full
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within ``folder`` survive a power cut, where the file system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # some network file systems let nobody open a folder
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # and some cannot sync one: the rename itself has been done
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    :raises OSError: it cannot be read
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
