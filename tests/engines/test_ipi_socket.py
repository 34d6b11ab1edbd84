"""A short i-PI run: its own server and client processes, talking through a UNIX socket."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
from toy_models import Embedded, examples, reference

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
STEPS = 20
INPUT = f"""<simulation verbosity='low' threading='false'>
  <output prefix='run'>
    <properties filename='out' stride='1'>
      [ step, potential{{electronvolt}}, conserved{{electronvolt}}, atom_f{{ev/ang}}(0) ]
    </properties>
  </output>
  <total_steps>{STEPS}</total_steps>
  <prng><seed>12345</seed></prng>
  <ffsocket mode='unix' name='driver'><address>ADDRESS</address></ffsocket>
  <system>
    <initialize nbeads='1'>
      <file mode='ase'> init.xyz </file>
      <velocities mode='thermal' units='kelvin'> 300 </velocities>
    </initialize>
    <forces><force forcefield='driver'/></forces>
    <ensemble/>
    <motion mode='dynamics'>
      <dynamics mode='nve'><timestep units='femtosecond'> 0.25 </timestep></dynamics>
    </motion>
  </system>
</simulation>
"""


def script(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def test_ipi_runs_the_exported_model_over_a_socket(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    server, client = script("i-pi"), script("i-pi-py_driver")
    system = next(s for s in examples() if s.name == "cubic")
    atoms = ase.Atoms(system.types, system.positions, cell=system.cell, pbc=True)
    ase.io.write(tmp_path / "init.xyz", atoms)
    address = f"mtt-test-{os.getpid()}"
    socket = Path("/tmp") / f"ipi_{address}"
    (tmp_path / "input.xml").write_text(INPUT.replace("ADDRESS", address))
    options = f"template=init.xyz,model={exported('embedded')}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    common = {"cwd": tmp_path, "env": environment, "stderr": subprocess.STDOUT}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen([server, "input.xml"], stdout=log, **common)
    try:
        _wait_for(socket, process)
        command = [client, "-m", "metatomic", "-u", "-a", address, "-o", options]
        subprocess.run(command, stdout=subprocess.PIPE, timeout=60, **common)
        assert process.wait(timeout=30) == 0, (tmp_path / "server.log").read_text()
    finally:
        process.kill()
        socket.unlink(missing_ok=True)

    rows = np.loadtxt(tmp_path / "run.out")
    assert len(rows) == STEPS + 1
    # Data files keep eight decimals of a position: i-PI starts from what is in the file.
    system.positions = ase.io.read(tmp_path / "init.xyz").positions
    expected = reference(Embedded(dtype=torch.float64), system)
    # i-PI prints nine digits, and its bohr differs from the one its reader takes from ASE.
    assert rows[0, 1] == pytest.approx(expected["energy"].item(), rel=2e-9)
    assert rows[0, 3:6] == pytest.approx(expected["forces"][0].numpy(), rel=1e-5)
    # The atoms moved, and the forces were those of the energy: their sum was conserved.
    assert np.ptp(rows[:, 1]) > 1e-3
    assert np.ptp(rows[:, 2]) < 0.02 * np.ptp(rows[:, 1])


def _wait_for(socket: Path, process: subprocess.Popen) -> None:
    import time

    deadline = time.monotonic() + 60
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("i-PI did not open its socket")
        time.sleep(0.05)
