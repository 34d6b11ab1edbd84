"""Which atoms each layer needs, and in what portions it takes them."""

from typing import List, NamedTuple, Optional

import torch

from mtt.data.graph import Graph


class Chunk(NamedTuple):
    """Atoms with about the same number of edges, and these edges in the order of an attention grid.

    Of the layout, it has the atoms from ``atom`` to before ``atom_end`` and the edges from ``edge`` to
    before ``edge_end``; the layers before number ``layers`` need it.
    """

    atom: int
    atom_end: int
    edge: int
    edge_end: int
    layers: int


class Layout(NamedTuple):
    """The order in which a graph is evaluated: atoms that more layers need first.

    With A of the N atoms needed at all, and B edges, some of them copies that fill a chunk up:

    - ``atoms`` [A] int64 into the graph's atoms; ``species`` [A] of them;
    - ``edges`` [B] int64 into the graph's edges; ``neighbor_species`` [B] of them;
    - ``real`` [B] in the dtype of the vectors: 0 for the copies, which must have no influence, else 1;
    - ``reverse`` [B] int64: place of the reverse edge in this layout, -1 where there is none;
    - ``chunks``: from front to back;
    - ``added`` [A, d_node]: what the conditions of a structure add to the features of its atoms.
    """

    atoms: torch.Tensor
    species: torch.Tensor
    edges: torch.Tensor
    neighbor_species: torch.Tensor
    real: torch.Tensor
    reverse: torch.Tensor
    chunks: List[Chunk]
    added: Optional[torch.Tensor] = None


def layers_of_atoms(graph: Graph, kept: torch.Tensor, n_layers: int) -> torch.Tensor:
    """Return in how many of the first layers each atom is needed [N], if only ``kept`` are read out.

    The last layer needs those alone, each layer before also the neighbors of what the next one needs.
    """
    layers = torch.zeros_like(graph.species)
    layers[kept] = n_layers
    for number in range(n_layers - 1, 0, -1):
        needed = layers.index_select(0, graph.centers) > number
        near = torch.zeros_like(layers)
        near[graph.neighbors[needed]] = number
        layers = torch.maximum(layers, near)
    return layers


def lay_out(
    graph: Graph,
    kept: torch.Tensor,
    n_layers: int,
    size: int,
    added: Optional[torch.Tensor] = None,
) -> Layout:
    """Return the layout of a graph with at least one edge, in chunks of about ``size`` tokens.

    :param kept: indices [K] int64 of the atoms that are read out
    :param added: [N, d_node], see :class:`Layout`
    """
    device = graph.centers.device
    counts = torch.bincount(graph.centers, minlength=graph.species.shape[0])
    first = torch.cumsum(counts, 0) - counts
    layers = layers_of_atoms(graph, kept, n_layers)
    atoms = torch.argsort(layers * (counts.max() + 1) + counts, descending=True, stable=True)
    atoms = atoms[: int((layers > 0).sum())]
    first = first.index_select(0, atoms)
    counts = counts.index_select(0, atoms)
    counts_list: List[int] = counts.tolist()
    layers_list: List[int] = layers.index_select(0, atoms).tolist()
    chunks: List[Chunk] = []
    pieces: List[torch.Tensor] = [torch.empty(0, dtype=torch.int64, device=device)]
    filled: List[torch.Tensor] = [torch.empty(0, dtype=torch.bool, device=device)]
    start, edge = 0, 0
    while start < len(counts_list):
        width = counts_list[start]
        end = min(start + max(1, size // (width + 1)), len(counts_list))
        while layers_list[end - 1] != layers_list[start]:
            end -= 1
        slots = torch.arange(width, device=device)[:, None]
        real = slots < counts[start:end]
        # A copy is of the atom's first edge: nothing that the network has not seen.
        pieces.append((first[start:end] + slots * real).reshape(-1))
        filled.append(real.reshape(-1))
        edge_end = edge + width * (end - start)
        chunks.append(Chunk(start, end, edge, edge_end, layers_list[start]))
        start, edge = end, edge_end
    # The first edge of an atom without any may lie behind the last of all.
    edges = torch.cat(pieces).clamp(max=graph.centers.shape[0] - 1)
    is_real = torch.cat(filled)
    place = torch.full_like(graph.reverse, -1)
    place[edges[is_real]] = torch.arange(edge, device=device)[is_real]
    reverse = graph.reverse.index_select(0, edges)
    there = place.index_select(0, reverse.clamp(min=0))
    nowhere = torch.full_like(there, -1)
    neighbors = graph.neighbors.index_select(0, edges)
    return Layout(
        atoms=atoms,
        species=graph.species.index_select(0, atoms),
        edges=edges,
        neighbor_species=graph.species.index_select(0, neighbors),
        real=is_real.to(graph.vectors.dtype),
        reverse=torch.where((reverse >= 0) & is_real, there, nowhere),
        chunks=chunks,
        added=None if added is None else added.index_select(0, atoms),
    )
