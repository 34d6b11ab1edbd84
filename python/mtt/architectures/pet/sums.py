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


class Entering(NamedTuple):
    """What a layer is made from: of the layer before, what left it and the messages that entered it.

    Features of A atoms and B edges, in the order of the layout: ``nodes`` [A, d_node], ``edges`` [B, d_edge]
    and ``messages`` [B, d_edge]. [0, 0] where none are needed: nothing enters the first layer, and the
    messages of the first are made where they are read. Gradients by all this have the same shapes.
    """

    nodes: torch.Tensor
    edges: torch.Tensor
    messages: torch.Tensor


class Kept(NamedTuple):
    """What the gradient of a layer needs of one chunk: tensors with their history.

    ``inputs`` is what all layers see of the edge vectors. ``variables`` are what gradients are taken by: edge
    vectors; of later layers also nodes and edges that enter, and the edges at the reverse of each edge;
    behind the second also the messages that enter. The chunk receives ``messages``; ``nodes`` and
    ``edges`` leave it.
    """

    inputs: Inputs
    variables: List[torch.Tensor]
    messages: torch.Tensor
    nodes: torch.Tensor
    edges: torch.Tensor


def joined(parts: List[torch.Tensor], none: torch.Tensor) -> torch.Tensor:
    """Return the rows of all parts, or ``none`` if there are no parts."""
    return none if len(parts) == 0 else torch.cat(parts)


