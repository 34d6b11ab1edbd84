"""The contract catches what it is for: here, state that hides from checkpoints."""

import dataclasses

import pytest
import torch

from mtt import plugins
from mtt.architectures.contract import ArchitectureContract


class Counting(torch.nn.Module):
    """A core whose energies depend on how often it was called, which no state dict tells."""

    def __init__(self, core):
        super().__init__()
        self.core, self.calls = core, 0
        self.cutoff, self.interaction_range = core.cutoff, core.interaction_range

    def forward(self, graph):
        self.calls += 1
        return self.core(graph) * (1 + 1e-3 * self.calls)


class Small(ArchitectureContract):
    architecture = "pet"
    hypers = {"d_pet": 4, "d_node": 4, "d_head": 4, "d_feedforward": 4, "num_heads": 1}


def test_state_outside_the_state_dict_is_caught(monkeypatch):
    pet = plugins.get("pet")

    def build(hypers, types):
        return Counting(pet.build_core(hypers, types))

    monkeypatch.setattr(plugins, "get", lambda _: dataclasses.replace(pet, build_core=build))
    with pytest.raises(AssertionError, match="something that training changed is not in its state"):
        Small().test_all_that_training_changes_is_in_the_state_dict()
