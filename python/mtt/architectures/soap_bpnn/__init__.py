"""SOAP-BPNN: networks for each atomic type on the power spectrum of the neighbor density.

Behler and Parrinello's scheme of a network per type, on the descriptor of Bartok, Kondor and Csanyi.
Values are invariant to rotations and inversion exactly, not by training.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtt.architecture_registry import Architecture
from mtt.architectures.soap_bpnn.hypers import ModelHypers, TrainingHypers

if TYPE_CHECKING:
    from mtt.architectures.interface import Core
    from mtt.data.target import Target


def _build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: "Sequence[Target]"
) -> "Core":
    from mtt.architectures.soap_bpnn.model import build_core

    return build_core(hypers, atomic_types, targets)


def _refuses_target(target: "Target") -> str | None:
    kind: str = target.type
    if kind == "scalar":
        return None
    return f"its features are invariant, so that it predicts scalars only, not type {kind}"


architecture = Architecture(
    name="soap_bpnn",
    version=1,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
    refuses_target=_refuses_target,
    references={
        "model": [],
        "architecture": [
            "https://doi.org/10.1103/PhysRevLett.98.146401",
            "https://doi.org/10.1103/PhysRevB.87.184115",
        ],
        "implementation": [],
    },
)
