"""One process trains in one folder: a lock that ends with the process, however that ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from mtt.errors import UserError
from mtt.files import check_regular, unwritable
from mtt.training.runs.folder import LOG


class FolderLock:
    """A lock on the folder of a run, let go at the end of the ``with`` block.

    Python's files are closed in programs that it starts, so the lock is never inherited.
    """

    def __init__(self) -> None:
        self._handle: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def take(self, folder: Path) -> None:
        """Lock ``folder``; where the file system has no locks, do without.

        :raises UserError: another process has it, or the folder cannot be used
        """
        log = folder / LOG
        # Some network file systems lock only what is open for writing. Elsewhere it is not, because
        # a disk with such files could not become read-only.
        for flags in (os.O_RDONLY, os.O_RDWR):
            try:
                check_regular(log, "the log of the run")
                handle = os.open(log, flags | os.O_CREAT | os.O_NONBLOCK, 0o666)
            except OSError as error:
                raise unwritable(log, error) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                raise _taken(folder) from None
            except OSError:
                os.close(handle)
            else:
                self._handle = handle
                return

    def release(self) -> None:
        """Let go of the lock, if there is one."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _taken(folder: Path) -> UserError:
    owner = _owner(folder / LOG)
    return UserError(
        "another process trains in the folder of this run",
        where=str(folder) if owner is None else f"{folder} (process {owner})",
        hint="wait until it has ended, or stop it: it saves first, and can then be resumed",
    )


def _owner(path: Path) -> int | None:
    """The process that has locked a file, if it is one of this machine."""
    try:
        inode = path.stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
        for fields in (line.split() for line in locks):
            # 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF
            if fields[1] == "FLOCK" and fields[5].split(":")[2] == str(inode):
                return int(fields[4]) or None
    except (OSError, ValueError, IndexError):
        pass
    return None
