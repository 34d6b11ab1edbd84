"""Exported models: values of targets, forces and strain, from the sandbox in which the file runs."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtt.architectures.evaluate import Values
from mtt.data.dataset import unknown_type
from mtt.data.structure import Structure
from mtt.data.target import ENERGY, Target
from mtt.errors import UserError
from mtt.export import golden_pack
from mtt.filetypes import bounded_zip
from mtt.verify.predictions import (
    NO_EXCEPTIONS,
    Exceptions,
    ModelFailed,
    ModelProcess,
    System,
    Wanted,
)

_LONGEST_HEADER = 2**24
_SUPPLIED = ("charge", "spin_multiplicity")


class ExportedModel:
    """A model file of metatomic, made by mtt or by another program.

    - ``targets``: what it predicts, as its golden pack describes them; for a file without one, its
      outputs ``energy`` and ``energy/VARIANT`` as energies, and those called ``OWNER::NAME`` as
      scalars of which little is known;
    - ``described``: whether a golden pack says what the targets are;
    - ``outputs``: unit, sample_kind and description of each of its outputs, by name;
    - ``length_unit``: of positions and cells, empty if the file declares none;
    - ``dtype``: of its inputs and outputs;
    - ``conditioned``: whether it asks for the charge or spin of structures.

    It runs on the CPU, in a process of its own that can neither write files nor reach the network.

    :param extensions: folder of the compiled extensions that it needs
    :param exceptions: what it may do beyond what any model may
    :param widen: turn all its floating-point numbers into float64, which not every code allows
    :raises UserError: it cannot be loaded, or needs inputs besides positions, types and cell, charge and spin
    """

    kind = "exported model"
    own_process = True

    def __init__(
        self,
        path: Path,
        extensions: Path | None = None,
        widen: bool = False,
        exceptions: Exceptions = NO_EXCEPTIONS,
    ) -> None:
        try:
            self._process = ModelProcess(path, extensions, widen, exceptions)
        except ModelFailed as error:
            raise UserError(
                f"the file is not an exported model that can be loaded: {error}",
                where=str(path),
                hint=f"'mtt verify {path}' says more",
            ) from error
        about = self._process.about
        unknown = [name for name in about["requested_inputs"] if name not in _SUPPLIED]
        if unknown:
            raise _needs_inputs(path, unknown)
        self.conditioned = bool(about["requested_inputs"])
        # The model itself refuses those that it does not know.
        self.states: tuple[list[int], list[int]] | None = None
        self.outputs: dict[str, dict[str, str]] = {item["name"]: item for item in about["outputs"]}
        self.length_unit = str(about["length_unit"])
        self.atomic_types = [int(atomic_type) for atomic_type in about["atomic_types"]]
        wide = widen or about["dtype"] == "float64"
        self.dtype = torch.float64 if wide else torch.float32
        pack = [target for target in _described(path) if target.name in self.outputs]
        self.described = bool(pack)
        self.targets = pack or _inferred(self.outputs)
        self.device = torch.device("cpu")
        # Its file does not say what it adds for an atom.
        self.baselines: dict[str, dict[int, float]] = {}

    def close(self) -> None:
        """End its process."""
        self._process.close()

    def has_atoms(self, target: Target) -> bool:
        """Return whether it gives values of each atom for a target."""
        return bool(self.outputs[target.name]["sample_kind"] == "atom")

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
        :raises ModelFailed: the model cannot do it
        """
        for structure in structures:
            _check_types(structure, self.atomic_types)
        systems = [
            System(
                structure.types,
                structure.positions,
                structure.cell,
                structure.pbc,
                *structure.state,
            )
            for structure in structures
        ]
        wanted = [Wanted(target.name, target.per, target.is_energy) for target in targets]
        results = self._process.predict(systems, wanted)
        asked = [t.name for t in targets if atoms and t.per == "system" and self.has_atoms(t)]
        parts: dict[str, torch.Tensor] = {}
        if asked:
            rows = self._process.predict(systems, [Wanted(name, "atom") for name in asked])
            parts = {name: _tensor(part.rows) for name, part in zip(asked, rows, strict=True)}
        n_atoms = sum(len(structure) for structure in structures)
        values: dict[str, Values] = {}
        for target, result in zip(targets, results, strict=True):
            rows_of_target = _tensor(result.rows)
            if rows_of_target.shape[1] != target.numbers:
                raise ModelFailed(
                    f"it gives {rows_of_target.shape[1]} numbers for '{target.name}', and not "
                    f"{target.numbers}: 'type', 'irreps' and 'properties' of the target say what "
                    "they are"
                )
            if target.per == "atom":
                values[target.name] = Values(rows_of_target)
                continue
            none = rows_of_target.new_full((n_atoms, rows_of_target.shape[1]), float("nan"))
            forces = None if result.forces is None else _tensor(result.forces)
            strain = None if result.strain is None else _tensor(result.strain)
            part = parts.get(target.name, none)
            values[target.name] = Values(part, rows_of_target, forces, strain)
        return values


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


def _inferred(outputs: dict[str, dict[str, str]]) -> list[Target]:
    targets: list[Target] = []
    for name, output in outputs.items():
        stem = name.partition("/")[0]
        if stem == ENERGY:
            target = Target(name, unit=output["unit"], description=output["description"])
            targets.append(target.with_all_gradients())
        elif "::" in stem:
            per: Any = "atom" if output["sample_kind"] == "atom" else "system"
            quantity = stem.rpartition("::")[2]
            unit, description = output["unit"], output["description"]
            targets.append(Target(name, quantity, unit, per, description=description))
    return targets


def _needs_inputs(path: Path, names: Sequence[str]) -> UserError:
    """Return the error for a model that would get zeros, or nothing, in the place of what it asks for."""
    listed = ", ".join(f"'{name}'" for name in names)
    return UserError(
        f"the model asks for inputs that mtt does not supply yet: {listed}",
        where=str(path),
        hint="metatomic's calculator for ASE has some more of them",
    )


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float64))


def _check_types(structure: Structure, atomic_types: Collection[int]) -> None:
    unknown = ~np.isin(structure.types, list(atomic_types))
    if unknown.any():
        raise unknown_type(structure, int(np.flatnonzero(unknown)[0]), list(atomic_types))
