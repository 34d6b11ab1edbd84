"""Any core with what makes values of its raw values, evaluated on graphs: what is trained.

:class:`mtt.architectures.potential.Potential` is the same for engines. Nothing here imports metatomic,
which compiles functions of its own while it is imported: a fifth of the time to a first step of training.
"""

from collections.abc import Sequence
from typing import Dict, List, Self

import torch

from mtt.architectures.baseline import Baseline
from mtt.architectures.conditioning import States
from mtt.architectures.evaluate import Values, evaluate, summed
from mtt.architectures.interface import Core, CoreInterface, features_of
from mtt.architectures.uncertainty import Uncertainty
from mtt.architectures.zbl import Repulsion
from mtt.data.derived_targets import ensemble_of, is_wide, uncertainty_of
from mtt.data.graph import Graph
from mtt.data.target import Target


class GraphModel(torch.nn.Module):
    """A core with baseline and scale of each target.

    :param core: the architecture's network
    :param atomic_types: sorted atomic types the core was built for
    :param targets: what the model predicts, in the order that the core was built for
    :param length_unit: unit of positions and cells
    :param zbl: whether energies have the repulsion of :mod:`mtt.architectures.zbl` in them
    """

    core: CoreInterface
    species_of_type: torch.Tensor
    # TorchScript cannot tell the types of empty lists.
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
        super().__init__()
        self.core = core
        self.atomic_types = list(atomic_types)
        self.targets = tuple(targets)
        self.length_unit = length_unit
        self.cutoff = core.cutoff
        self.interaction_range = core.interaction_range
        n_types = len(self.atomic_types)
        self.baselines = torch.nn.ModuleList(
            [Baseline(n_types, target.numbers, target.per_volume) for target in targets]
        )
        # One or none.
        repulsions = [Repulsion(atomic_types, targets, length_unit, core.cutoff)] if zbl else []
        self.repulsions = torch.nn.ModuleList(repulsions)
        self.repulsion_factors = repulsions[0].factors if zbl else [0.0 for _ in targets]
        # One or none as well: what reads charge and spin of systems.
        limits = (core.max_charge, core.max_spin_multiplicity)
        self.states = torch.nn.ModuleList([self.states_of(*limits)] if limits[1] > 0 else [])
        # TorchScript knows no dataclasses.
        self.target_names = [target.name for target in targets]
        self.types = [target.type for target in targets]
        self.properties = [target.properties for target in targets]
        self.numbers = [target.numbers for target in targets]
        self.per_volume = [target.per_volume for target in targets]
        # One empty pair keeps the type of the list for models without spherical targets.
        self.irreps = [[list(pair) for pair in target.irreps or ((0, 1),)] for target in targets]
        species = torch.full((max(self.atomic_types) + 1,), -1, dtype=torch.int64)
        # Not arange, which imports sympy on the meta device.
        species[torch.tensor(self.atomic_types)] = torch.tensor(range(n_types))
        # Derived from atomic_types, so it has no place in a checkpoint.
        self.register_buffer("species_of_type", species, persistent=False)
        self.set_uncertainties([])

    @torch.jit.unused
    def states_of(self, max_charge: int, max_spin_multiplicity: int) -> States:
        """Return the module that knows the charges and spins that the model is trained with."""
        return States(max_charge, max_spin_multiplicity)

    def set_uncertainties(self, uncertainties: Sequence[Uncertainty]) -> None:
        """Give the model outputs for the uncertainties of some of its scalar targets."""
        self.uncertainties = torch.nn.ModuleList(uncertainties)
        derived: list[Target] = []
        self.uncertainty_names = []
        self.ensemble_names = []
        self.uncertain = []
        for uncertainty in uncertainties:
            index = self.target_names.index(uncertainty.target)
            self.uncertain.append(index)
            outputs = [uncertainty_of(self.targets[index])]
            self.uncertainty_names.append(outputs[0].name)
            if uncertainty.n_members > 0:
                outputs.append(ensemble_of(self.targets[index], uncertainty.n_members))
            self.ensemble_names.append(outputs[1].name if len(outputs) > 1 else "")
            derived += outputs
        # Everything that the model can be asked for. No property: TorchScript would compile it.
        self.outputs = (*self.targets, *derived)

    def set_precision(self, dtype: torch.dtype) -> Self:
        """Convert the core to ``dtype``; baselines and scales stay float64."""
        self.core.to(dtype)
        return self

    def known_states(self) -> tuple[list[int], list[int]] | None:
        """Return the charges and spin multiplicities that it is trained with; None without them."""
        for states in self.states:
            assert isinstance(states, States)
            return states.known()
        return None

    def baseline(self, name: str) -> Baseline:
        """Return the baseline of a target."""
        baseline = self.baselines[self.target_names.index(name)]
        assert isinstance(baseline, Baseline)
        return baseline

    def evaluate(
        self,
        graph: Graph,
        targets: Sequence[Target] | None = None,
        derivatives: bool = True,
        volumes: torch.Tensor | None = None,
    ) -> dict[str, Values]:
        """Return the values of targets (all if None) with baseline and scale, in float64.

        :param derivatives: whether to give forces and strain derivatives of energies
        :param volumes: [S], of the structures, 0 where there is none: what targets per volume need,
            whose values are NaN without one
        """
        chosen = self.targets if targets is None else targets
        values: dict[str, Values] = {}
        for name, raw in evaluate(self.core, graph, chosen, None if derivatives else ()).items():
            baseline = self.baseline(name)
            atoms = baseline(raw.atoms.detach(), graph.species)
            systems = None if raw.systems is None else summed(atoms, graph)
            if systems is not None and self.per_volume[self.target_names.index(name)]:
                atoms, systems = _over_volumes(atoms, systems, graph, volumes)
            gradients = [
                None if gradient is None else gradient.detach().to(torch.float64) * baseline.scale
                for gradient in (raw.forces, raw.strain)
            ]
            values[name] = Values(atoms, systems, *gradients)
        for repulsion in self.repulsions:
            assert isinstance(repulsion, Repulsion)
            values |= repulsion.added_to(values, self.target_names, graph, derivatives)
        return values

    def evaluate_derived(self, graph: Graph) -> dict[str, Values]:
        """Return uncertainties and ensembles by their names, in float64.

        Ensembles of very many members, of values of systems, have no rows of atoms: these may be larger
        than memory.
        """
        values: dict[str, Values] = {}
        for index, uncertainty in enumerate(self.uncertainties):
            assert isinstance(uncertainty, Uncertainty)
            target = self.targets[self.uncertain[index]]
            with torch.no_grad():
                parts = self.atomic_values(graph, [target.name, features_of(target.name)])
                rows, features = parts[target.name], parts[features_of(target.name)]
                pairs: list[tuple[torch.Tensor, ...]] = [(rows, features)]
                if target.per == "system":
                    pairs.append((summed(rows, graph), summed(features, graph)))
                values[self.uncertainty_names[index]] = Values(
                    *(uncertainty(part, number == 0) for number, (_, part) in enumerate(pairs))
                )
                if self.ensemble_names[index]:
                    if is_wide(ensemble_of(target, uncertainty.n_members)):
                        pairs[0] = (rows[:0], features[:0])
                    values[self.ensemble_names[index]] = Values(
                        *(uncertainty.members(summed, total) for total, summed in pairs)
                    )
        return values

    def atomic_values(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return the values [N, numbers] of every atom with scale and baseline, float64; features too."""
        return self.from_raw(graph, self.core.forward(graph, targets), targets)

    def from_raw(
        self, graph: Graph, raw: Dict[str, torch.Tensor], targets: List[str]
    ) -> Dict[str, torch.Tensor]:
        """Return the values of raw values, as :meth:`atomic_values` does."""
        values: Dict[str, torch.Tensor] = {}
        for place in self.uncertain:
            name = features_of(self.target_names[place])
            if name in targets:
                values[name] = raw[name].to(torch.float64)
        for index, baseline in enumerate(self.baselines):
            name = self.target_names[index]
            if name in targets:
                values[name] = baseline(raw[name], graph.species)
        for repulsion in self.repulsions:
            energies = repulsion(graph)
            for index, name in enumerate(self.target_names):
                factor = self.repulsion_factors[index]
                if name in values and factor != 0.0:
                    values[name] = values[name] + factor * energies
        return values


def _over_volumes(
    atoms: torch.Tensor, systems: torch.Tensor, graph: Graph, volumes: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide values of atoms and of systems by the volume of their structure; NaN where it is 0."""
    if volumes is None:
        volumes = systems.new_zeros(graph.n_systems)
    volumes = volumes.to(systems)
    inverse = torch.where(volumes > 0.0, 1.0 / volumes, torch.full_like(volumes, float("nan")))
    inverse = inverse.reshape(-1, 1)
    return atoms * inverse.index_select(0, graph.system), systems * inverse
