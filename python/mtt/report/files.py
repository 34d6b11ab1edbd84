"""Files that appear under their name only when they are complete."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside ``path``, which takes its name at the end of the block.

    Yields the path of an empty temporary file in the same folder, with the same suffix. If the
    block raises, the temporary file is removed and whatever was at ``path`` stays as it was.

    :raises UserError: if the folder is missing or cannot be written to, or the disk is full
    """
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
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


def check_writable(path: Path) -> None:
    """Raise the UserError of :func:`replacing` now, before anything long is computed."""
    if path.is_dir():
        raise UserError("the output is a folder; a file name is needed", where=str(path))
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(handle)
    Path(name).unlink()


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


def _umask() -> int:
    # There is no way to read it without setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
