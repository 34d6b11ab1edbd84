"""Exported models, called as MD engines call them: values of targets, forces and strain by autograd."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from metatomic.torch import (
    ModelEvaluationOptions,
    ModelOutput,
    System,
    load_atomistic_model,
)
from numpy.typing import NDArray
from vesin.metatomic import NeighborList

from mtt.architectures.evaluate import Values
from mtt.data.dataset import unknown_type
from mtt.data.structure import Structure
from mtt.data.target import ENERGY, Target
from mtt.errors import UserError
from mtt.export import golden_pack
from mtt.filetypes import bounded_zip

_LONGEST_HEADER = 2**24


class ExportedModel:
    """A model file of metatomic, made by mtt or by another program.

    - ``targets``: what it predicts, as its golden pack describes them; for a file without one, its
      outputs ``energy`` and ``energy/VARIANT`` as energies, and those called ``OWNER::NAME`` as
      scalars of which little is known;
    - ``described``: whether a golden pack says what the targets are;
    - ``outputs``: what metatomic says of each of its outputs, by name;
    - ``length_unit``: of positions and cells, empty if the file declares none;
    - ``dtype``: of its inputs and outputs.

    :param device: where it runs
    :param extensions: folder of the compiled extensions that it needs
    :param widen: turn all its floating-point numbers into float64, which not every code allows
    :raises UserError: it cannot be loaded
    """

    kind = "exported model"

    def __init__(
        self,
        path: Path,
        device: torch.device | str = "cpu",
        extensions: Path | None = None,
        widen: bool = False,
    ) -> None:
        folder = None if extensions is None else str(extensions)
        self.device = torch.device(device)
        try:
            self._model: Any = load_atomistic_model(str(path), extensions_directory=folder)
            self._model = self._model.to(self.device)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"the file is not an exported model that can be loaded: {first_line(error)}",
                where=str(path),
                hint=f"'mtt verify {path}' says more",
            ) from error
        capabilities = self._model.capabilities()
        self.outputs: dict[str, Any] = dict(capabilities.outputs)
        self.length_unit = str(capabilities.length_unit)
        self.atomic_types = [int(atomic_type) for atomic_type in capabilities.atomic_types]
        self.dtype = torch.float64 if capabilities.dtype == "float64" else torch.float32
        pack = [target for target in _described(path) if target.name in self.outputs]
        self.described = bool(pack)
        self.targets = pack or _inferred(self.outputs)
        # Metatomic compares what it gets with the dtype that the file declares.
        self._check = not widen
        if widen:
            self._widen()

    def has_atoms(self, target: Target) -> bool:
        """Return whether it gives values of each atom for a target."""
        return bool(self.outputs[target.name].sample_kind == "atom")

    def evaluate(
        self,
        structures: Sequence[Structure],
        targets: Sequence[Target],
        atoms: bool = False,
    ) -> dict[str, Values]:
        """Return values, forces and strain derivatives of S structures in one call, all float64.

        :param targets: of its outputs; what a target says of itself is believed
        :param atoms: also ask for the values of atoms of targets per system, which are NaN otherwise
            and where it gives none
        :raises UserError: an atomic type that it does not know
        """
        for structure in structures:
            _check_types(structure, self.atomic_types)
        positions, strains, systems = self._systems(structures)
        # Profiling and recompiling pay off over thousands of calls of one shape, not here.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # torch lists it nowhere
            kinds = {target.name: target.per for target in targets}
            results = self._call(systems, kinds)
            derived = [target.name for target in targets if target.is_energy]
            gradients = {
                name: _gradients(results[name], [*positions, *strains], name != derived[-1])
                for name in derived
            }
            asked = [t.name for t in targets if atoms and t.per == "system" and self.has_atoms(t)]
            parts = self._call(systems, dict.fromkeys(asked, "atom")) if asked else {}
        values: dict[str, Values] = {}
        for target in targets:
            result = results[target.name].detach().double()
            forces = strain = None
            if target.name in gradients:
                by_position = gradients[target.name][: len(structures)]
                forces = -torch.cat(by_position).double()
                strain = torch.stack(gradients[target.name][len(structures) :]).double()
            if target.per == "atom":
                values[target.name] = Values(result)
                continue
            n_atoms = sum(len(structure) for structure in structures)
            none = result.new_full((n_atoms, result.shape[1]), float("nan"))
            part = parts[target.name].detach().double() if target.name in parts else none
            values[target.name] = Values(part, result, forces, strain)
        return values

    def _widen(self) -> None:
        # Module.to would turn integers into floating-point numbers as well.
        for tensor in (*self._model.parameters(), *self._model.buffers()):
            if tensor.dtype == torch.float32:
                tensor.data = tensor.data.to(torch.float64)
        self.dtype = torch.float64

    def _call(self, systems: list[Any], kinds: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return the rows of each output, in the order of systems and of their atoms.

        :param kinds: ``system`` or ``atom`` by the name of the output
        """
        outputs = {
            name: ModelOutput(unit=self.outputs[name].unit, sample_kind=kind)
            for name, kind in kinds.items()
        }
        options = ModelEvaluationOptions(length_unit=self.length_unit, outputs=outputs)
        results = self._model(systems, options, check_consistency=self._check)
        counts = torch.tensor([len(system) for system in systems])
        first = torch.cumsum(counts, 0) - counts
        rows: dict[str, torch.Tensor] = {}
        for name, kind in kinds.items():
            block = results[name].block()
            values = block.values
            if values.dim() != 2:
                raise ValueError(f"its output '{name}' is no scalar")
            place = block.samples.column("system").to("cpu", torch.int64)
            total = len(systems)
            if kind == "atom":
                place = first[place] + block.samples.column("atom").to("cpu", torch.int64)
                total = int(counts.sum())
            # Models of others may list samples in any order, or leave some out.
            ordered = values.new_full((total, values.shape[1]), float("nan"))
            rows[name] = ordered.index_copy(0, place.to(self.device), values)
        return rows

    def _systems(
        self, structures: Sequence[Structure]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[Any]]:
        """Return leaves for positions and strains, and the systems that depend on them."""
        finders = [
            NeighborList(option, self.length_unit, skin=0.0)
            for option in self._model.requested_neighbor_lists()
        ]
        positions, strains, systems = [], [], []
        for structure in structures:
            x = self._tensor(structure.positions).requires_grad_()
            strain = self._tensor(np.eye(3)).requires_grad_()
            system = System(
                types=torch.tensor(structure.types, dtype=torch.int32, device=self.device),
                positions=x @ strain,
                cell=self._tensor(structure.cell) @ strain,
                pbc=torch.tensor(structure.pbc, device=self.device),
            )
            for finder in finders:
                system.add_neighbor_list(finder.options, finder.compute(system))
            positions.append(x)
            strains.append(strain)
            systems.append(system)
        return positions, strains, systems

    def _tensor(self, array: NDArray[np.float64]) -> torch.Tensor:
        return torch.tensor(array, dtype=self.dtype, device=self.device)


