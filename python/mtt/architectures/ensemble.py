"""Several models of one architecture, trained side by side from different random weights.

Source: Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation
using deep ensembles", NeurIPS 2017, arXiv:1612.01474.
"""

from collections.abc import Sequence
from typing import Dict, List, Tuple

import torch

from mtt.architectures.interface import Core, CoreInterface, features_of, scripted, with_modules
from mtt.data.graph import Graph


class Ensemble(Core):
    """Predicts the mean of its members; its features are their deviations from it, and the atomic type.

    :param members: of the same architecture, hypers, atomic types and targets
    :param seeds: of their initial weights
    """

    has_features = True

    def __init__(self, members: Sequence[Core], seeds: Sequence[int], n_types: int) -> None:
        super().__init__()
        self.n_types = n_types
        self.seeds = list(seeds)
        self.members = torch.nn.ModuleList(members)
        self.cutoff = members[0].cutoff
        self.interaction_range = members[0].interaction_range
        self.has_sums = members[0].has_sums
        self.turns_exactly = members[0].turns_exactly
        self.max_charge = members[0].max_charge
        self.max_spin_multiplicity = members[0].max_spin_multiplicity
        self.sees_positions = members[0].sees_positions

    def __prepare_scriptable__(self) -> "Ensemble":
        """Return a copy whose members are scripted; torch.jit.script calls this first."""
        members = [scripted(member) for member in trained_cores(self)]
        return with_modules(self, members=torch.nn.ModuleList(members))

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return the mean raw values [N, numbers] of ``targets``; features are [N, members + types]."""
        names: List[str] = []
        for name in targets:
            plain = name[len("features/") :] if name.startswith("features/") else name
            if plain not in names:
                names.append(plain)
        parts: List[Dict[str, torch.Tensor]] = []
        for index in range(len(self.members)):
            # A ModuleList holds modules, for mypy.
            member: CoreInterface = self.members[index]  # type: ignore[assignment]
            parts.append(member.forward(graph, names))
        values: Dict[str, torch.Tensor] = {}
        for name in names:
            stacked = torch.stack([part[name] for part in parts])
            if name in targets:
                values[name] = stacked.mean(dim=0)
            if features_of(name) in targets:
                values[features_of(name)] = self.features(stacked, graph.species)
        return values

    def features(self, stacked: torch.Tensor, species: torch.Tensor) -> torch.Tensor:
        """Return the features [N, members * P + types] of what the members give [members, N, P]."""
        kinds = torch.arange(self.n_types, device=stacked.device)
        own = (species[:, None] == kinds).to(stacked.dtype)
        deviations = (stacked - stacked.mean(dim=0)).permute(1, 2, 0).flatten(1)
        return torch.cat([deviations, own], dim=1)

    @torch.jit.export
    def sums(
        self, graph: Graph, target: str, features: bool, kept: torch.Tensor, tokens: int
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the mean of what the members give, and their deviations; see :class:`Core`."""
        gradient = torch.zeros_like(graph.vectors)
        parts: List[torch.Tensor] = []
        for index in range(len(self.members)):
            # A ModuleList holds modules, for mypy.
            member: CoreInterface = self.members[index]  # type: ignore[assignment]
            value, slope, none = member.sums(graph, target, False, kept, tokens)
            parts.append(value)
            gradient = gradient + slope / len(self.members)
        stacked = torch.stack(parts)
        values = stacked.mean(dim=0)
        deviations = values.new_zeros((values.shape[0], 0))
        if features:
            every = self.features(stacked, graph.species)
            deviations = torch.zeros_like(every).index_copy(0, kept, every.index_select(0, kept))
        return values, gradient, deviations


def trained_cores(core: Core) -> list[Core]:
    """Return the networks that have a loss of their own: the members of an ensemble, or the core."""
    if not isinstance(core, Ensemble):
        return [core]
    return [member for member in core.members if isinstance(member, Core)]
