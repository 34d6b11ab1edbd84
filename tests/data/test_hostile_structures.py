"""Structures that were made to harm: one message, within seconds and bounded memory, and no crash."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_structures import FILES, frame

from mtt.data import file_limits
from mtt.data.neighbors import neighbor_list
from mtt.data.read_files import read_plain
from mtt.data.structure import Structure
from mtt.errors import UserError

MEMORY = 3 * 2**30
# In a process of its own: what goes wrong here ends it, or takes all memory.
PROGRAM = f"""
import json, resource, sys, time
from pathlib import Path
from mtt.data.neighbors import neighbor_list
from mtt.data.read_files import read_plain
from mtt.errors import UserError
# Above what the libraries of torch take, which is tens of GB of addresses for some builds of it.
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + {MEMORY}, taken + {MEMORY}))
for path in map(Path, sys.argv[1:]):
    began, message = time.monotonic(), ""
    print(json.dumps(["begins", path.name, "", 0]), flush=True)
    try:
        for structure in read_plain(path):
            for cutoff in (3.5, 0.5):
                neighbor_list(structure, cutoff)
    except UserError as error:
        message = str(error)
    print(json.dumps(["ends", path.name, message, time.monotonic() - began]), flush=True)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    """What was said of each file, and the seconds until then."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (content, _) in FILES.items():
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(raw)
    paths = [str(folder / name) for name in FILES]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    assert not (folder / "executed").exists()
    return {name: (said, seconds) for kind, name, said, seconds in lines if kind == "ends"}


@pytest.mark.parametrize("name", FILES)
def test_one_message_within_seconds(ended: dict[str, tuple[str, float]], name: str) -> None:
    message, seconds = ended[name]
    expected = FILES[name][1]
    assert message if expected else True
    assert expected in message
    assert seconds < 10
    assert len(message) < 5000
    assert name in message or not message


def test_honest_files_that_are_large_or_packed(tmp_path: Path) -> None:
    path = tmp_path / "data.xyz.gz"
    path.write_bytes(gzip.compress(frame().encode() * 2_000))
    assert len(read_plain(path)) == 2_000


def test_memory_is_bounded_while_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    path = tmp_path / "a.xyz"
    path.write_text(frame())
    monkeypatch.setattr(file_limits, "MEMORY", 2**28)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with (
        pytest.raises(UserError, match="takes more memory to read"),
        file_limits.within_limits(path),
    ):
        np.ones(2**28)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def _structure(positions: list[list[float]], cell: float = 0.0, pbc: bool = False) -> Structure:
    count = len(positions)
    return Structure(
        np.ones(count, np.int32),
        np.array(positions, np.float64),
        np.diag([cell] * 3),
        np.array([pbc] * 3),
    )


@pytest.mark.parametrize(
    ("structure", "cutoff"),
    [
        (_structure([[0, 0, 0], [1e300, 0, 0]]), 3.5),
        (_structure([[0, 0, 0], [1, 0, 0]]), 1e300),
        (_structure([[0, 0, 0], [1, 0, 0]]), 1e-300),
        (_structure([[0, 0, 0], [1, 0, 0]]), float("nan")),
        (_structure([[0, 0, 0]], 1e7, True), 3.5),
        (_structure([[0, 0, 0]], 1e-3, True), 3.5),
    ],
)
def test_no_list_is_begun_that_cannot_be_made(structure: Structure, cutoff: float) -> None:
    """Structures also come out of checkpoints, where nobody has read them from a file."""
    with pytest.raises(UserError):
        neighbor_list(structure, cutoff)


LONG = """
import itertools
import numpy as np
from mtt.data.neighbors import neighbor_list
from mtt.data.structure import Structure
sizes = [(1e3, 1, 1), (1.3e3, 1.3e3, 1)]
periodic = [(0, 0, 0), (1, 1, 1), (1, 1, 0), (1, 0, 0)]
for size, pbc in itertools.product(np.array(sizes), np.array(periodic, bool)):
    cell = np.diag(np.maximum(size, 12.0)) * pbc[:, None]
    positions = np.array([[0, 0, 0], [1.2, 0, 0], size - 10.0 * (size > 12)])
    structure = Structure(np.ones(3, np.int32), positions, cell, pbc)
    print(len(neighbor_list(structure, 3.5).centers), flush=True)
"""


def test_long_and_thin_structures() -> None:
    """vesin divides by zero in those of some hundred cutoffs, such as sheets and chains."""
    words = [sys.executable, "-c", LONG]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["2"] * 8), done.stderr
