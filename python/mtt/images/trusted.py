"""Which ``.sif`` files this user takes for which images: known by their content, in a file of the user's own.

The bytes of a ``.sif`` differ from build to build, so nobody else can say which are right. mtt writes
down those that it has made of a checked image, and those that the user vouches for. What lies beside a
``.sif`` says nothing: whoever hands out the one hands out the other.
"""

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mtt.canonical import strict_json
from mtt.errors import UserError
from mtt.files import unwritable
from mtt.images import storage

FORMAT: Final = 1
_LARGEST: Final = 2**24


def record_path() -> Path:
    """Where the record is: among the state of this user's programs, not among the images."""
    return storage.state_folder() / "images.json"


def image_of(sha256: str) -> str | None:
    """Return the manifest digest of the image that a ``.sif`` with this hash was made of, if known.

    :raises UserError: somebody else can write the record
    """
    manifest = _read(record_path()).get(sha256)
    return manifest if isinstance(manifest, str) else None


def add(sha256: str, manifest: str) -> None:
    """Write down that a ``.sif`` with this hash is the image with this manifest digest.

    :raises UserError: the record cannot be written, or somebody else can write it
    """
    path = record_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.parent):
            known = {**_read(path), sha256: manifest}
            content = {"format": FORMAT, "sif": dict(sorted(known.items()))}
            _replace(path, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise unwritable(path, error) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return {}  # who cannot look into it trusts nothing in it
    except OSError as error:
        raise _distrusted(path, error.strerror or "it cannot be read") from error
    with os.fdopen(handle, "rb") as file:
        known = os.fstat(handle)
        if not stat.S_ISREG(known.st_mode):
            raise _distrusted(path, "it is not a regular file")
        if known.st_uid not in (os.geteuid(), 0) or known.st_mode & 0o022:
            raise _distrusted(path, "somebody else can write it")
        content = file.read(_LARGEST)
    try:
        record = strict_json(content)
        if record["format"] != FORMAT or not isinstance(record["sif"], dict):
            raise ValueError("it is of another format")
        return dict(record["sif"])
    except (ValueError, KeyError, TypeError) as error:
        raise _distrusted(path, f"it is damaged: {error}") from error


def _distrusted(path: Path, why: str) -> UserError:
    return UserError(
        f"the record of images that you trust cannot be used: {why}",
        where=str(path),
        hint="look at it, move it away, and make it again: mtt image pull, build or trust",
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two builds that end at once must both be written down."""
    handle = os.open(
        folder / "images.lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, content: bytes) -> None:
    """Put a file in its place at once, which only its owner can read, whatever the umask."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".images.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
