"""Lennard-Jones potentials whose parameters mtt fits: ``architecture: lj``.

Torch is imported when a model is built, so that options are checked before.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mtt.architecture_registry import Architecture
from mtt.options.schema.training import TrainingHypers
from mtt_lj.hypers import ModelHypers

if TYPE_CHECKING:
    from mtt.architectures.interface import Core
    from mtt.data.target import Target


def _build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: "Sequence[Target]"
) -> "Core":
    from mtt_lj.model import LennardJones

    return LennardJones(hypers, len(atomic_types), targets)


def _refuses(hypers: Any, target: "Target") -> str | None:
    return None if target.type == "scalar" else "a sum over pairs has no direction"


architecture = Architecture(
    name="lj",
    version=1,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
    refuses=_refuses,
    references={
        "model": [],
        "architecture": ["https://doi.org/10.1098/rspa.1924.0082"],
        "implementation": [],
    },
)
