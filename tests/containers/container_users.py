"""What the tests of this folder share."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mtt import checkpoint
from mtt.images import catalogue, storage

ROOT = Path(__file__).parents[2]
ETHANOL = ROOT / "docs" / "examples" / "ethanol"
GOLDEN = ROOT / "tests" / "golden" / "checkpoints"
OLDEST = "pet@1"
# All architectures as they are in the newest image. It has the layers of the others, and one more.
NEWEST = "mtt@2"
VERIFIER = "mtt-verify@3"
# Each of a commit of its own takes minutes to compile. Those between are built when they are asked for, and those
# for GPUs, which take gigabytes, by hand.
ASKED = os.environ.get("MTT_TEST_IMAGES", "")
if ASKED not in ("", "all"):
    raise ValueError(f"IMAGES={ASKED}: write IMAGES=all, or leave it out")
ALL = ASKED == "all"
IMAGES = {
    image.tag: image
    for image in catalogue.load()
    if image.lane == "cpu" and (ALL or image.tag in (OLDEST, NEWEST, VERIFIER))
}
USER = 1000
# What a place says that builds nothing, by no fault of ours: no packages, no history, no disk, no rights.
_NOT_HERE = (
    "apt finds no source for the Debian packages",
    "is not the one that was locked",
    "fetching Debian packages failed",
    "fetching wheels failed",
    "are not in this clone",
    "no space left on",
    "not permitted",
    "ermission denied",
    "overlay",
    "namespace",
)
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


def train_until(train: Sequence[str], folder: Path, epoch: int, number: signal.Signals) -> None:
    """Train until there is the checkpoint of an epoch, and end everything in the image by a signal."""
    with subprocess.Popen(
        train, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    ) as process:
        while process.poll() is None and not checkpoints(folder, epoch):
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, number)
        output, _ = process.communicate()
    assert checkpoints(folder, epoch), output.decode()


def checkpoints(folder: Path, epoch: int) -> list[Path]:
    """All that runs in a folder have written of an epoch."""
    return sorted(folder.glob(f"outputs/*/*/model_{epoch}.ckpt"))


def assert_same_weights(one: Path, other: Path) -> None:
    """Compare the tensors of two checkpoints bit for bit."""
    _, here = checkpoint.read(one)
    _, there = checkpoint.read(other)
    assert here.keys() == there.keys()
    for name, tensor in here.items():
        assert tensor.numpy().tobytes() == there[name].numpy().tobytes(), name


def skip_where_nothing_is_built(done: subprocess.CompletedProcess[str], tag: str) -> None:
    """Skip, with the reason, if a build has failed by no fault of ours."""
    for reason in _NOT_HERE:
        if done.returncode == 2 and reason in done.stderr:
            pytest.skip(f"{tag} cannot be built here: {done.stderr}")
