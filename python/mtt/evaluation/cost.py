"""What an evaluation cost: time for each atom, and memory."""

import resource
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mtt.report.wording import size


@dataclass(frozen=True)
class Cost:
    """Time and memory of predictions, with what they include: neighbor lists, values, forces, stress.

    - ``seconds``: of all calls; ``ms_per_atom``: without the first call, where there are more, which
      has to prepare what the later ones use;
    - ``peak_memory_bytes``: of the process that the model ran in, or of the memory of the GPU.
    """

    atoms: int
    seconds: float
    ms_per_atom: float
    device: str
    threads: int
    peak_memory_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """Return what people read."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        on = f"{self.device} with {threads}" if self.device == "cpu" else self.device
        return (
            f"{self.ms_per_atom:.3g} ms/atom on {on}: {self.atoms} atoms in {self.seconds:.3g} s; "
            f"peak memory {size(self.peak_memory_bytes)}"
        )


class Stopwatch:
    """Atoms and seconds of each call of a model."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, float]] = []

    def cost(self, device: torch.device, threads: int, own_process: bool) -> Cost:
        """Return what the calls so far have cost.

        :param own_process: whether the model ran in a child of this process, which has ended
        """
        timed = self.calls[1:] or self.calls
        atoms, seconds = (sum(column) for column in zip(*timed, strict=True))
        return Cost(
            sum(call[0] for call in self.calls),
            sum(call[1] for call in self.calls),
            1000.0 * seconds / max(atoms, 1),
            device.type,
            threads,
            peak_memory(device, own_process),
        )


def peak_memory(device: torch.device, own_process: bool = False) -> int:
    """Return the bytes that this process, or one that it started, has taken on a device at most."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    who = resource.RUSAGE_CHILDREN if own_process else resource.RUSAGE_SELF
    # In kB, but for macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit
