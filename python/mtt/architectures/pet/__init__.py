"""The Point Edge Transformer (PET) of Pozdnyakov and Ceriotti: a transformer over the edges
around each atom, passing messages between atoms, rotationally invariant by augmentation.

pet@2 describes an edge by radial functions too, and has no switch whose second derivative jumps.
pet@3 has heads for each of several targets.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mtt.architecture_registry import Architecture, Upgrade
from mtt.architectures.pet.hypers import ModelHypers, TrainingHypers

if TYPE_CHECKING:
    import torch

    from mtt.architectures.interface import Core
    from mtt.data.target import Target


def _build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: "Sequence[Target]"
) -> "Core":
    from mtt.architectures.pet.model import build_core

    return build_core(hypers, atomic_types, targets)


def _one_to_two(hypers: dict[str, Any]) -> dict[str, Any]:
    return {**hypers, "num_radial": 0}


def _not_to_two(hypers: dict[str, Any]) -> str | None:
    function = hypers.get("cutoff_function", "Bump")
    return None if function == "Bump" else f"the cutoff function {function} is of pet@1 only"


def _weights_three(weights: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Rename the heads of the only target of pet@2."""
    return {_name_three(name): tensor for name, tensor in weights.items()}


def _name_three(name: str) -> str:
    name = re.sub(r"^(node|edge)_head\.", r"readout.\1.0.", name)
    return re.sub(r"^(node|edge)_heads\.(\d+)\.", r"readouts.\2.\1.0.", name)


architecture = Architecture(
    name="pet",
    version=3,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
    references={
        "model": [],
        "architecture": ["https://arxiv.org/abs/2305.19302"],
        "implementation": [],
    },
    upgrades={
        1: Upgrade(hypers=_one_to_two, refuses=_not_to_two),
        2: Upgrade(weights=_weights_three),
    },
)
