"""What an architecture with features of the last layer must keep."""

from typing import Any

import torch

from mtt.architectures.contract.assertions import assert_same
from mtt.architectures.contract.structures import crystal, molecule
from mtt.architectures.contract.subject import Subject
from mtt.architectures.interface import features_of


class FeatureContract(Subject):
    """The part of the contract about features, for cores that say that they have some."""

    def test_features_belong_to_atoms_and_change_no_value(self) -> None:
        core: Any = self.potential().core
        scalars = [target.name for target in self.targets if target.type == "scalar"]
        if not core.has_features:
            return
        both, one = self.graph([molecule(), crystal()]), self.graph([molecule()])
        nothing = self.graph([])
        with torch.no_grad():
            for name in scalars:
                asked = [name, features_of(name)]
                together, alone = core(both, asked), core(one, asked)
                features = together[features_of(name)]
                n_atoms = one.species.shape[0]
                assert features.ndim == 2 and features.shape[0] == both.species.shape[0]
                assert features.dtype == both.vectors.dtype
                assert bool(torch.isfinite(features).all()) and bool(features.any())
                assert_same({name: features[:n_atoms]}, {name: alone[features_of(name)]})
                assert_same({name: core(both, [name])[name]}, {name: together[name]})
                assert core(nothing, asked)[features_of(name)].shape == (0, features.shape[1])
