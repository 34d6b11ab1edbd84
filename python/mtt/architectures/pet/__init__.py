"""The Point Edge Transformer (PET) of Pozdnyakov and Ceriotti: a transformer over the edges
around each atom, passing messages between atoms, rotationally invariant by augmentation.

pet@2 describes an edge by radial functions too, and has no switch whose second derivative jumps.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mtt.architectures.pet.hypers import ModelHypers, TrainingHypers
from mtt.plugins import Architecture, Upgrade

if TYPE_CHECKING:
    from mtt.architectures.interface import Core


def _build_core(hypers: ModelHypers, atomic_types: Sequence[int]) -> "Core":
    from mtt.architectures.pet.model import build_core

    return build_core(hypers, list(atomic_types))


def _one_to_two(hypers: dict[str, Any]) -> dict[str, Any]:
    return {**hypers, "num_radial": 0}


def _not_to_two(hypers: dict[str, Any]) -> str | None:
    function = hypers.get("cutoff_function", "Bump")
    return None if function == "Bump" else f"the cutoff function {function} is of pet@1 only"


architecture = Architecture(
    name="pet",
    version=2,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
    references={
        "model": [],
        "architecture": ["https://arxiv.org/abs/2305.19302"],
        "implementation": [],
    },
    upgrades={1: Upgrade(hypers=_one_to_two, refuses=_not_to_two)},
)
