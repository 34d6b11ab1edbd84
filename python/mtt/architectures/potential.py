"""Any core as a metatomic model: systems with neighbor lists in, TensorMaps out.

Written once for all architectures, because what MD engines demand (selected atoms, ranks without
atoms, per-atom and per-system energies, exact offsets) has nothing to do with the network.
"""

from collections.abc import Sequence
from typing import Dict, List, Optional, Tuple

import torch
from metatensor.torch import Labels, TensorMap
from metatomic.torch import ModelOutput, NeighborListOptions, System

from mtt.architectures.conditioning import States
from mtt.architectures.graph_model import GraphModel
from mtt.architectures.interface import Core, CoreInterface, features_of, scripted, with_modules
from mtt.architectures.system_states import SystemStates
from mtt.architectures.tensor_maps import (
    atom_labels,
    property_name,
    selection_indices,
    tensor_map,
)
from mtt.data.graph import Graph
from mtt.data.target import Target


def reverse_indices(
    centers: torch.Tensor, neighbors: torch.Tensor, shifts: torch.Tensor, n_atoms: int
) -> torch.Tensor:
    """Return the index of the edge j->i with shift -S of each edge i->j with shift S [E]; -1 if absent.

    :param shifts: [E, 3] int64 cell shifts S
    """
    if centers.shape[0] == 0:
        return centers
    extent = shifts.abs().amax(dim=0)
    a, b, c = int(extent[0]), int(extent[1]), int(extent[2])
    box = (2 * a + 1) * (2 * b + 1) * (2 * c + 1)
    flat = (shifts[:, 0] * (2 * b + 1) + shifts[:, 1]) * (2 * c + 1) + shifts[:, 2]
    middle = box // 2
    forward = (centers * n_atoms + neighbors) * box + middle + flat
    backward = (neighbors * n_atoms + centers) * box + middle - flat
    ordered, order = forward.sort()
    place = torch.searchsorted(ordered, backward).clamp(max=ordered.shape[0] - 1)
    exists = ordered.index_select(0, place) == backward
    return torch.where(exists, order.index_select(0, place), torch.full_like(order, -1))


# Atoms and edges that fit into the caches of a CPU core with the intermediate results of a layer; a GPU
# needs more at once to be busy.
CHUNK_TOKENS = 2048
CHUNK_TOKENS_GPU = 131072


