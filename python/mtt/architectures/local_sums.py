"""Sums of raw values and their gradient, a portion of the atoms at a time, where atoms see neighbors only."""

from typing import List, Tuple

import torch

from mtt.architectures.interface import Core, features_of
from mtt.data.graph import Graph


class Local(Core):
    """A core whose values of an atom depend on its own edges and the types at their ends only.

    So any atoms can be evaluated with their edges alone, and the memory of large structures is that of
    one portion. A subclass that sees more says so by ``has_sums``.

    - ``n_types``: number of atomic types
    """

    has_sums = True
    n_types: int

    def __init__(self) -> None:
        super().__init__()
        # An edge takes less memory here than in a layer of attention, whose portions `tokens` are: of 1, 3
        # and 8 times as many, 3 took the shortest time.
        self.times = 3

    @torch.jit.export
    def sums(
        self, graph: Graph, target: str, features: bool, kept: torch.Tensor, tokens: int
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return raw values of ``kept`` atoms and the gradient of their sum; see :class:`Core`."""
        n_atoms = graph.species.shape[0]
        values = graph.vectors.new_zeros((n_atoms, 1))
        gathered = values.new_zeros((n_atoms, 0))
        gradient = torch.zeros_like(graph.vectors)
        if kept.shape[0] == 0:
            return values, gradient, gathered
        asked = [target]
        if features:
            asked.append(features_of(target))
        differentiate = torch.is_grad_enabled() and graph.vectors.requires_grad
        counts = torch.bincount(graph.centers, minlength=n_atoms)
        first = (torch.cumsum(counts, 0) - counts).index_select(0, kept)
        counts = counts.index_select(0, kept)
        portion = torch.div(
            torch.cumsum(counts + 1, 0) - 1, self.times * tokens, rounding_mode="floor"
        )
        sizes: List[int] = torch.bincount(portion).tolist()
        vectors = graph.vectors.detach()
        end = 0
        for size in sizes:
            start, end = end, end + size
            if size == 0:
                continue
            atoms, own = kept[start:end], counts[start:end]
            before = torch.cumsum(own, 0) - own
            edges = torch.repeat_interleave(first[start:end] - before, own)
            edges = edges + torch.arange(edges.shape[0], device=edges.device)
            part = vectors.index_select(0, edges).requires_grad_(differentiate)
            found = self.forward(self.portion(graph, atoms, own, edges, part), asked)
            value = found[target][:size]
            values.index_copy_(0, atoms, value.detach())
            if features:
                rows = found[asked[1]][:size].detach()
                if gathered.shape[1] == 0:
                    gathered = rows.new_zeros((n_atoms, rows.shape[1]))
                gathered.index_copy_(0, atoms, rows)
            if differentiate:
                slope = torch.autograd.grad([value.sum()], [part], allow_unused=True)[0]
                if slope is not None:
                    gradient.index_copy_(0, edges, slope)
        return values, gradient, gathered

    def portion(
        self,
        graph: Graph,
        atoms: torch.Tensor,
        counts: torch.Tensor,
        edges: torch.Tensor,
        vectors: torch.Tensor,
    ) -> Graph:
        """Return some atoms [K] of a graph with their edges, ``counts`` [K] of each, as a graph of its own.

        Its last atoms, one for each type, have no edges and stand for all neighbors of that type.
        """
        n_atoms = atoms.shape[0]
        device = atoms.device
        kinds = torch.arange(self.n_types, device=device)
        neighbors = graph.neighbors.index_select(0, edges)
        return Graph(
            species=torch.cat([graph.species.index_select(0, atoms), kinds]),
            system=torch.cat([graph.system.index_select(0, atoms), torch.zeros_like(kinds)]),
            n_systems=graph.n_systems,
            centers=torch.repeat_interleave(torch.arange(n_atoms, device=device), counts),
            neighbors=n_atoms + graph.species.index_select(0, neighbors),
            vectors=vectors,
            reverse=torch.full_like(edges, -1),
            positions=graph.positions[:0],
            cells=graph.cells,
            states=graph.states,
        )
