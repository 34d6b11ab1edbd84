"""A small disk that can be filled: a tmpfs, and a ballast file on it."""

import contextlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NoDisk(Exception):
    """Mounting is not possible here."""


class SmallDisk:
    """The file system mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, chance: random.Random) -> None:
        """Leave nothing, or so little that only small files can be written."""
        with self._ballast.open("ab", buffering=0) as file:
            for chunk in (2**16, 2**12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(chunk))
            if chance.random() < 0.5:
                file.truncate(max(0, file.tell() - chance.randrange(2**17)))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """A tmpfs at ``folder``, for the time of the block.

    :raises NoDisk: where mounting is not allowed (it needs root)
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    try:
        result = subprocess.run(mount, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise NoDisk("there is no mount command here") from None
    if result.returncode != 0:
        raise NoDisk(f"cannot mount a tmpfs here: {result.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], timeout=60, check=True)
