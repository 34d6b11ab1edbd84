"""The alloy from data to engines, as ``tests/benchmarks/each_architecture.py`` has it for each architecture."""

from pathlib import Path

import pytest
from each_architecture import made

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.* is written without verification:UserWarning"),
    # The calculator of ASE asks for them, and so short a training leaves them large.
    pytest.mark.filterwarnings("ignore:Some of the atomic energy uncertainties:UserWarning"),
]


def test_killed_it_ends_with_the_same_files_for_engines(tmp_path: Path) -> None:
    """Bits of the checkpoint, bytes of the export, and what ASE and i-PI get of it."""
    cell = made("soap_bpnn, ensemble", "alloy", tmp_path, verified=False, epochs=4)
    assert cell.faults == []
    assert len(cell.killed_at) == 1 and cell.tensors > 0 and cell.same_exports
    # As far as float32 goes, of the energy, the largest force and the largest component of the virial.
    assert cell.ase < 1e-4 and cell.ipi < 1e-4