class Potential(GraphModel):
    """A core with baseline and scale of each target, in the metatomic interface.

    The same weights by the same names as a :class:`GraphModel`, whose parameters it takes.
    """

    # Once more: TorchScript reads those of the class itself.
    core: CoreInterface
    species_of_type: torch.Tensor
    uncertain: List[int]
    uncertainty_names: List[str]
    ensemble_names: List[str]

    def __init__(
        self,
        core: Core,
        atomic_types: Sequence[int],
        targets: Sequence[Target],
        length_unit: str,
        zbl: bool = False,
    ) -> None:
        super().__init__(core, atomic_types, targets, length_unit, zbl)
        self.property_names = [property_name(target) for target in targets]
        self.chunks = False
        # TorchScript sees attributes only.
        self.chunk_tokens, self.chunk_tokens_gpu = CHUNK_TOKENS, CHUNK_TOKENS_GPU

    @torch.jit.unused
    def states_of(self, max_charge: int, max_spin_multiplicity: int) -> States:
        """Return the module that reads charges and spins of metatomic's systems."""
        return SystemStates(max_charge, max_spin_multiplicity)

    def by_chunks(self) -> "Potential":
        """Evaluate large systems chunk by chunk: faster, and in a fraction of the memory.

        What it then gives for the sum over atoms of such a system has exact first derivatives by
        positions and cell, and no others: no second ones, and none by weights. For engines.
        """
        self.chunks = self.core.has_sums
        return self

    def __prepare_scriptable__(self) -> "Potential":
        """Return a copy whose core is scripted; torch.jit.script calls this first."""
        return with_modules(self, core=scripted(self.core))

    @torch.jit.export
    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        """Return the neighbor lists that engines are to give: one full list within the cutoff."""
        return [NeighborListOptions(cutoff=self.cutoff, full_list=True, strict=True)]

    def graph(self, systems: List[System]) -> Graph:
        """Concatenate ``systems`` into one graph whose vectors keep their autograd history."""
        device = systems[0].positions.device
        options = NeighborListOptions(cutoff=self.cutoff, full_list=True, strict=True)
        species: List[torch.Tensor] = []
        owner: List[torch.Tensor] = []
        pairs: List[torch.Tensor] = []
        vectors: List[torch.Tensor] = []
        positions: List[torch.Tensor] = []
        cells: List[torch.Tensor] = []
        n_atoms = 0
        for index, system in enumerate(systems):
            positions.append(system.positions)
            cells.append(system.cell)
            neighbors = system.get_neighbor_list(options)
            types = self.species_of_type.index_select(0, system.types.to(torch.int64))
            species.append(types)
            owner.append(torch.full_like(types, index))
            pair = neighbors.samples.values.to(torch.int64)
            offset = torch.tensor([n_atoms, n_atoms, 0, 0, 0], device=device)
            pairs.append(pair + offset)
            vectors.append(neighbors.values.reshape(-1, 3))
            n_atoms += len(system)
        pair = torch.cat(pairs)
        vector = torch.cat(vectors)
        # Engines list pairs in any order; cores want them sorted by center.
        order = torch.argsort(pair[:, 0], stable=True)
        pair = pair.index_select(0, order)
        centers, neighbors_index = pair[:, 0].contiguous(), pair[:, 1].contiguous()
        states: Optional[torch.Tensor] = None
        for read in self.states:
            states = read(systems)
        return Graph(
            species=torch.cat(species),
            system=torch.cat(owner),
            n_systems=len(systems),
            centers=centers,
            neighbors=neighbors_index,
            vectors=vector.index_select(0, order),
            reverse=reverse_indices(centers, neighbors_index, pair[:, 2:], n_atoms),
            states=states,
            positions=torch.cat(positions),
            cells=torch.stack(cells),
        )

    def tokens_of_chunks(
        self, graph: Graph, wanted: List[str], outputs: Dict[str, ModelOutput]
    ) -> int:
        """Return how many atoms and edges to evaluate at a time; 0 for all, with full history.

        Only what one target sums up over the atoms of a system can be evaluated by chunks, and beside
        it the uncertainties of its values of atoms, which engines watch in each step.
        """
        cpu = graph.vectors.device.type == "cpu"
        tokens = self.chunk_tokens if cpu else self.chunk_tokens_gpu
        if not self.chunks or graph.centers.shape[0] < 2 * tokens:
            return 0
        if len(wanted) > 2 or (len(wanted) == 2 and wanted[1] != features_of(wanted[0])):
            return 0
        for index in range(len(self.uncertain)):
            if self.ensemble_names[index] in outputs:
                return 0
            name = self.uncertainty_names[index]
            if name in outputs and outputs[name].sample_kind != "atom":
                return 0
        for index, name in enumerate(self.target_names):
            if name == wanted[0] and name in outputs:
                summed = outputs[name].sample_kind != "atom" and not self.per_volume[index]
                if summed and self.numbers[index] == 1:
                    return tokens
        return 0

    def sums(
        self, graph: Graph, wanted: List[str], kept: torch.Tensor, tokens: int
    ) -> Tuple[Dict[str, torch.Tensor], torch.Tensor]:
        """Return values of ``kept`` atoms, and a zero for each system [S, 1] that has their gradient.

        :param wanted: the target, and its features if those are wanted
        """
        target = wanted[0]
        raw, gradient, features = self.core.sums(graph, target, len(wanted) > 1, kept, tokens)
        steps = (graph.vectors - graph.vectors.detach()) * gradient
        steps = steps.sum(dim=1, keepdim=True).to(torch.float64)
        for index, baseline in enumerate(self.baselines):
            if self.target_names[index] == target:
                # mypy takes what a ModuleList holds for tensors or modules, where it is a baseline.
                steps = steps * baseline.scale  # type: ignore[operator]
        systems = graph.system.index_select(0, graph.centers)
        zeros = steps.new_zeros((graph.n_systems, 1)).index_add(0, systems, steps)
        parts = {target: raw, features_of(target): features}
        return self.from_raw(graph, parts, wanted), zeros

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels] = None,
    ) -> Dict[str, TensorMap]:
        """Return the targets in ``outputs``, per system or per selected atom: metatomic's interface."""
        results: Dict[str, TensorMap] = {}
        wanted: List[str] = []
        for name in self.target_names:
            if name in outputs:
                wanted.append(name)
        for index, place in enumerate(self.uncertain):
            name = self.target_names[place]
            if self.ensemble_names[index] in outputs and name not in wanted:
                wanted.append(name)
            if self.ensemble_names[index] in outputs or self.uncertainty_names[index] in outputs:
                wanted.append(features_of(name))
        if len(wanted) == 0 or len(systems) == 0:
            return results
        dtype = systems[0].positions.dtype
        graph = self.graph(systems)
        counts = [len(system) for system in systems]
        kept = selection_indices(counts, selected_atoms, graph.species.device)
        # A system without pairs, or a rank without atoms, must still have a (zero) gradient.
        anchor = torch.stack([0.0 * system.positions.sum() for system in systems])
        anchor = anchor.to(torch.float64).reshape(-1, 1)
        tokens = self.tokens_of_chunks(graph, wanted, outputs)
        history = anchor
        if tokens > 0:
            values, zeros = self.sums(graph, wanted, kept, tokens)
            anchor = anchor + zeros
            # Chunks leave uncertainties without a gradient. This adds zero and has no derivative in torch,
            # which refuses to go through it: a bias on them must not be zero without a word.
            history = torch.heaviside(anchor, anchor)
        else:
            values = self.atomic_values(graph, wanted)
        owner = graph.system.index_select(0, kept)
        for index, name in enumerate(self.target_names):
            if name not in outputs:
                continue
            atoms = values[name].index_select(0, kept)
            if self.per_volume[index]:
                volumes = torch.stack([torch.det(system.cell).abs() for system in systems])
                inverse = (1.0 / volumes.to(torch.float64)).reshape(-1, 1)
                atoms = atoms * inverse.index_select(0, owner)
            if outputs[name].sample_kind == "atom":
                rows = atoms + anchor.index_select(0, owner)
                samples = atom_labels(counts, kept, owner)
            else:
                rows = anchor.expand(-1, atoms.shape[1]).index_add(0, owner, atoms)
                number = torch.arange(len(systems), dtype=torch.int32, device=atoms.device)
                samples = Labels(["system"], number.reshape(-1, 1))
            results[name] = tensor_map(
                rows.to(dtype),
                samples,
                self.property_names[index],
                self.types[index],
                self.irreps[index],
                self.properties[index],
            )
        for index, uncertainty in enumerate(self.uncertainties):
            target = self.target_names[self.uncertain[index]]
            for name in [self.uncertainty_names[index], self.ensemble_names[index]]:
                if name not in outputs:
                    continue
                features = values[features_of(target)].index_select(0, kept)
                if kept.shape[0] == 0:
                    # Of no atoms, chunks do not know how many features there are.
                    # mypy takes what a ModuleList holds for modules, where it is a tensor.
                    width = int(uncertainty.rigidity.shape[1])  # type: ignore[index]
                    features = features.new_zeros((0, width))
                if outputs[name].sample_kind == "atom":
                    features = features + history.index_select(0, owner)
                    samples = atom_labels(counts, kept, owner)
                else:
                    zeros = anchor.expand(-1, features.shape[1])
                    features = zeros.index_add(0, owner, features)
                    number = torch.arange(len(systems), dtype=torch.int32, device=features.device)
                    samples = Labels(["system"], number.reshape(-1, 1))
                if name == self.uncertainty_names[index]:
                    rows = uncertainty(features, outputs[name].sample_kind == "atom")
                else:
                    rows = values[target].index_select(0, kept)
                    if outputs[name].sample_kind != "atom":
                        rows = anchor.index_add(0, owner, rows)
                    # mypy takes what a ModuleList holds for tensors, where it is more than called.
                    rows = uncertainty.members(features, rows)  # type: ignore[operator]
                axis = self.property_names[self.uncertain[index]]
                results[name] = tensor_map(
                    rows.to(dtype), samples, axis, "scalar", [[0, 1]], rows.shape[1]
                )
        return results
