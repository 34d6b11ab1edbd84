"""The real tools, the real images, and an ordinary user's folder. Run by `make test-images`."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_users import (
    IMAGES,
    NEWEST,
    ROOT,
    USER,
    Mtt,
    apptainer,
    environment,
    skip_where_nothing_is_built,
)

from mtt.images import storage

_GIB = 2**30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder takes the tools, and minutes: `make test` leaves it out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.containers)


@pytest.fixture(scope="session")
def tools() -> Path:
    """A folder with Apptainer; everything else is installed. Skips, with the reason, where it cannot be."""
    if os.geteuid() != 0:
        pytest.skip("the container tools are set up, and images built, by root")
    release = Path("/etc/os-release")
    suite = {image.suite for image in IMAGES.values()}.pop()
    if not release.exists() or f"VERSION_CODENAME={suite}" not in release.read_text():
        pytest.skip(
            f"images are built with the tools of Debian {suite}, and this is another system"
        )
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], check=False)
    if probe.returncode != 0:
        pytest.skip("namespaces are not allowed here: nothing can be built without a network")
    cache = storage.cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    for place in (cache, Path(tempfile.gettempdir())):
        wanted = 4 if (cache / "storage").exists() else 16
        if shutil.disk_usage(place).free < wanted * _GIB:
            pytest.skip(f"images and what they are made of take {wanted} GiB, not free in {place}")
    folder = cache / "tools"
    script = ROOT / "containers" / "setup-tools.sh"
    done = subprocess.run(
        ["bash", str(script), str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"the container tools cannot be set up: {done.stderr.strip()[-300:]}")
    return folder / "bin"


@pytest.fixture(scope="session")
def images_folder() -> Iterator[Path]:
    """Where images are: a folder that every user may look into, as root's home is not."""
    if storage.VARIABLE in os.environ:
        yield storage.images_folder()
        return
    path = Path(tempfile.mkdtemp(prefix="mtt-images-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def mtt(tools: Path, images_folder: Path) -> Mtt:
    """Runs this mtt, with the tools within its reach."""

    def run(*words: str, cwd: Path | None = None, **changes: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "mtt", *words],
            cwd=cwd,
            env=environment(tools, images_folder, **changes),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def images(mtt: Mtt, images_folder: Path) -> Path:
    """The folder of images, with those under test built: their digests are those of the catalogue."""
    # Of several processes of pytest one builds, where that has not been done yet.
    with (storage.cache_folder() / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for tag in IMAGES:
            built = mtt("image", "build", tag, "--sif")
            skip_where_nothing_is_built(built, tag)
            assert built.returncode == 0, built.stderr
            print(built.stdout)
    return images_folder


@pytest.fixture(scope="session")
def apptainer_works(tools: Path, images: Path) -> None:
    """Skips where Apptainer is not allowed to run anything at all."""
    path = Path(tempfile.mkdtemp(prefix="mtt-user-"))
    os.chown(path, USER, USER)
    try:
        sif = f"{IMAGES[NEWEST].stem}.sif"
        command = apptainer(tools, images / sif, program="exec", words=["true"])
        done = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(path)
    if done.returncode != 0:
        pytest.skip(f"Apptainer runs nothing here: {done.stderr.strip()}")


@pytest.fixture
def folder(apptainer_works: None) -> Iterator[Path]:
    """An empty folder of an ordinary user, where others may look in."""
    path = Path(tempfile.mkdtemp(prefix="mtt-user-"))
    path.chmod(0o755)
    os.chown(path, USER, USER)
    yield path
    shutil.rmtree(path)
