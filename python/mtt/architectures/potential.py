"""Any core as a metatomic model: systems with neighbor lists in, TensorMaps out.

Written once for all architectures, because what MD engines demand (selected atoms, ranks without
atoms, per-atom and per-system energies, exact offsets) has nothing to do with the network.
"""

from typing import Dict, List, Optional

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import ModelOutput, NeighborListOptions, System

from mtt.architectures.interface import Core
from mtt.data.graph import Graph


def reverse_indices(
    centers: torch.Tensor, neighbors: torch.Tensor, shifts: torch.Tensor, n_atoms: int
) -> torch.Tensor:
    """Index of the edge j->i with shift -S for each edge i->j with shift S [E]; -1 where absent.

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
    found = ordered.index_select(0, place) == backward
    return torch.where(found, order.index_select(0, place), torch.full_like(order, -1))


class Potential(torch.nn.Module):
    """A core with its composition baseline and energy scale, in the metatomic interface.

    The energy of atom i is ``scale * core_i + composition[species_i]``, summed in float64 and rounded
    once to the model's dtype: offsets of -1e5 eV cost no more than that one rounding.

    :param core: the architecture's network
    :param atomic_types: sorted atomic types the core was built for
    :param target_name: metatomic output name, ``energy`` or ``energy/VARIANT``
    """

    composition: torch.Tensor
    scale: torch.Tensor
    species_of_type: torch.Tensor

    def __init__(
        self,
        core: Core,
        atomic_types: List[int],
        target_name: str,
        energy_unit: str,
        length_unit: str,
    ) -> None:
        super().__init__()
        self.core = core
        self.atomic_types = list(atomic_types)
        self.target_name = target_name
        self.energy_unit = energy_unit
        self.length_unit = length_unit
        self.cutoff = core.cutoff
        self.interaction_range = core.interaction_range
        n_types = len(atomic_types)
        self.register_buffer("composition", torch.zeros(n_types, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        species = torch.full((max(atomic_types) + 1,), -1, dtype=torch.int64)
        # Not arange, which imports sympy on the meta device.
        species[torch.tensor(atomic_types)] = torch.tensor(range(n_types))
        # Derived from atomic_types, so it has no place in a checkpoint.
        self.register_buffer("species_of_type", species, persistent=False)

    def set_precision(self, dtype: torch.dtype) -> "Potential":
        """Convert the core to ``dtype``; baseline and scale stay float64."""
        self.core.to(dtype)
        return self

    @torch.jit.export
    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        return [NeighborListOptions(cutoff=self.cutoff, full_list=True, strict=True)]

    def graph(self, systems: List[System]) -> Graph:
        """Concatenate ``systems`` into one graph whose vectors keep their autograd history."""
        device = systems[0].positions.device
        options = NeighborListOptions(cutoff=self.cutoff, full_list=True, strict=True)
        species: List[torch.Tensor] = []
        owner: List[torch.Tensor] = []
        pairs: List[torch.Tensor] = []
        vectors: List[torch.Tensor] = []
        n_atoms = 0
        for index, system in enumerate(systems):
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
        return Graph(
            species=torch.cat(species),
            system=torch.cat(owner),
            n_systems=len(systems),
            centers=centers,
            neighbors=neighbors_index,
            vectors=vector.index_select(0, order),
            reverse=reverse_indices(centers, neighbors_index, pair[:, 2:], n_atoms),
        )

    def atomic_energies(self, graph: Graph) -> torch.Tensor:
        """Energy of every atom with scale and baseline [N], float64."""
        raw = self.core(graph).to(torch.float64)
        return raw * self.scale + self.composition.index_select(0, graph.species)

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels] = None,
    ) -> Dict[str, TensorMap]:
        """Metatomic interface; energies per ``system`` or per ``atom`` of the selected atoms."""
        results: Dict[str, TensorMap] = {}
        if self.target_name not in outputs or len(systems) == 0:
            return results
        dtype = systems[0].positions.dtype
        graph = self.graph(systems)
        energies = self.atomic_energies(graph)
        counts = [len(system) for system in systems]
        kept = selection_indices(counts, selected_atoms, energies.device)
        # A system without pairs, or a rank without atoms, must still have a (zero) gradient.
        anchor = torch.stack([0.0 * system.positions.sum() for system in systems]).to(torch.float64)
        if outputs[self.target_name].sample_kind == "atom":
            system_index = graph.system.index_select(0, kept)
            values = energies.index_select(0, kept) + anchor.index_select(0, system_index)
            samples = atom_labels(counts, kept, system_index)
        else:
            owner = graph.system.index_select(0, kept)
            values = anchor.index_add(0, owner, energies.index_select(0, kept))
            index = torch.arange(len(systems), dtype=torch.int32, device=energies.device)
            samples = Labels(["system"], index.reshape(-1, 1))
        results[self.target_name] = energy_map(values.to(dtype), samples)
        return results


def selection_indices(
    counts: List[int], selected_atoms: Optional[Labels], device: torch.device
) -> torch.Tensor:
    """Positions in the concatenated atom list that ``selected_atoms`` names, ascending."""
    n_atoms = 0
    offsets: List[int] = []
    for count in counts:
        offsets.append(n_atoms)
        n_atoms += count
    if selected_atoms is None:
        return torch.arange(n_atoms, device=device)
    selected = selected_atoms.values.to(device=device, dtype=torch.int64)
    offset = torch.tensor(offsets, device=device, dtype=torch.int64)
    flat = offset.index_select(0, selected[:, 0]) + selected[:, 1]
    return flat.sort()[0]


def atom_labels(counts: List[int], kept: torch.Tensor, system_index: torch.Tensor) -> Labels:
    offsets: List[int] = []
    n_atoms = 0
    for count in counts:
        offsets.append(n_atoms)
        n_atoms += count
    offset = torch.tensor(offsets, device=kept.device, dtype=torch.int64)
    atom = kept - offset.index_select(0, system_index)
    values = torch.stack([system_index, atom], dim=1).to(torch.int32)
    return Labels(["system", "atom"], values)


def energy_map(values: torch.Tensor, samples: Labels) -> TensorMap:
    """One-block TensorMap with the single property ``energy``."""
    device = values.device
    single = torch.zeros((1, 1), dtype=torch.int32, device=device)
    block = TensorBlock(
        values=values.reshape(-1, 1),
        samples=samples,
        components=torch.jit.annotate(List[Labels], []),
        properties=Labels(["energy"], single),
    )
    return TensorMap(keys=Labels(["_"], single), blocks=[block])
