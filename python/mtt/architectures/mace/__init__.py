"""MACE: messages of many bodies that turn with the atoms, made of the blocks of mace-torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mtt.architecture_registry import Architecture
from mtt.architectures.mace.hypers import ModelHypers, TrainingHypers
from mtt.architectures.mace.mace_torch import check_installed

if TYPE_CHECKING:
    from mtt.architectures.interface import Core
    from mtt.data.target import Target


def _build_core(
    hypers: ModelHypers, atomic_types: Sequence[int], targets: "Sequence[Target]"
) -> "Core":
    from mtt.architectures.mace.model import build_core

    return build_core(hypers, atomic_types, targets)


def _refuses(hypers: Any, target: "Target") -> str | None:
    """Return why there can be no such target.

    :raises UserError: mace-torch is not installed, which is to be told before anything is fitted
    """
    del hypers
    check_installed()
    if target.type != "scalar":
        return f"mace@1 has scalars only, and this is a {target.type}"
    return None


architecture = Architecture(
    name="mace",
    version=1,
    ModelHypers=ModelHypers,
    TrainingHypers=TrainingHypers,
    build_core=_build_core,
    refuses=_refuses,
    packages=("mace-torch", "e3nn"),
    references={
        "model": [],
        "architecture": ["https://doi.org/10.48550/arXiv.2206.07697"],
        "implementation": ["https://github.com/ACEsuit/mace"],
    },
)
