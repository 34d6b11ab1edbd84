"""The Point Edge Transformer (PET) of Pozdnyakov and Ceriotti: a transformer over the edges
around each atom, passing messages between atoms, rotationally invariant by augmentation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtt.architectures.pet.hypers import ModelHypers, TrainingHypers
from mtt.architectures.registry import Architecture

if TYPE_CHECKING:
    from mtt.architectures.graph import Core


def _build_core(hypers: ModelHypers, atomic_types: Sequence[int]) -> "Core":
    from mtt.architectures.pet.model import build_core

    return build_core(hypers, list(atomic_types))


architecture = Architecture(
    name="pet",
    version=1,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
    references={
        "model": [],
        "architecture": ["https://arxiv.org/abs/2305.19302"],
        "implementation": [],
    },
)
