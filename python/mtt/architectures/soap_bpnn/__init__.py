"""SOAP power spectra and networks for each atomic type: exactly invariant, and fast on a CPU.

soap_bpnn@2 has the weight of an atom in its own density as an option, 0 by default, where it was 1.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mtt.architecture_registry import Architecture, Upgrade
from mtt.architectures.soap_bpnn.hypers import ModelHypers, TrainingHypers

if TYPE_CHECKING:
    from mtt.architectures.interface import Core
    from mtt.data.target import Target


def _build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: "Sequence[Target]"
) -> "Core":
    from mtt.architectures.soap_bpnn.model import build_core

    return build_core(hypers, atomic_types, targets)


def _refuses(hypers: Any, target: "Target") -> str | None:
    from mtt.architectures.soap_bpnn.model import why_not

    return why_not(hypers, target)


def _one_to_two(hypers: dict[str, Any]) -> dict[str, Any]:
    return {**hypers, "soap": {**hypers.get("soap", {}), "center_weight": 1.0}}


architecture = Architecture(
    name="soap_bpnn",
    version=2,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
    refuses=_refuses,
    references={
        "model": [],
        "architecture": [
            "https://doi.org/10.1103/PhysRevB.87.184115",
            "https://doi.org/10.1103/PhysRevLett.98.146401",
        ],
        "implementation": [],
    },
    upgrades={1: Upgrade(hypers=_one_to_two)},
    old_defaults={1: {"soap": {"channels": 16, "center_weight": 1.0}}},
)
