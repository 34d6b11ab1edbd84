"""The one place where files of the user are opened, and where files are written.

Only regular files are read. Files that are written appear under their name when they are complete.
docs/reference/inputs-and-outputs.md says it to users.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mtt.errors import UserError

# ".NAME.mtt-" and what mkstemp makes up, and the suffix of NAME.
_TEMPORARY = re.compile(r"\.(.+)\.mtt-[a-z0-9_]{8}(\.[^.]*)?", re.DOTALL)
# Nobody takes so long from making a temporary file to locking it.
_MINUTE = 60.0
# Links that lead to links: more than the kernel follows.
_MOST_LINKS: Final = 41
_DESCRIPTOR: Final = re.compile(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/([0-9]{1,9})")
_STANDARD: Final = {"stdout": 1, "stderr": 2}
# Of a model file that is read into memory; those of metatrain's largest models are below 1 GB.
LARGEST_MODEL: Final = 16 * 2**30
# Of a text that is read whole: a record, a statement, an index.
LARGEST_TEXT: Final = 32 * 2**20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside ``path``, which takes its name at the end of the block.

    Yields the path of an empty temporary file in the same folder, with the same suffix. If the
    block raises, the temporary file is removed and whatever was at ``path`` stays as it was.
    Temporary files for ``path`` of processes that were killed are removed first.

    Of a link, the file that it leads to is replaced, and the link stays. A device, a pipe that
    somebody reads and a descriptor of this process (``/dev/stdout``) are written to, at the end of the
    block; nothing replaces them.

    :raises UserError: if the folder is missing or cannot be written to, the disk is full, or ``path``
        is something that no file can take the place of
    """
    try:
        target = _target(path)
    except OSError as error:
        raise unwritable(path, error) from error
    if target is None:
        with _passed_on(path) as temporary:
            yield temporary
        return
    clear_leftovers(target.parent, target.name, _MINUTE)
    try:
        handle, temporary = _make_temporary(target)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _target(path: Path) -> Path | None:
    """Return the file to replace, behind all links; None for what is written to as it is.

    :raises UserError: it is a folder, a socket, a disk, or a file that the kernel makes up
    :raises OSError: links that lead in a circle, or a folder that nobody may look into
    """
    if _descriptor(path) is not None:
        return None
    try:
        status = path.stat()
    except FileNotFoundError:
        # A link to a file that is not there yet is followed as well.
        return Path(os.path.realpath(path)) if path.is_symlink() else path
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no file has such a name: {error}", str(path)) from error
    if stat.S_ISREG(status.st_mode) and not _made_up(status):
        return Path(os.path.realpath(path)) if path.is_symlink() else path
    if stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode):
        return None
    if stat.S_ISDIR(status.st_mode):
        raise UserError("the output is a folder; a file name is needed", where=str(path))
    raise UserError(
        f"no file can be written here: this is {_kind(status)}",
        where=str(path),
        hint="give the name of a file, of a pipe that is read, or /dev/stdout",
    )


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path is another name of."""
    for _ in range(_MOST_LINKS):
        match = _DESCRIPTOR.fullmatch(os.path.abspath(path))
        if match is not None:
            return _STANDARD.get(match[1]) if match[1] else int(match[2])
        try:
            path = path.parent / os.readlink(path)
        except (OSError, ValueError):
            return None
    return None


@contextmanager
def _passed_on(path: Path) -> Iterator[Path]:
    """Yield an empty file, whose content goes to a device, a pipe or a descriptor at the end."""
    with tempfile.TemporaryDirectory(prefix="mtt-") as folder:
        temporary = Path(folder) / f"output{path.suffix}"
        temporary.touch()
        yield temporary
        try:
            with temporary.open("rb") as content, _stream_to(path) as stream:
                shutil.copyfileobj(content, stream)
        except BrokenPipeError:
            pass  # whoever read it has seen enough
        except OSError as error:
            raise unwritable(path, error) from error


def _stream_to(path: Path) -> BinaryIO:
    descriptor = _descriptor(path)
    if descriptor is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # what was printed before comes before it
        return os.fdopen(os.dup(descriptor), "wb")
    # A pipe that nobody reads must not make us wait for ever.
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(handle, True)
    return os.fdopen(handle, "wb")


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
    try:
        target = _target(path)
        if target is None:
            _check_stream(path)
            return
        handle, temporary = _make_temporary(target)
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(handle)
    temporary.unlink()


def _check_stream(path: Path) -> None:
    # Not opened: whoever reads a pipe would take the first one who writes for the only one.
    descriptor = _descriptor(path)
    if descriptor is not None:
        os.fstat(descriptor)
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


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
    if error.errno == errno.ENXIO:
        return UserError(
            "nobody reads this pipe", where=str(path), hint="start the program that reads it first"
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

    For programs and libraries that open a path by themselves; others use :func:`open_regular`.

    :raises UserError: this is not a regular file
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return  # whoever opens it is told why that is not possible
    if not stat.S_ISREG(status.st_mode) or _made_up(status):
        raise UserError(f"{what} is not a regular file: it is {_kind(status)}", where=str(path))


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file to read it; nothing of the user's is opened in any other way.

    A pipe would make us wait for whoever writes it, a device or a file of ``/proc`` may have no end.

    :raises OSError: it cannot be opened, or is not a regular file
    """
    try:
        _require_regular(os.stat(path), path)  # opening some devices does something already
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no file has such a name: {error}", str(path)) from error
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _require_regular(os.fstat(handle), path)  # it may be another one by now
    except OSError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def _require_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode) or _made_up(status):
        raise OSError(errno.EINVAL, f"it is {_kind(status)}, not a regular file", str(path))


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file.

    :raises OSError: it cannot be read, is not a regular file, or is larger than ``limit`` bytes
    """
    with open_regular(path) as file:
        content = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", str(path))
    return content


def _made_up(status: os.stat_result) -> bool:
    """Return whether the kernel makes up what is in a file: sizes mean nothing there."""
    return status.st_dev in _kernel_devices()


@functools.cache
def _kernel_devices() -> frozenset[int]:
    devices = set()
    for folder in ("/proc", "/sys"):
        with contextlib.suppress(OSError):
            device = os.stat(folder).st_dev
            if device != os.stat("/").st_dev:
                devices.add(device)
    return frozenset(devices)


def _kind(status: os.stat_result) -> str:
    """Return what a file is that is no regular one."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a disk"),
    )
    made_up = "a file that the kernel makes up"
    return next((name for test, name in kinds if test(status.st_mode)), made_up)


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
    sync_folder(Path(os.path.realpath(path)).parent)


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

    :raises OSError: it cannot be read, or is not a regular file
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
