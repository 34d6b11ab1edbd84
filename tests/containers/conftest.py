"""The real tools, the real images, and an ordinary user's folder. Run by `make test-images`."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_users import ROOT, USER, Mtt

from mtt.images import places


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
    if shutil.which("apt-get") is None:
        pytest.skip("the container tools are set up from Debian's packages: there is no apt-get")
    folder = places.cache_folder() / "tools"
    script = ROOT / "containers" / "setup-tools.sh"
    done = subprocess.run(
        ["bash", str(script), str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"the container tools cannot be set up: {done.stderr.strip()[-300:]}")
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("namespaces are not allowed here: nothing can be built without a network")
    return folder / "bin"


@pytest.fixture(scope="session")
def mtt(tools: Path) -> Mtt:
    """Runs this mtt, with the tools within its reach."""

    def run(*words: str, cwd: Path | None = None, **changes: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", **changes}
        return subprocess.run(
            [sys.executable, "-m", "mtt", *words],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def images(mtt: Mtt) -> Path:
    """The folder of images, with all of the catalogue built, as ``.sif`` files too."""
    for tag in ("pet@1", "mtt-verify@1"):
        built = mtt("image", "build", tag, "--sif")
        assert built.returncode == 0, built.stderr
        print(built.stdout)
    return places.images_folder()


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder of an ordinary user, where others may look in."""
    path = Path(tempfile.mkdtemp(prefix="mtt-user-"))
    path.chmod(0o755)
    os.chown(path, USER, USER)
    yield path
    shutil.rmtree(path)
