"""How fast a device is: figures that are printed, and no limit to any of them.

On a GPU, nothing of this has been run yet.
"""

import statistics
import time
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from metatomic.torch import ModelOutput, System
from small_runs import make_options, write_data

from mtt.architectures.kernels import kernels
from mtt.architectures.metatomic_systems import add_neighbor_list
from mtt.data.batch import batches
from mtt.data.grouping import by_number
from mtt.data.structure import Structure
from mtt.training.loop import reproducible
from mtt.training.prepare import Run, prepare

_BATCH = 10


@pytest.fixture(scope="module")
def run(device: torch.device, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Default PET, before its first step."""
    folder = tmp_path_factory.mktemp("throughput")
    write_data(folder / "data.xyz", n=50)
    architecture = {"name": "pet", "training": {"batch_size": _BATCH}}
    options = make_options(folder, device=str(device), architecture=architecture)
    return prepare(options, None, folder / "model.pt", lambda line: None)


def waited(device: torch.device) -> float:
    """The time when all that was asked of the device is done, in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def test_steps_of_training(run: Run, device: torch.device, capsys: Any) -> None:
    problem, state = run.problem, run.state
    core, loss = state.model.core.train(), problem.loss()
    times = []
    order = np.arange(len(problem.train))[: 3 * _BATCH]
    with reproducible(device), kernels(device, problem.dtype):
        for _ in range(2):
            for batch in batches(problem.train, by_number(order, _BATCH), problem.dtype, device):
                start = waited(device)
                state.optimizer.zero_grad()
                total = loss(loss.errors(core, batch, training=True), batch)
                total.backward()
                state.optimizer.step()
                times.append(waited(device) - start)
    assert bool(torch.isfinite(total))
    with capsys.disabled():
        rate = _BATCH / statistics.median(times[2:])
        print(f"\n{device}: training, default PET, {rate:.0f} structures/s in batches of {_BATCH}")


@pytest.mark.parametrize("repeats", [2, 4, 10])
def test_calls_of_an_export(run: Run, device: torch.device, repeats: int, capsys: Any) -> None:
    if device.type == "cpu" and repeats > 2:
        pytest.skip("larger systems take a GPU")
    atoms = bulk("Cu", cubic=True) * (repeats, repeats, repeats)
    structure = Structure(
        types=atoms.numbers,
        positions=atoms.positions,
        cell=np.array(atoms.cell),
        pbc=np.array(atoms.pbc),
    )
    potential = run.state.model.eval().by_chunks().requires_grad_(False)
    model: Any = torch.jit.script(potential)
    outputs = {"energy": ModelOutput(unit="eV", sample_kind="system")}
    times = []
    for _ in range(5):
        system = System(
            types=torch.tensor(structure.types, dtype=torch.int32, device=device),
            positions=torch.tensor(
                structure.positions, dtype=torch.float32, device=device, requires_grad=True
            ),
            cell=torch.tensor(structure.cell, dtype=torch.float32, device=device),
            pbc=torch.tensor(structure.pbc, device=device),
        )
        for request in potential.requested_neighbor_lists():
            add_neighbor_list(system, structure, request)
        start = waited(device)
        energy = model([system], outputs, None)["energy"].block(0).values.sum()
        (slope,) = torch.autograd.grad(energy, system.positions)
        times.append(waited(device) - start)
    assert bool(torch.isfinite(slope).all())
    with capsys.disabled():
        took = statistics.median(times[2:])
        print(
            f"\n{device}: energy and forces of {len(atoms)} atoms, default PET, {1e3 * took:.1f} ms"
        )
