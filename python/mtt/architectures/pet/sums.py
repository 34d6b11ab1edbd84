"""Sums of raw values and their gradient, a portion of the graph at a time."""

from typing import Dict, List, NamedTuple, Optional, Tuple

import torch

from mtt.architectures.interface import Core, features_of
from mtt.architectures.pet.chunks import Chunk, Layout, lay_out
from mtt.architectures.pet.layers import Inputs, dense_grid, reverse_edges
from mtt.data.graph import Graph

# So many edges keep what their gradient needs; the others are computed once more.
# A default network keeps some 15 kB for each.
EDGES_KEPT = 32768


class Kept(NamedTuple):
    """What the gradient of a layer needs of one chunk: tensors with their history.

    Edge vectors, features and messages that enter; features of atoms and edges that leave. ``inputs`` is
    what all layers see of the edge vectors.
    """

    inputs: Inputs
    vectors: torch.Tensor
    nodes: torch.Tensor
    messages: torch.Tensor
    after: torch.Tensor
    edges: torch.Tensor


class Steps(Core):
    """A core whose layers can be taken one at a time, and for some of the atoms at a time.

    A layer takes features of atoms and one message for each edge, and gives features of atoms and
    edges; messages for the next one come from an edge's features and those of its reverse. A subclass
    says what these steps are; :meth:`sums` takes them chunk by chunk. Each layer is computed once more
    when its gradient is, so that memory holds a few numbers for each edge and the intermediate results
    of one chunk only.
    """

    has_sums = True

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.n_layers = n_layers
        self.edges_kept = EDGES_KEPT

    def describe(self, vectors: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return what the network sees of edge vectors [E, 3]: numbers [E, G], cutoff factors [E]."""
        raise NotImplementedError

    def conditions(self, graph: Graph) -> Optional[torch.Tensor]:
        """Return what charge and spin of structures add to features of atoms [N, d_node], if anything."""
        raise NotImplementedError

    def start(
        self, species: torch.Tensor, neighbor_species: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return the features of atoms [N, d_node] and messages [E, d_edge] that enter layer 0."""
        raise NotImplementedError

    def layer(
        self, number: int, nodes: torch.Tensor, messages: torch.Tensor, inputs: Inputs
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return the features of atoms [N, d_node] and edges [E, d_edge] that leave a layer."""
        raise NotImplementedError

    def hand_on(
        self,
        number: int,
        messages: torch.Tensor,
        edges: torch.Tensor,
        reversed_edges: torch.Tensor,
    ) -> torch.Tensor:
        """Return the messages [E, d_edge] that enter the layer after ``number``."""
        raise NotImplementedError

    def is_read(self, number: int) -> bool:
        """Return whether raw values depend on what leaves a layer, but for the next layer."""
        raise NotImplementedError

    def read(
        self,
        number: int,
        nodes: torch.Tensor,
        messages: torch.Tensor,
        edges: torch.Tensor,
        inputs: Inputs,
        targets: List[str],
    ) -> Dict[str, torch.Tensor]:
        """Return what a layer adds to raw values [N, numbers] of ``targets``, or to their features."""
        raise NotImplementedError

    @torch.jit.export
    def sums(
        self, graph: Graph, target: str, features: bool, kept: torch.Tensor, tokens: int
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return raw values of ``kept`` atoms and the gradient of their sum; see :class:`Core`."""
        values = graph.vectors.new_zeros((graph.species.shape[0], 1))
        # Of each layer that is read; their number is known once one chunk is.
        read_features = [values.new_zeros((values.shape[0], 0)) for _ in range(self.n_layers)]
        if kept.shape[0] == 0:
            return values, torch.zeros_like(graph.vectors), read_features[0]
        asked = [target]
        if features:
            asked.append(features_of(target))
        differentiate = torch.is_grad_enabled() and graph.vectors.requires_grad
        # Weights of an export need no gradient, so what has no history records none. (no_grad() would do
        # the same, but is no operator that a sandbox lets a model use: it changes the calling thread.)
        layout = lay_out(graph, kept, self.n_layers, tokens, self.conditions(graph))
        vectors = graph.vectors.detach().index_select(0, layout.edges)
        none = vectors.new_empty((0, 0))
        # What enters each layer, and the edges that leave it. The first layer's is made when needed.
        nodes: List[torch.Tensor] = [none]
        messages: List[torch.Tensor] = [none]
        edges: List[torch.Tensor] = []
        history: List[List[Kept]] = []
        budget = self.edges_kept if differentiate else 0
        for number in range(self.n_layers - 1):
            remembered: List[Kept] = []
            after: List[torch.Tensor] = []
            leaving: List[torch.Tensor] = []
            for chunk in layout.chunks:
                if chunk.layers > number:
                    # Those kept are the first of all: once one is too many, so are the rest.
                    budget = max(0, budget - (chunk.edge_end - chunk.edge))
                    keep = budget > 0
                    done = self.take(
                        number, layout, chunk, vectors, nodes[number], messages[number], keep
                    )
                    if keep:
                        remembered.append(done)
                    after.append(done.after.detach())
                    leaving.append(done.edges.detach())
            history.append(remembered)
            nodes.append(torch.cat(after))
            edges.append(torch.cat(leaving))
            messages.append(self.all_messages(number, layout, messages[number], edges[number]))
        forgotten: List[Kept] = []
        history.append(forgotten)
        gradient = torch.zeros_like(vectors)
        of_nodes, of_edges, of_messages = none, none, none
        for back in range(self.n_layers):
            number = self.n_layers - 1 - back
            if not differentiate and not self.is_read(number):
                continue
            handed = of_messages
            of_nodes, of_messages = self.back_through_layer(
                number,
                layout,
                vectors,
                nodes[number],
                messages[number],
                history[number],
                of_nodes,
                of_edges,
                asked,
                differentiate,
                values,
                gradient,
                read_features,
            )
            if differentiate and number > 0:
                if handed.shape[0] > 0:
                    of_messages[: handed.shape[0]] += handed
                of_edges, of_messages = self.back_through_messages(
                    number - 1, layout, messages[number - 1], edges[number - 1], of_messages
                )
                edges[number - 1] = none
            nodes[number], messages[number] = none, none
            history[number] = forgotten
        scattered = torch.zeros_like(graph.vectors)
        gradient = scattered.index_add(0, layout.edges, gradient)
        return values, gradient, torch.cat(read_features, dim=1)

    def inputs(self, layout: Layout, chunk: Chunk, vectors: torch.Tensor) -> Inputs:
        """Return the inputs of a chunk with these edge vectors [edges of the chunk, 3]."""
        geometry, factors = self.describe(vectors)
        factors = factors * layout.real[chunk.edge : chunk.edge_end]
        n_atoms = chunk.atom_end - chunk.atom
        atoms = torch.arange(n_atoms, device=vectors.device)
        added = layout.added
        if added is not None:
            added = added[chunk.atom : chunk.atom_end]
        return Inputs(
            grid=dense_grid(factors, n_atoms),
            geometry=geometry,
            species=layout.species[chunk.atom : chunk.atom_end],
            neighbor_species=layout.neighbor_species[chunk.edge : chunk.edge_end],
            factors=factors,
            centers=atoms.repeat(vectors.shape[0] // n_atoms),
            added=added,
        )

    def entering(
        self,
        number: int,
        layout: Layout,
        chunk: Chunk,
        nodes: torch.Tensor,
        messages: torch.Tensor,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return what of ``nodes`` and ``messages``, which enter a layer, is a chunk's."""
        if number == 0:
            return self.start(
                layout.species[chunk.atom : chunk.atom_end],
                layout.neighbor_species[chunk.edge : chunk.edge_end],
            )
        return nodes[chunk.atom : chunk.atom_end], messages[chunk.edge : chunk.edge_end]

    def take(
        self,
        number: int,
        layout: Layout,
        chunk: Chunk,
        vectors: torch.Tensor,
        nodes: torch.Tensor,
        messages: torch.Tensor,
        differentiate: bool,
    ) -> Kept:
        """Take a chunk through a layer."""
        part = vectors[chunk.edge : chunk.edge_end].detach()
        own, received = self.entering(number, layout, chunk, nodes, messages)
        own, received = own.detach(), received.detach()
        if differentiate:
            part.requires_grad_(True)
            # Nothing that enters the first layer depends on positions.
            own.requires_grad_(number > 0)
            received.requires_grad_(number > 0)
        inputs = self.inputs(layout, chunk, part)
        after, leaving = self.layer(number, own, received, inputs)
        return Kept(inputs, part, own, received, after, leaving)

    def all_messages(
        self, number: int, layout: Layout, messages: torch.Tensor, edges: torch.Tensor
    ) -> torch.Tensor:
        """Return the messages that enter the layer after ``number``."""
        parts: List[torch.Tensor] = []
        for chunk in layout.chunks:
            if chunk.layers > number + 1:
                _, before = self.entering(number, layout, chunk, edges, messages)
                reversed_edges = reverse_edges(edges, layout.reverse[chunk.edge : chunk.edge_end])
                own = edges[chunk.edge : chunk.edge_end]
                handed = self.hand_on(number, before, own, reversed_edges)
                parts.append(handed.detach())
        return torch.cat(parts)

    def back_through_layer(
        self,
        number: int,
        layout: Layout,
        vectors: torch.Tensor,
        nodes: torch.Tensor,
        messages: torch.Tensor,
        history: List[Kept],
        of_nodes: torch.Tensor,
        of_edges: torch.Tensor,
        asked: List[str],
        differentiate: bool,
        values: torch.Tensor,
        gradient: torch.Tensor,
        features: List[torch.Tensor],
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Compute a layer again, add what is read of it to ``values`` and its part to ``gradient``.

        :param of_nodes: gradient of the sum by the features of atoms that leave the layer
        :param of_edges: and by those of edges
        :param asked: the target, and its features if those are wanted
        :param features: of each layer, put in there
        :returns: its gradient by the features of atoms and the messages that enter the layer
        """
        node_parts: List[torch.Tensor] = []
        message_parts: List[torch.Tensor] = []
        for place, chunk in enumerate(layout.chunks):
            if chunk.layers <= number:
                continue
            if place < len(history):
                done = history[place]
            else:
                done = self.take(number, layout, chunk, vectors, nodes, messages, differentiate)
            outputs: List[torch.Tensor] = []
            weights: List[Optional[torch.Tensor]] = []
            if chunk.layers == self.n_layers and self.is_read(number):
                read = self.read(number, done.after, done.messages, done.edges, done.inputs, asked)
                value = read[asked[0]]
                atoms = layout.atoms[chunk.atom : chunk.atom_end]
                values.index_add_(0, atoms, value.detach())
                if len(asked) > 1:
                    part = read[asked[1]].detach()
                    if features[number].shape[1] == 0:
                        features[number] = part.new_zeros((values.shape[0], part.shape[1]))
                    features[number].index_add_(0, atoms, part)
                outputs.append(value.sum())
                weights.append(None)
            if number + 1 < self.n_layers:
                outputs.append(done.edges)
                weights.append(of_edges[chunk.edge : chunk.edge_end])
                if chunk.layers > number + 1 and done.after.requires_grad:
                    outputs.append(done.after)
                    weights.append(of_nodes[chunk.atom : chunk.atom_end])
            if differentiate:
                entered = [done.vectors]
                if number > 0:
                    entered += [done.nodes, done.messages]
                grads = torch.autograd.grad(outputs, entered, weights, allow_unused=True)
                by_vectors = grads[0]
                if by_vectors is not None:
                    gradient[chunk.edge : chunk.edge_end] += by_vectors
                if number > 0:
                    by_nodes, by_messages = grads[1], grads[2]
                    node_parts.append(
                        torch.zeros_like(done.nodes) if by_nodes is None else by_nodes
                    )
                    message_parts.append(
                        torch.zeros_like(done.messages) if by_messages is None else by_messages
                    )
        if len(node_parts) == 0:
            return nodes, messages
        return torch.cat(node_parts), torch.cat(message_parts)

    def back_through_messages(
        self,
        number: int,
        layout: Layout,
        messages: torch.Tensor,
        edges: torch.Tensor,
        of_messages: torch.Tensor,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return the gradient by ``edges``, which leave a layer, and by the messages that entered it.

        Those that enter the first layer do not depend on positions: theirs is left out, [0, 0].

        :param of_messages: the gradient by the messages that enter the next layer
        """
        of_edges = torch.zeros_like(edges)
        of_reversed = torch.empty_like(of_messages)
        before: List[torch.Tensor] = []
        for chunk in layout.chunks:
            if chunk.layers <= number + 1:
                continue
            first, last = chunk.edge, chunk.edge_end
            _, received = self.entering(number, layout, chunk, edges, messages)
            received = received.detach().requires_grad_(number > 0)
            own = edges[first:last].detach().requires_grad_(True)
            reversed_edges = reverse_edges(edges, layout.reverse[first:last])
            reversed_edges = reversed_edges.detach().requires_grad_(True)
            handed = self.hand_on(number, received, own, reversed_edges)
            weights: List[Optional[torch.Tensor]] = [of_messages[first:last]]
            entered = [own, reversed_edges]
            if number > 0:
                entered.append(received)
            grads = torch.autograd.grad([handed], entered, weights, allow_unused=True)
            by_own, by_reversed = grads[0], grads[1]
            if number > 0:
                by_received = grads[2]
                before.append(torch.zeros_like(received) if by_received is None else by_received)
            if by_own is not None:
                of_edges[first:last] = by_own
            assert by_reversed is not None
            of_reversed[first:last] = by_reversed
        # The message that an edge sends to its reverse: only there where that one needs it. By chunks,
        # as another array of all edges costs more than the sum: the kernel clears its pages first.
        reverse = torch.where(
            layout.reverse < of_messages.shape[0],
            layout.reverse,
            torch.full_like(layout.reverse, -1),
        )
        for chunk in layout.chunks:
            if chunk.layers > number:
                first, last = chunk.edge, chunk.edge_end
                of_edges[first:last] += reverse_edges(of_reversed, reverse[first:last])
        if number == 0:
            return of_edges, of_messages.new_empty((0, 0))
        return of_edges, torch.cat(before)
