"""References for a golden pack from an exported model itself, when nothing better is left of it.

They say what the file computes today, here, in float64 if its code allows that: enough to notice
when another library, machine or copy computes something else, and no proof that it was right.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from metatomic.torch import (
    ModelEvaluationOptions,
    ModelOutput,
    System,
    load_atomistic_model,
    pick_output,
)
from vesin.metatomic import NeighborList

from mtt.data.structure import Structure
from mtt.errors import UserError

Properties = dict[str, torch.Tensor]


class ExportedModel:
    """An exported model with all its floating-point numbers in float64 where its code allows it.

    :raises UserError: it cannot be loaded, or has no energy
    """

    def __init__(self, path: Path, extensions: Path | None = None) -> None:
        folder = None if extensions is None else str(extensions)
        try:
            self._model: Any = load_atomistic_model(str(path), extensions_directory=folder)
            capabilities = self._model.capabilities()
            self.output = str(pick_output("energy", capabilities.outputs))
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"the model cannot be loaded: {_first_line(error)}",
                where=str(path),
                hint=f"'mtt verify {path}' says more",
            ) from error
        self.length_unit = str(capabilities.length_unit)
        self.energy_unit = str(capabilities.outputs[self.output].unit)
        self.atomic_types = [int(one) for one in capabilities.atomic_types]
        self.per_atom = capabilities.outputs[self.output].sample_kind == "atom"
        self.dtype = torch.float64 if capabilities.dtype == "float64" else torch.float32
        self._own = (path, folder)

    def evaluate(self, structures: Sequence[Structure]) -> list[Properties]:
        """``energies`` (NaN if it has none per atom), ``energy``, ``forces`` and ``virial`` of each.

        In float64 if that works for all of them, else in the model's own precision, which is then
        what ``dtype`` says.

        :raises UserError: the model fails
        """
        own = self.dtype
        if own == torch.float32:
            try:
                self._widen()
                return [self._one(structure) for structure in structures]
            except Exception:  # noqa: BLE001 - whatever its code throws, float64 is not to be had
                path, folder = self._own
                self._model = load_atomistic_model(str(path), extensions_directory=folder)
                self.dtype = own
        return [self._checked(structure) for structure in structures]

    def _widen(self) -> None:
        # Module.to would turn integers into floating-point numbers as well.
        for tensor in (*self._model.parameters(), *self._model.buffers()):
            if tensor.dtype == torch.float32:
                tensor.data = tensor.data.to(torch.float64)
        self.dtype = torch.float64

    def _checked(self, structure: Structure) -> Properties:
        try:
            return self._one(structure)
        except Exception as error:
            raise UserError(
                f"the model fails for this structure: {_first_line(error)}", where=structure.source
            ) from error

    def _one(self, structure: Structure) -> Properties:
        x = torch.tensor(structure.positions, dtype=self.dtype).requires_grad_()
        strain = torch.eye(3, dtype=self.dtype).requires_grad_()
        system = System(
            types=torch.tensor(structure.types, dtype=torch.int32),
            positions=x @ strain,
            cell=torch.tensor(structure.cell, dtype=self.dtype) @ strain,
            pbc=torch.tensor(structure.pbc),
        )
        for option in self._model.requested_neighbor_lists():
            finder = NeighborList(option, self.length_unit, skin=0.0)
            system.add_neighbor_list(option, finder.compute(system))
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # torch lists it nowhere
            energy = self._call(system, "system").reshape(())
            forces, virial = torch.autograd.grad(-energy, [x, strain], allow_unused=True)
        count = len(structure)
        energies = torch.full((count,), float("nan"), dtype=torch.float64)
        if self.per_atom:
            energies = self._atoms(system, count)
        return {
            "energies": energies,
            "energy": energy.detach().double().reshape(1),
            "forces": _or_zeros(forces, (count, 3)),
            "virial": _or_zeros(virial, (3, 3)),
        }

    def _call(self, system: System, kind: str) -> torch.Tensor:
        block = self._block(system, kind)
        return block.values

    def _block(self, system: System, kind: str) -> Any:
        output = ModelOutput(unit=self.energy_unit, sample_kind=kind)
        options = ModelEvaluationOptions(
            length_unit=self.length_unit, outputs={self.output: output}
        )
        return self._model([system], options, check_consistency=False)[self.output].block()

    def _atoms(self, system: System, count: int) -> torch.Tensor:
        block = self._block(system, "atom")
        energies = torch.full((count,), float("nan"), dtype=torch.float64)
        atoms = block.samples.column("atom").to(torch.int64)
        energies[atoms] = block.values.detach().double().reshape(-1)
        return energies


def _or_zeros(tensor: torch.Tensor | None, shape: tuple[int, int]) -> torch.Tensor:
    if tensor is None:
        return torch.zeros(shape, dtype=torch.float64)
    return tensor.detach().double().contiguous()


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # TorchScript says last what was wrong.
    return lines[-1].strip() if lines else type(error).__name__
