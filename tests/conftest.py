"""Fixtures that need the real thing: a file system that is full, and a run that was really made."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_runs import make_options, verify_one_family
from warm import warm_for_exports

from mtt.export import process
from mtt.options import load_options
from mtt.training import run as train

# Models in tests are small: a second thread only waits for the first, and for other programs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same here: torch has been imported by now, and reads the variable only once.
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
# Shells start background jobs with Ctrl-C ignored, which their children inherit: tests send it for real.
signal.signal(signal.SIGINT, signal.default_int_handler)

EXPORT = """
import sys
sys.path[:] = sys.argv[1:]
from mtt.export import process
process.answer_and_end()
"""
# Folders whose files take longest. The processes of `make test` take whole files in turn: a long one at
# the end would leave the other processes without work.
LONGEST = ("faults", "training", "plugin", "export", "docs", "verify", "options")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of these folders come first, in their order otherwise."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.fixture(scope="session", autouse=True)
def exports_begin_at_once() -> Iterator[None]:
    """Model files are made in forks of a process that has imported torch: see ``warm.py``.

    ``test_same_export.py`` holds that they are the same as of a process that begins from nothing.
    """

    def of_its_own(task: bytes) -> subprocess.CompletedProcess[bytes]:
        done = warm_for_exports().run(EXPORT, [folder for folder in sys.path if folder], given=task)
        os.write(2, done.stderr)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_of_its_own", of_its_own)
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 64 KiB; skipped where mounting is not allowed (it needs root)."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        result = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if result.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {result.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which training has made ``model.ckpt`` and ``model.pt``.

    ``options.yaml`` names the data by a relative path. Nobody may change what is in there. The model
    is verified in one family: all of them take longest, and have tests of their own.
    """
    folder = tmp_path_factory.mktemp("trained")
    make_options(folder, training={"num_epochs": 2})
    options = folder / "options.yaml"
    options.write_text(options.read_text().replace(f"{folder}/", ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        verify_one_family(patch)
        train.run(load_options(Path("options.yaml")))
    return folder
