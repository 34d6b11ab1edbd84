"""A place where nobody else can change what was checked before it runs."""

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from mtt.errors import UserError
from mtt.files import sha256_of, unwritable
from mtt.images import storage

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def only_ours(path: Path) -> bool:
    """Whether nobody but this user and root can change or replace a file, or what is in a folder."""
    try:
        place = path.resolve(strict=True)
        if not all(_ours(folder, inside=True) for folder in place.parents):
            return False
        inner = [
            Path(folder) / name for folder, _, names in os.walk(place) for name in [".", *names]
        ]
        return _ours(place) and all(_ours(entry) for entry in inner)
    except OSError:
        return False


def _ours(path: Path, inside: bool = False) -> bool:
    """Whether nobody else can write here; for ``inside``, nobody can replace what is ours in here."""
    known = path.lstat()
    if known.st_uid not in (os.geteuid(), 0) or stat.S_ISLNK(known.st_mode):
        return False
    sticky = inside and bool(known.st_mode & stat.S_ISVTX)
    return sticky or not known.st_mode & _OTHERS_WRITE


def own_copy(path: Path, name: str) -> Path:
    """Copy a file or a folder to where only this user can write, once; ``name`` is of its content.

    What comes back must still be checked: the copy may be of what was swapped in meanwhile.

    :raises UserError: it cannot be copied
    """
    place = storage.cache_folder() / "checked" / name
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = place.resolve()
        if not only_ours(place.parent):
            raise UserError(
                "the folder for checked images can be written by others",
                where=str(place.parent),
                hint="let it be yours alone (chmod go-w), or name another in XDG_CACHE_HOME",
            )
        if not (place / path.name).exists():
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=".copying-") as folder:
                made = Path(folder) / "made"
                made.mkdir(mode=0o700)
                copy = shutil.copytree if path.is_dir() else shutil.copyfile
                copy(path, made / path.name)
                for top, folders, files in os.walk(made):
                    for entry in (*folders, *files):
                        (Path(top) / entry).chmod(0o700 if entry in folders else 0o600)
                shutil.rmtree(place, ignore_errors=True)
                made.rename(place)
    except OSError as error:
        raise unwritable(place, error) from error
    return place / path.name


def sha256_once(path: Path) -> str:
    """SHA-256 of a regular file, opened once.

    :raises UserError: it cannot be read, or is a pipe or a device
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise UserError(f"the image cannot be read: {error.strerror}", where=str(path)) from error
