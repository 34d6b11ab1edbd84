"""What the tests of this folder share."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
USER = 1000
Mtt = Callable[..., subprocess.CompletedProcess[str]]


def give(folder: Path, *paths: Path) -> None:
    """Copy files into the user's folder."""
    for path in paths:
        shutil.copyfile(path, folder / path.name)
        os.chown(folder / path.name, USER, USER)
