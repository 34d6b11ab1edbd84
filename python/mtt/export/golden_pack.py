"""The golden pack: check systems that travel inside an export with what the eager float64 model gave.

Anyone can verify the file years later, on another libtorch, without the checkpoint. The references come
through the trainer's path (numpy neighbor lists, gradients of edge vectors), not through the metatomic
interface that is exported, so that a mistake in either one shows. The layout is in
docs/reference/golden-pack.md.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import safetensors.torch
import torch

from mtt.architectures.evaluate import Values
from mtt.architectures.potential import Potential
from mtt.canonical import canonical_json
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.derived_targets import is_wide
from mtt.data.structure_tensors import structure_tensors
from mtt.data.target import GRADIENTS, Target
from mtt.export.check_systems import Named

FORMAT = 2
# Of a pack with systems that are no neutral singlets, which older programs would take for such.
FORMAT_WITH_STATES = 3
RECORD = "mtt/golden.safetensors"
# Who made the references of a system: the trainer's path, or the exported file itself.
CHECKPOINT, MODEL_64, MODEL_32 = "checkpoint", "model float64", "model float32"
_GEOMETRY = ("types", "positions", "cell", "pbc")
STATE = "state"
_EXACT = "exact"
# What format 1 calls the tensors of its only target, an energy.
_FORMAT_1 = {"energies": "atoms", "energy": "total", "forces": "forces", "virial": "virial"}


@dataclass(frozen=True)
class GoldenPack:
    """Check systems with float64 references of each target.

    - ``targets``: what there are references of; energies have both gradients;
    - ``length_unit``: of the systems and of gradients;
    - ``names``: of the systems, all different;
    - ``tensors``: by ``NUMBER/...`` as docs/reference/golden-pack.md lists them;
    - ``origins``: who made the references of each system; None if all come from the checkpoint;
    - ``turns_exactly``: the architecture does (:class:`mtt.architectures.interface.Core`).
    """

    targets: tuple[Target, ...]
    length_unit: str
    names: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    origins: tuple[str, ...] | None = None
    turns_exactly: bool = False

    def extended(self, other: Self) -> Self:
        """Return a pack with the systems of another one, of the same targets, after those of this."""
        names = [tensor_name for target in self.targets for tensor_name in target_tensors(target)]
        tensors = dict(self.tensors)
        for number in range(len(other.names)):
            for name in (*_GEOMETRY, *names):
                key = f"{len(self.names) + number}/{name}"
                tensors[key] = other.tensors[f"{number}/{name}"]
            state = other.tensors.get(f"{number}/{STATE}")
            if state is not None:
                tensors[f"{len(self.names) + number}/{STATE}"] = state
        origins = [pack.origins or (CHECKPOINT,) * len(pack.names) for pack in (self, other)]
        return replace(
            self,
            names=self.names + other.names,
            tensors=tensors,
            origins=origins[0] + origins[1],
        )

    @property
    def _has_states(self) -> bool:
        return any(f"{number}/{STATE}" in self.tensors for number in range(len(self.names)))

    def content(self) -> bytes:
        """Return the pack as safetensors bytes; the same pack gives the same bytes."""
        contents: dict[str, Any] = {
            "format": FORMAT_WITH_STATES if self._has_states else FORMAT,
            "dtype": "mixed" if MODEL_32 in (self.origins or ()) else "float64",
            "length_unit": self.length_unit,
            "targets": [target.to_dict() for target in self.targets],
            "systems": list(self.names),
        }
        if self.origins is not None:
            contents["references"] = list(self.origins)
        if self.turns_exactly:
            contents["rotations"] = _EXACT
        text = canonical_json(contents)
        return safetensors.torch.save(dict(self.tensors), metadata={"mtt": text})

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return the pack in these bytes, of format 1, 2 or 3.

        :raises ValueError: the bytes are no such pack
        """
        contents = read_contents(content)
        try:
            tensors = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(str(error)) from error
        targets = targets_of(contents)
        if contents["format"] == 1:
            tensors = _of_format_2(tensors, targets[0])
        names = tuple(str(name) for name in contents["systems"])
        for number in range(len(names)):
            for key in (*_GEOMETRY, *(key for target in targets for key in target_tensors(target))):
                if f"{number}/{key}" not in tensors:
                    raise ValueError(f"it has no tensor {number}/{key}")
        origins = contents.get("references")
        return cls(
            targets=targets,
            length_unit=str(contents["length_unit"]),
            names=names,
            tensors=tensors,
            origins=None if origins is None else tuple(str(origin) for origin in origins),
            turns_exactly=contents.get("rotations") == _EXACT,
        )


