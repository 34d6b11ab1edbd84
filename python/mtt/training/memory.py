"""How much memory a run will take, from what one structure takes: told before the first step."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from mtt.architectures.graph_model import GraphModel
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.same_units import in_angstrom
from mtt.evaluation.cost import peak_memory
from mtt.report.wording import size
from mtt.training import control_group
from mtt.training.loop import Problem, reproducible

# Bytes of the whole step for each byte that autograd keeps: measured with PET of several sizes.
_PASSING: Final = 1.0
# A process with libtorch and a model, before it computes: measured with the image of the verifier.
_LIBTORCH: Final = 0.4e9
# The largest system of a full verification, and about how many neighbors an atom has in it.
_CHECK_ATOMS: Final = 256
_CHECK_DENSITY: Final = 0.1  # per cubic angstrom
_MOST_NEIGHBORS: Final = 1000


@dataclass(frozen=True)
class Estimate:
    """Bytes of a run: of the process that trains, on the device of the model, and of those after it."""

    training: float
    export: float
    verification: float

    def line(self, free: float | None) -> str:
        """Return the estimate as people read it, with what is ``free``, if that is known."""
        text = (
            f"memory, estimated: {size(self.training)} for training, {size(self.export)} for the "
            f"export, {size(self.verification)} for its full verification"
        )
        if free is None:
            return text
        most = max(self.training, self.export, self.verification)
        if most <= free:
            return f"{text}; {size(free)} are free"
        return f"warning: {text}, but only {size(free)} are free: {self._advice(free)}"

    def _advice(self, free: float) -> str:
        if self.training > free:
            return "use a smaller batch_size (or max_atoms_per_batch), cutoff or model"
        return (
            "train here, and run `mtt export --verify` where there is more, or use a smaller cutoff"
        )


def estimate(problem: Problem, potential: GraphModel) -> Estimate:
    """Estimate from one step on the structure of most pairs, of which nothing remains.

    Bytes are counted that the step keeps for its backward passes, and taken to grow with the number
    of pairs. The largest batch is that of the structures with most pairs.
    """
    pairs = np.array([len(problem.train[index].centers) for index in range(len(problem.train))])
    largest = max(int(pairs.max()), 1)
    kept = kept_by_a_step(problem, potential)
    most = np.sort(pairs)[-problem.batch_size :].sum()
    if problem.packed is not None:
        most = max(pairs[group].sum() for group in problem.packed.groups)
    batch = max(float(most), 1.0)
    weights = float(sum(p.numel() * p.element_size() for p in potential.parameters()))
    # weights of the best epoch and gradients, two moments of Adam
    state = 5.0 * weights
    data = 0.0 if problem.device.type == "cuda" else _bytes_of(problem.train, problem.validation)
    training = (
        float(peak_memory(torch.device("cpu"))) + state + data + _PASSING * kept * batch / largest
    )
    # An evaluation keeps no graph of the derivatives, but engines hold other tensors beside it.
    per_pair = 0.75 * kept / largest
    to_double = 8.0 / torch.empty((), dtype=problem.dtype).element_size()
    cutoff = potential.cutoff * (in_angstrom(potential.length_unit) or 1.0)
    neighbors = min(_CHECK_DENSITY * 4.0 / 3.0 * np.pi * cutoff**3, _MOST_NEIGHBORS)
    golden = 12.0 * min(neighbors, 200.0)
    return Estimate(
        training=training,
        export=_LIBTORCH + 2.0 * weights + to_double * per_pair * golden,
        verification=_LIBTORCH + weights + per_pair * _CHECK_ATOMS * neighbors,
    )


def kept_by_a_step(problem: Problem, potential: GraphModel) -> float:
    """Return the bytes that one step on the structure of most pairs keeps for its backward passes."""
    sizes = [len(problem.train[index].centers) for index in range(len(problem.train))]
    batch = collate(problem.train, [int(np.argmax(sizes))], problem.dtype, problem.device)
    loss = problem.loss()
    core = potential.core.train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in potential.parameters()}
    with reproducible(problem.device), _kept_storages() as storages:
        total = loss(loss.errors(core, batch, training=True), batch)
        kept = sum(size for place, size in storages.items() if place not in weights)
        del total
    return float(kept)


@contextmanager
def _kept_storages() -> Iterator[dict[int, int]]:
    """Collect the storages, by their places, that autograd keeps in the block."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield storages


def _bytes_of(*datasets: Dataset) -> float:
    total = 0
    for dataset in datasets:
        for index in range(len(dataset)):
            item = dataset[index]
            arrays = (item.species, item.centers, item.neighbors, item.vectors, item.reverse)
            total += sum(array.nbytes for array in arrays)
    # The lists are in memory already, and batches of the validation set are kept as well.
    return float(total) * 0.5


def free_memory(device: torch.device) -> float | None:
    """Return the bytes that are free for this process and others of its group, if that is known."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    limits = [_available(), control_group.memory()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _available() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = {line.partition(":")[0]: line.split()[1] for line in lines if len(line.split()) > 1}
    own = os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])
    return float(values["MemAvailable"]) * 1024.0 + own if "MemAvailable" in values else None
