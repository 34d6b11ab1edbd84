"""composition@1 keeps the architecture contract, and gives the baseline and nothing else."""

import torch

from mtt.architectures.contract import ArchitectureContract
from mtt.architectures.contract.structures import crystal, molecule


class TestComposition(ArchitectureContract):
    architecture = "composition"

    def test_values_are_those_of_the_baseline(self) -> None:
        potential = self.potential()
        graph = self.graph([molecule(), crystal()])
        for name, values in potential.evaluate(graph).items():
            composition = potential.baseline(name).composition
            assert torch.equal(values.atoms, composition.index_select(0, graph.species))
            if values.forces is not None and values.strain is not None:
                assert not bool(values.forces.any()) and not bool(values.strain.any())
