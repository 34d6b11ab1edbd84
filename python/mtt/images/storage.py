"""Where images are, and where their building keeps what it has fetched."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mtt.errors import UserError

VARIABLE = "MTT_IMAGES"


def images_folder() -> Path:
    """The folder of images: ``MTT_IMAGES``, or ``mtt/images`` among the user's data."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data).absolute() / "mtt" / "images"


def cache_folder() -> Path:
    """What a build can fetch or make again: Debian packages, wheels, layers."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).absolute() / "mtt" / "images"


def state_folder() -> Path:
    """What mtt writes down for itself, and nobody else may write."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state).absolute() / "mtt"


@contextlib.contextmanager
def building(cache: Path) -> Iterator[None]:
    """Only one build at a time uses the cache.

    :raises UserError: another one does
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                "another image is being built", where=str(cache), hint="wait until it is done"
            ) from None
        yield
