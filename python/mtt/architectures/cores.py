"""The network of a model: one core, or an ensemble of them."""

from collections.abc import Sequence
from typing import Any

import torch

from mtt.architecture_registry import Architecture
from mtt.architectures.ensemble import Ensemble
from mtt.architectures.interface import Core
from mtt.data.random import generator
from mtt.data.target import Target


def build_core(
    architecture: Architecture,
    hypers: Any,
    atomic_types: Sequence[int],
    targets: Sequence[Target],
    seeds: Sequence[int] = (),
) -> Core:
    """Return a core with weights that are still to be loaded; one member for each of ``seeds``."""
    cores = [
        architecture.build_core(hypers, atomic_types, targets) for _ in range(max(1, len(seeds)))
    ]
    return Ensemble(cores, seeds, len(atomic_types)) if seeds else cores[0]


def new_core(
    architecture: Architecture,
    hypers: Any,
    atomic_types: Sequence[int],
    targets: Sequence[Target],
    seeds: Sequence[int],
) -> Core:
    """Return a core with random weights from a seed, or an ensemble if there are several.

    torch's own generator is afterwards what it was.
    """
    cores = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(int(generator(seed, "weights").bit_generator.random_raw()) >> 1)
            cores.append(architecture.build_core(hypers, atomic_types, targets))
    return cores[0] if len(cores) == 1 else Ensemble(cores, seeds, len(atomic_types))
