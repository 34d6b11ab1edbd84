"""What was downloaded, by its hash: ``content/SHA256/NAME``, and which address gave what.

A file is here under its name only when all of it is. What is on its way is in ``partial/``, locked by
the process that writes it, and stays there to be resumed.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mtt.canonical import parse_json
from mtt.errors import UserError
from mtt.files import (
    LARGEST_TEXT,
    open_regular,
    read_regular,
    sha256_of,
    sync_folder,
    write_atomic,
)

_MONTH: Final = 30 * 24 * 3600.0


def root() -> Path:
    """The folder of everything that is kept: MTT_CACHE, else ``mtt`` in the user's cache folder."""
    if os.environ.get("MTT_CACHE"):
        return Path(os.environ["MTT_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mtt"


@dataclass(frozen=True)
class Known:
    """What an address gave when it was last asked."""

    name: str
    sha256: str
    etag: str | None = None
    modified: str | None = None


@dataclass
class Partial:
    """A file on its way: how much is there says its size, what it is part of the rest."""

    path: Path
    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def have(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        """What a server can tell the same content by; a weak tag does not promise the same bytes."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    @property
    def worth(self) -> int:
        """Bytes that can be resumed: none if nobody can tell what they are of."""
        return self.have if self.validator else 0

    def begin(self, etag: str | None, modified: str | None, total: int | None) -> None:
        """Forget what is there: the server sends something from its beginning."""
        self.path.unlink(missing_ok=True)
        self.path.touch()
        self.etag, self.modified, self.total = etag, modified, total
        notes = {"etag": etag, "modified": modified, "total": total}
        write_atomic(self._notes, json.dumps(notes).encode())

    def remember(self) -> None:
        """Take up what an earlier process left, if it can be told to be of the same content."""
        if self.path.exists() and not self.path.is_file():
            self.path.unlink()
        notes = _json(self._notes)
        self.etag, self.modified, self.total = (
            notes.get(key) for key in ("etag", "modified", "total")
        )
        if self.validator is None:
            self.discard()

    def discard(self) -> None:
        """Remove what is there."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self.etag = self.modified = self.total = None

    @property
    def _notes(self) -> Path:
        return self.path.with_suffix(".json")


class Cache:
    """The folder; nothing is made in it before there is something to put."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = root() if folder is None else folder

    def content(self, sha256: str, name: str) -> Path | None:
        """The file of this hash, under this name if it can be; None if there is none, or it is damaged."""
        wanted = self.folder / "content" / sha256 / name
        if _is(wanted, sha256):
            return wanted
        with contextlib.suppress(OSError):
            for other in sorted(wanted.parent.iterdir()):
                if other != wanted and _is(other, sha256):
                    with contextlib.suppress(OSError):
                        wanted.unlink(missing_ok=True)
                        os.link(other, wanted)
                        return wanted
                    return other
        return None

    def known(self, url: str) -> tuple[Known, Path] | None:
        """What an address gave, and the file, if it is still here."""
        notes = _json(self._address(url))
        name, sha256 = notes.get("name"), notes.get("sha256")
        if not isinstance(name, str) or not isinstance(sha256, str):
            return None
        known = Known(name, sha256, notes.get("etag"), notes.get("modified"))
        path = self.content(known.sha256, known.name)
        return None if path is None else (known, path)

    def keep(self, url: str, partial: Partial, name: str) -> Path:
        """Give a complete file its name, and remember which address it is from."""
        with self.writing():
            with open_regular(partial.path) as file:
                os.fsync(file.fileno())
            sha256 = sha256_of(partial.path)
            target = self.folder / "content" / sha256 / name
            target.parent.mkdir(parents=True, exist_ok=True)
            known = Known(name, sha256, partial.etag, partial.modified)
            partial.path.replace(target)
            sync_folder(target.parent)
            partial.discard()
            self._address(url).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._address(url), json.dumps(asdict(known)).encode())
        return target

    @contextlib.contextmanager
    def partial(self, url: str) -> Iterator[Partial]:
        """What is there of a file on its way, for this process alone; waits for another one."""
        folder = self.folder / "partial"
        with self.writing():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _clear(folder)
            lock = os.open(
                folder / f"{_key(url)}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
            )
        try:
            locked = _lock(lock)
            # Without locks nobody may share, and so nothing can be resumed later.
            name = _key(url) if locked else f"{_key(url)}-{os.getpid()}"
            partial = Partial(folder / f"{name}.part")
            with self.writing():
                partial.remember()
            yield partial
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Errors of the file system in words, with the way out."""
        try:
            yield
        except OSError as error:
            hint = "name another folder in the environment variable MTT_CACHE"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = f"free some space, or {hint}"
            reason = error.strerror or str(error)
            raise UserError(
                f"the folder of downloads cannot be written: {reason}", str(self.folder), hint
            ) from error

    def _address(self, url: str) -> Path:
        return self.folder / "addresses" / f"{_key(url)}.json"


def _key(url: str) -> str:
    """A name for an address that tells nothing: there may be secrets in it."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def _is(path: Path, sha256: str) -> bool:
    try:
        return path.is_file() and sha256_of(path) == sha256
    except OSError:
        return False


def _json(path: Path) -> dict[str, Any]:
    try:
        parsed = parse_json(read_regular(path, LARGEST_TEXT))
    except (OSError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _lock(descriptor: int) -> bool:
    """Wait until nobody else has the lock; False where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another mtt, which downloads the same file", file=sys.stderr)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _clear(folder: Path) -> None:
    """Remove what nobody resumed for a month."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > _MONTH:
                path.unlink()
