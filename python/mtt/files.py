"""Files that appear under their name only when they are complete, and their hashes."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mtt.errors import UserError

# ".NAME.mtt-" and what mkstemp makes up, and the suffix of NAME.
_TEMPORARY = re.compile(r"\.(.+)\.mtt-[a-z0-9_]{8}(\.[^.]*)?", re.DOTALL)
# Nobody takes so long from making a temporary file to locking it.
_MINUTE = 60.0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside ``path``, which takes its name at the end of the block.

    Yields the path of an empty temporary file in the same folder, with the same suffix. If the
    block raises, the temporary file is removed and whatever was at ``path`` stays as it was.
    Temporary files for ``path`` of processes that were killed are removed first.

    :raises UserError: if the folder is missing or cannot be written to, or the disk is full
    """
    clear_leftovers(path.parent, path.name, _MINUTE)
    try:
        handle, temporary = _make_temporary(path)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def clear_leftovers(folder: Path, name: str | None = None, age: float = 0.0) -> None:
    """Remove temporary files of :func:`replacing` whose process was killed.

    Files in use are locked, which ends with the process that wrote them. What cannot be locked or
    removed stays, without a word: it is in nobody's way.

    :param name: of the file that was to be replaced; any if not given
    :param age: seconds for which they must not have been touched
    """
    try:
        with os.scandir(folder) as entries:
            leftovers = [entry.path for entry in entries if _is_temporary(entry.name, name)]
    except OSError:
        return
    for path in leftovers:
        with contextlib.suppress(OSError):
            _remove_unless_used(path, age)


def _is_temporary(entry: str, name: str | None) -> bool:
    match = _TEMPORARY.fullmatch(entry)
    if match is None or (name is not None and match[1] != name):
        return False
    return Path(match[1]).suffix == (match[2] or "")


def _remove_unless_used(path: str, age: float) -> None:
    # Neither links nor pipes nor what belongs to somebody else: ours are none of these.
    known = os.lstat(path)
    if not stat.S_ISREG(known.st_mode) or known.st_uid != os.geteuid():
        return
    if age and time.time() - known.st_mtime < age:
        return
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(handle)


def _make_temporary(path: Path) -> tuple[int, Path]:
    """An empty file beside ``path``, and the open descriptor whose lock says that it is in use."""
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.mtt-", suffix=path.suffix
    )
    # Not every file system has locks; there, nobody can take leftovers for such.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle, Path(name)


def check_writable(path: Path) -> None:
    """Raise the UserError of :func:`replacing` now, before anything long is computed."""
    if path.is_dir():
        raise UserError("the output is a folder; a file name is needed", where=str(path))
    try:
        handle, temporary = _make_temporary(path)
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(handle)
    temporary.unlink()


def check_keeps(inputs: Iterable[Path], output: Path) -> None:
    """Raise UserError if writing ``output`` would replace one of the files that are read."""
    for path in inputs:
        if path.exists() and output.exists() and path.samefile(output):
            raise UserError(
                f"the output would replace {path}, which is read",
                where=str(output),
                hint="give the output another name",
            )


def unwritable(path: Path, error: OSError) -> UserError:
    """What to tell someone whose file cannot be written."""
    folder = path.parent
    if error.errno == errno.ENOENT:
        return UserError(
            f"the folder '{folder}' does not exist", where=str(path), hint="create it first"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            "the disk is full",
            where=str(path),
            hint="free some space; nothing that was there has been overwritten",
        )
    reason = error.strerror or str(error)
    return UserError(f"the file cannot be written: {reason}", where=str(path))


@contextmanager
def reading(path: Path, what: str = "file", where: str | None = None) -> Iterator[None]:
    """Turn an OSError of the block into the UserError that says why a file cannot be read.

    :param what: what the file is to be: "checkpoint", "public key"
    :param where: what users call the file; its path if None
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"there is no such {what}", where=where or str(path)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"the {what} cannot be read: {reason}", where=where or str(path)) from error


def check_regular(path: Path, what: str = "this") -> None:
    """Refuse folders, pipes and devices, which may be endless; a file that is missing passes.

    :raises UserError: this is not a regular file
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{what} is not a regular file", where=str(path))


def _umask() -> int:
    # There is no way to read it without setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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
