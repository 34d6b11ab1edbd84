"""A core that gives zero: what remains of a model is its baseline."""

from collections.abc import Sequence
from typing import Dict, List

import torch

from mtt.architectures.composition.hypers import ModelHypers
from mtt.architectures.interface import Core
from mtt.data.graph import Graph
from mtt.data.target import Target


class Composition(Core):
    """Gives raw values of zero, whose derivatives by the edge vectors are zeros as well."""

    turns_exactly = True

    def __init__(self, hypers: ModelHypers, targets: Sequence[Target]) -> None:
        super().__init__()
        self.cutoff = self.interaction_range = float(hypers.cutoff)
        self.target_names = [target.name for target in targets]
        self.sizes = [target.numbers for target in targets]

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return zeros [N, numbers] for each of ``targets``; see :class:`Core`."""
        # Not plain zeros: who asks for forces needs a path to the vectors.
        of_edges = 0.0 * graph.vectors[:, :1]
        zeros = of_edges.new_zeros((graph.species.shape[0], 1))
        zeros = zeros.index_add(0, graph.centers, of_edges)
        values: Dict[str, torch.Tensor] = {}
        for index, name in enumerate(self.target_names):
            if name in targets:
                # A copy of its own for each target, as callers may change it.
                values[name] = zeros.repeat(1, self.sizes[index])
        return values


def build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: Sequence[Target]
) -> Composition:
    """Make the core, which has no weights."""
    return Composition(hypers, targets)