def read_contents(content: bytes) -> dict[str, Any]:
    """Return what the header of a pack says of it, from its first bytes or all of them.

    :raises ValueError: there is no header of format 1, 2 or 3
    """
    try:
        length = int.from_bytes(content[:8], "little")
        contents = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["mtt"])
        known = contents["format"] in (1, FORMAT, FORMAT_WITH_STATES)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("its header is damaged") from error
    if not known:
        raise ValueError(f"format {contents['format']} is not known")
    if not isinstance(contents.get("systems"), list) or "length_unit" not in contents:
        raise ValueError("its header is damaged")
    return contents


def targets_of(contents: Mapping[str, Any]) -> tuple[Target, ...]:
    """Return the targets that the header of a pack lists; raises ValueError."""
    if contents["format"] == 1:
        name, unit = str(contents.get("output")), str(contents.get("energy_unit"))
        return (Target(name, unit=unit, gradients=GRADIENTS),)
    listed = contents.get("targets")
    if not isinstance(listed, list) or not all(isinstance(plain, dict) for plain in listed):
        raise ValueError("its header lists no targets")
    return tuple(Target.from_dict(plain) for plain in listed)


def _of_format_2(tensors: Mapping[str, torch.Tensor], target: Target) -> dict[str, torch.Tensor]:
    renamed: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        if name in _FORMAT_1:
            key = f"{number}/{target.name}/{_FORMAT_1[name]}"
            tensor = tensor.reshape(-1, 1) if name == "energies" else tensor
        renamed[key] = tensor
    return renamed


def target_tensors(target: Target) -> list[str]:
    """Return the names of the reference tensors of a target, without the system's number."""
    kinds = ["atoms"]
    if target.per == "system":
        kinds.append("total")
    if target.is_energy:
        kinds += ["forces", "virial"]
    return [f"{target.name}/{kind}" for kind in kinds]


def reference_tensors(target: Target, values: Values) -> dict[str, torch.Tensor]:
    """Return the references of one target for one system of N atoms, all float64.

    - ``NAME/atoms`` [N, P], NaN where the model has none; [0] of ensembles of very many members
      whose totals are here;
    - ``NAME/total`` [P], of a target per system;
    - ``NAME/forces`` [N, 3] and ``NAME/virial`` [3, 3] = -dE/dstrain, of an energy.
    """
    tensors = {f"{target.name}/atoms": values.atoms.flatten() if is_wide(target) else values.atoms}
    if values.systems is not None:
        tensors[f"{target.name}/total"] = values.systems[0]
    if values.forces is not None and values.strain is not None:
        tensors[f"{target.name}/forces"] = values.forces
        tensors[f"{target.name}/virial"] = -values.strain[0]
    return {
        name: tensor.detach().to("cpu", torch.float64).contiguous()
        for name, tensor in tensors.items()
    }


def golden_pack(potential: Potential, systems: Sequence[Named]) -> GoldenPack:
    """Return references for systems from the eager model in float64.

    :raises UserError: a system has atomic types that the model does not know
    """
    reference = copy.deepcopy(potential).set_precision(torch.float64).eval()
    # Derivatives by positions are all that is wanted.
    reference.requires_grad_(False)
    structures = [structure for _, structure in systems]
    dataset = Dataset(structures, reference.atomic_types, reference.cutoff, reference.targets)
    tensors: dict[str, torch.Tensor] = {}
    for number, structure in enumerate(structures):
        batch = collate(dataset, [number], torch.float64)
        values = reference.evaluate(batch.graph, volumes=batch.volumes)
        values |= reference.evaluate_derived(batch.graph)
        tensors |= structure_tensors(str(number), structure)
        for target in reference.outputs:
            for name, tensor in reference_tensors(target, values[target.name]).items():
                tensors[f"{number}/{name}"] = tensor
    return GoldenPack(
        targets=tuple(target.with_all_gradients() for target in reference.outputs),
        length_unit=reference.length_unit,
        names=tuple(name for name, _ in systems),
        tensors=tensors,
        turns_exactly=reference.core.turns_exactly,
    )
