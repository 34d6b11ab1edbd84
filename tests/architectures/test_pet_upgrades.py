"""Weights of pet@2 are those of pet@3 under other names."""

import re
from typing import Any

import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.contract import ENERGY, TYPES
from mtt.architectures.pet.hypers import ModelHypers

SMALL: dict[str, Any] = {"d_pet": 4, "d_node": 6, "d_head": 3, "d_feedforward": 4, "num_heads": 1}


def old_name(name: str) -> str:
    """Return what pet@2 calls a weight of a pet@3 with one target."""
    name = re.sub(r"^readout\.(node|edge)\.0\.", r"\1_head.", name)
    return re.sub(r"^readouts\.(\d+)\.(node|edge)\.0\.", r"\2_heads.\1.", name)


@pytest.mark.parametrize("featurizer", ["feedforward", "residual"])
def test_heads_of_pet_2_get_their_new_names(featurizer: str) -> None:
    pet = architecture_registry.get("pet")
    hypers = ModelHypers(**SMALL, featurizer_type=featurizer, num_gnn_layers=3)
    new: Any = pet.build_core(hypers, TYPES, [ENERGY])
    old = {old_name(name): tensor for name, tensor in new.state_dict().items()}
    count = 1 if featurizer == "feedforward" else 3
    heads = {name for name in old if re.match(r"(node|edge)_heads?\.", name)}
    assert len(heads) == 2 * 6 * count
    upgraded = pet.upgrades[2].weights(old)
    assert upgraded.keys() == new.state_dict().keys()
    assert all(torch.equal(upgraded[name], tensor) for name, tensor in new.state_dict().items())
    # The optimizer's moments have the same names, and some may be missing.
    assert pet.upgrades[2].weights({}) == {}
    stored = hypers.model_dump()
    assert pet.upgrades[2].hypers(stored) == stored
    assert pet.why_not_upgraded(2, stored) is None
