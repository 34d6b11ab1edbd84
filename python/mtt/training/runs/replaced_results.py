"""The files that a run ends with in the user's folder, and what it replaces there."""

from collections.abc import Callable
from pathlib import Path

_Identity = tuple[int, int, int]


class Results:
    """What had the names of the results when the run began: taken then, told when it is replaced.

    :param output: the model file; the checkpoint is beside it
    """

    def __init__(self, output: Path) -> None:
        self._before = {path: _identity(path) for path in (output, output.with_suffix(".ckpt"))}
        self._written: dict[Path, _Identity | None] = {}

    def written(self, path: Path) -> None:
        """Remember what is there now as what this run has written."""
        self._written[path] = _identity(path)

    def is_ours(self, path: Path) -> bool:
        """Return whether this run has written what is there."""
        return path in self._written and _identity(path) == self._written[path]

    def replace(self, path: Path, say: Callable[[str], None]) -> None:
        """Say what is replaced by ``path``, just before it is."""
        now = _identity(path)
        if now is None or self.is_ours(path):
            return
        if now == self._before.get(path):
            say(f"{path} of an earlier run is replaced")
        else:
            say(
                f"warning: another run has written {path} since this one began, and it is replaced; "
                "each run keeps its own results in its folder under outputs/ "
                "(name others with --output)"
            )


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