class Steps(Core):
    """A core whose layers can be taken one at a time, and for some of the atoms at a time.

    A layer takes features of atoms and one message for each edge, and gives features of atoms and
    edges; messages for the next one come from an edge's features and those of its reverse. A subclass
    says what these steps are; :meth:`sums` takes them chunk by chunk, a layer together with the messages that
    enter it. Each layer but the last is computed once more when its gradient is, but for the first
    ``edges_kept`` edges, so that memory holds a few numbers for each edge and the intermediate
    results of some chunks only.
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
        nothing = Entering(none, none, none)
        entering: List[Entering] = [nothing]
        history: List[List[Kept]] = []
        budget = self.edges_kept if differentiate else 0
        for number in range(self.n_layers - 1):
            remembered: List[Kept] = []
            nodes: List[torch.Tensor] = []
            edges: List[torch.Tensor] = []
            messages: List[torch.Tensor] = []
            for chunk in layout.chunks:
                if chunk.layers > number:
                    # Those kept are the first of all: once one is too many, so are the rest.
                    budget = max(0, budget - (chunk.edge_end - chunk.edge))
                    keep = budget > 0
                    done = self.take(number, layout, chunk, vectors, entering[number], keep)
                    if keep:
                        remembered.append(done)
                    nodes.append(done.nodes.detach())
                    edges.append(done.edges.detach())
                    if number > 0:
                        messages.append(done.messages.detach())
            history.append(remembered)
            entering.append(Entering(torch.cat(nodes), torch.cat(edges), joined(messages, none)))
        forgotten: List[Kept] = []
        history.append(forgotten)
        gradient = torch.zeros_like(vectors)
        # By what leaves the layer that is next.
        slope = nothing
        for back in range(self.n_layers):
            number = self.n_layers - 1 - back
            if not differentiate and not self.is_read(number):
                continue
            slope = self.back_through_layer(
                number,
                layout,
                vectors,
                entering[number],
                history[number],
                slope,
                asked,
                differentiate,
                values,
                gradient,
                read_features,
            )
            entering[number] = nothing
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

    def take(
        self,
        number: int,
        layout: Layout,
        chunk: Chunk,
        vectors: torch.Tensor,
        entering: Entering,
        differentiate: bool,
    ) -> Kept:
        """Take a chunk through a layer, and before that through what makes its messages."""
        first, last = chunk.edge, chunk.edge_end
        variables = [vectors[first:last].detach()]
        nodes = entering.nodes[chunk.atom : chunk.atom_end].detach()
        messages = entering.messages[first:last].detach()
        if number <= 1:
            # What enters the first layer does not depend on positions, and is made where it is read.
            started, messages = self.start(
                layout.species[chunk.atom : chunk.atom_end], layout.neighbor_species[first:last]
            )
            messages = messages.detach()
            if number == 0:
                nodes = started.detach()
        if number > 0:
            edges = entering.edges[first:last].detach()
            reversed_edges = reverse_edges(entering.edges, layout.reverse[first:last]).detach()
            variables += [nodes, edges, reversed_edges]
        if number > 1:
            variables.append(messages)
        for variable in variables:
            variable.requires_grad_(differentiate)
        if number > 0:
            messages = self.hand_on(number - 1, messages, variables[2], variables[3])
        inputs = self.inputs(layout, chunk, variables[0])
        after, leaving = self.layer(number, nodes, messages, inputs)
        return Kept(inputs, variables, messages, after, leaving)

    def back_through_layer(
        self,
        number: int,
        layout: Layout,
        vectors: torch.Tensor,
        entering: Entering,
        history: List[Kept],
        slope: Entering,
        asked: List[str],
        differentiate: bool,
        values: torch.Tensor,
        gradient: torch.Tensor,
        features: List[torch.Tensor],
    ) -> Entering:
        """Compute a layer again, add what is read of it to ``values`` and its part to ``gradient``.

        :param slope: gradient of the sum by what enters the next layer
        :param asked: the target, and its features if those are wanted
        :param features: of each layer, put in there
        :returns: its gradient by what enters this one
        """
        nodes: List[torch.Tensor] = []
        messages: List[torch.Tensor] = []
        of_edges = torch.zeros_like(entering.edges)
        of_reversed = torch.empty_like(entering.edges)
        end = 0
        for place, chunk in enumerate(layout.chunks):
            if chunk.layers <= number:
                continue
            first, last = chunk.edge, chunk.edge_end
            if place < len(history):
                done = history[place]
            else:
                done = self.take(number, layout, chunk, vectors, entering, differentiate)
            outputs: List[torch.Tensor] = []
            weights: List[Optional[torch.Tensor]] = []
            if chunk.layers == self.n_layers and self.is_read(number):
                read = self.read(number, done.nodes, done.messages, done.edges, done.inputs, asked)
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
            if not differentiate:
                continue
            if number + 1 < self.n_layers:
                outputs.append(done.edges)
                weights.append(slope.edges[first:last])
                if chunk.layers > number + 1:
                    if done.nodes.requires_grad:
                        outputs.append(done.nodes)
                        weights.append(slope.nodes[chunk.atom : chunk.atom_end])
                    if number > 0:
                        outputs.append(done.messages)
                        weights.append(slope.messages[first:last])
            grads = torch.autograd.grad(outputs, done.variables, weights, allow_unused=True)
            by_vectors = grads[0]
            if by_vectors is not None:
                gradient[first:last] += by_vectors
            if number > 0:
                end = last
                by_nodes, by_edges, by_reversed = grads[1], grads[2], grads[3]
                nodes.append(torch.zeros_like(done.variables[1]) if by_nodes is None else by_nodes)
                if by_edges is not None:
                    of_edges[first:last] = by_edges
                assert by_reversed is not None
                of_reversed[first:last] = by_reversed
            if number > 1:
                by_messages = grads[4]
                assert by_messages is not None
                messages.append(by_messages)
        if end > 0:
            # What an edge hands to its reverse: only there where that one needs it. By chunks, as
            # another array of all edges costs more than the sum: the kernel clears its pages first.
            reverse = layout.reverse.masked_fill(layout.reverse >= end, -1)
            for chunk in layout.chunks:
                if chunk.layers >= number:
                    first, last = chunk.edge, chunk.edge_end
                    of_edges[first:last] += reverse_edges(of_reversed, reverse[first:last])
        return Entering(
            joined(nodes, entering.nodes), of_edges, joined(messages, entering.messages)
        )