def first_line(error: Exception) -> str:
    """Return the line of an error that says what was wrong, which TorchScript says last."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _described(path: Path) -> tuple[Target, ...]:
    """Return the targets of the golden pack of a file; none if it has none that can be read."""
    try:
        with bounded_zip.opened(path) as archive:
            for name in archive.namelist():
                if name.partition("/")[2] == f"extra/{golden_pack.RECORD}":
                    content = bounded_zip.read(archive, name, _LONGEST_HEADER)
                    contents = golden_pack.read_contents(content)
                    # Format 1 says no more than the name of the output does.
                    return golden_pack.targets_of(contents) if contents["format"] > 1 else ()
    except (bounded_zip.ZipProblem, ValueError):
        # A damaged pack is for the verifier to judge.
        pass
    return ()


def _inferred(outputs: dict[str, Any]) -> list[Target]:
    targets: list[Target] = []
    for name, output in outputs.items():
        stem = name.partition("/")[0]
        if stem == ENERGY:
            target = Target(name, unit=output.unit, description=output.description)
            targets.append(target.with_all_gradients())
        elif "::" in stem:
            per: Any = "atom" if output.sample_kind == "atom" else "system"
            quantity = stem.rpartition("::")[2]
            targets.append(Target(name, quantity, output.unit, per, description=output.description))
    return targets


def _gradients(
    values: torch.Tensor, inputs: list[torch.Tensor], retain_graph: bool
) -> list[torch.Tensor]:
    if not values.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    gradients = torch.autograd.grad(
        values.sum(), inputs, allow_unused=True, retain_graph=retain_graph
    )
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(inputs, gradients, strict=True)
    ]


def _check_types(structure: Structure, atomic_types: Collection[int]) -> None:
    unknown = ~np.isin(structure.types, list(atomic_types))
    if unknown.any():
        raise unknown_type(structure, int(np.flatnonzero(unknown)[0]), list(atomic_types))
