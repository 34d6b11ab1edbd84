"""Faults of the wrapper around a model: units, unknown types, copies of the inputs.

Nothing forces a file to be written with metatomic's ``AtomisticModel``: engines only need modules
with these methods. ``BareModel`` is such a module, without the conversions and checks of the other.
"""

from pathlib import Path
from typing import Dict, List, Tuple  # noqa: UP035  (for TorchScript)

import torch
from corpus import fault
from metatensor.torch import TensorMap
from metatomic.torch import (
    ModelCapabilities,
    ModelEvaluationOptions,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)
from toy_models import Pair, capabilities, golden_pack, neighbor_edges, save

# ruff: noqa: UP006, UP045


class BareModel(torch.nn.Module):
    """The methods that engines call, and nothing else."""

    def __init__(self, module: Pair) -> None:
        super().__init__()
        self.module = module
        self._capabilities = capabilities(module)
        self._metadata = ModelMetadata(name="bare")

    @torch.jit.export
    def capabilities(self) -> ModelCapabilities:
        return self._capabilities

    @torch.jit.export
    def metadata(self) -> ModelMetadata:
        return self._metadata

    @torch.jit.export
    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        lists = self.module.requested_neighbor_lists()
        for options in lists:
            options.length_unit = "angstrom"
        return lists

    @torch.jit.export
    def requested_inputs(self, use_new_names: bool = False) -> Dict[str, ModelOutput]:
        return torch.jit.annotate(Dict[str, ModelOutput], {})

    def forward(
        self, systems: List[System], options: ModelEvaluationOptions, check_consistency: bool
    ) -> Dict[str, TensorMap]:
        return self.module(systems, options.outputs, options.selected_atoms)


def export_bare(path: Path, module: Pair) -> None:
    save(path, BareModel(module).eval(), golden_pack(Pair()))


@fault("P16", "SCHEMA/engine units")
def units_not_converted(path: Path) -> None:
    """Takes every engine's numbers for angstrom and returns eV: right in ASE, wrong elsewhere."""
    export_bare(path, Pair())


class AnyType(Pair):
    """Takes types it does not know for hydrogen."""

    def __init__(self) -> None:
        super().__init__()
        self.species_of_type.clamp_(min=0)


@fault("P14", "SCHEMA/unknown atomic type")
def unknown_type_accepted(path: Path) -> None:
    """Atoms of a type that was never trained get the energy of another one."""
    export_bare(path, AnyType())


class PositionsCentered(Pair):
    """Moves the system's own positions to their center."""

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if len(system) > 0:
            system.positions.data.sub_(system.positions.data.mean(dim=0))
        return neighbor_edges(system, self.cutoff, True, True)


@fault("N19", "NTH/inputs unchanged", arguments=("--allow-operator", "prim::data,aten::data"))
def positions_mutated(path: Path) -> None:
    """Centers the positions in place: an engine that shares the memory moves its atoms."""
    export_bare(path, PositionsCentered())
