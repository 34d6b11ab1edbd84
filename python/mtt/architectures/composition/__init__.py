"""The baseline alone: a value for each atomic type, fitted to the training set, and no network.

What every other model has to be better than, and a quick way through training, export and engines.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtt.architecture_registry import Architecture
from mtt.architectures.composition.hypers import ModelHypers, TrainingHypers

if TYPE_CHECKING:
    from mtt.architectures.interface import Core
    from mtt.data.target import Target


def _build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: "Sequence[Target]"
) -> "Core":
    from mtt.architectures.composition.model import build_core

    return build_core(hypers, atomic_types, targets)


architecture = Architecture(
    name="composition",
    version=1,
    has_weights=False,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
)
