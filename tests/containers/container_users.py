"""What the tests of this folder share."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from mtt.images import catalogue, storage

ROOT = Path(__file__).parents[2]
ETHANOL = ROOT / "docs" / "examples" / "ethanol"
GOLDEN = ROOT / "tests" / "golden" / "checkpoints"
# Those for GPUs take gigabytes: they are built by hand.
IMAGES = {image.tag: image for image in catalogue.load() if image.lane == "cpu"}
USER = 1000
Mtt = Callable[..., subprocess.CompletedProcess[str]]


def give(folder: Path, *paths: Path) -> None:
    """Copy files into the user's folder."""
    for path in paths:
        shutil.copyfile(path, folder / path.name)
        os.chown(folder / path.name, USER, USER)


def apptainer(
    tools: Path, sif: Path, words: Sequence[str], program: str = "run", **environment: str
) -> list[str]:
    """Its command line; it runs as the owner of the folder, with the home that is named or none."""
    changes = {"HOME": "/nonexistent", "OMP_NUM_THREADS": "1"} | environment
    given = [f"{name}={value}" for name, value in changes.items()]
    return ["env", *given, str(tools / "apptainer"), "-q", program, str(sif), *words]


def environment(tools: Path, images: Path, **changes: str) -> dict[str, str]:
    """Of an mtt that has the tools and the images within its reach."""
    path = f"{tools}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, storage.VARIABLE: str(images), **changes}


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, to its end."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
