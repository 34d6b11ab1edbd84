"""The contract catches what it is for: cores that break one promise each."""

import dataclasses

import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.contract import ArchitectureContract
from mtt.architectures.interface import Core


class Broken(Core):
    """A core that does to the values of another what ``change`` says."""

    def __init__(self, core, change):
        super().__init__()
        self.core, self.change, self.calls = core, change, 0
        self.cutoff, self.interaction_range = core.cutoff, core.interaction_range

    def forward(self, graph, targets):
        self.calls += 1
        return self.change(self, graph, targets)


class Small(ArchitectureContract):
    architecture = "pet"
    hypers = {"d_pet": 4, "d_node": 4, "d_head": 4, "d_feedforward": 4, "num_heads": 1}


def counting(self, graph, targets):
    """Values that depend on how often the core was called, which no state dict tells."""
    factor = 1 + 1e-3 * self.calls
    return {name: values * factor for name, values in self.core(graph, targets).items()}


def neighbors_of_the_request(self, graph, targets):
    """Values that depend on what else is asked for."""
    return {name: values * len(targets) for name, values in self.core(graph, targets).items()}


def flat(self, graph, targets):
    """Values [N] of the second energy instead of [N, 1]."""
    values = self.core(graph, targets)
    return {name: v.squeeze(1) if name == "energy/pbe" else v for name, v in values.items()}


def jump_of_charges(self, graph, targets):
    """Charges that jump where a neighbor leaves."""
    values = self.core(graph, targets)
    if "mtt::charges" in values:
        ones = torch.ones_like(graph.vectors[:, :1])
        values["mtt::charges"] = values["mtt::charges"].index_add(0, graph.centers, ones)
    return values


@pytest.mark.parametrize(
    ("change", "test", "message"),
    [
        (
            counting,
            "all_that_training_changes_is_in_the_state_dict",
            "something that training changed is not in its state",
        ),
        (neighbors_of_the_request, "each_target_alone_is_as_among_all", "energy: "),
        (flat, "shapes_and_dtypes", "energy/pbe"),
        (jump_of_charges, "smooth_at_the_cutoff", "a jump of the mtt::charges at the cutoff"),
    ],
)
def test_a_broken_promise_is_caught(monkeypatch, change, test, message):
    pet = architecture_registry.get("pet")

    def build(hypers, types, targets):
        return Broken(pet.build_core(hypers, types, targets), change)

    monkeypatch.setattr(
        architecture_registry, "get", lambda _: dataclasses.replace(pet, build_core=build)
    )
    with pytest.raises(AssertionError, match=message):
        getattr(Small(), f"test_{test}")()


def test_a_core_that_only_says_that_it_turns_is_caught(monkeypatch):
    monkeypatch.setattr(Core, "turns_exactly", True)
    with pytest.raises(AssertionError, match="energy: "):
        Small().test_values_turn_with_the_structure()
