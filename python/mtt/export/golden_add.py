"""Model file and structures in, the same file with a larger golden pack out: ``mtt golden add``."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import metatomic.torch
import numpy as np
import safetensors.torch
import torch

from mtt import checkpoint as checkpoints
from mtt.data.readers import read_plain
from mtt.data.structure import Structure
from mtt.errors import UserError
from mtt.export import golden_pack
from mtt.export.archive_edit import NotAnArchive, with_record
from mtt.export.exported_model import ExportedModel
from mtt.export.provenance import RECORD as PROVENANCE
from mtt.files import check_keeps, replacing
from mtt.filetypes import bounded_zip
from mtt.verify import run as verification

PACK = "extra/mtt/golden.safetensors"
# What the verifier needs to see that the new references are those of this file.
FAMILIES = ["LOAD", "PARITY"]
_LARGEST = 256 * 2**20
_MANY = 50
_QUANTITIES = ("types", "positions", "cell", "pbc", "energies", "energy", "forces", "virial")


class _Pack:
    """Header and tensors of a golden pack; ``origins`` says of each system who made its references."""

    def __init__(self, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        self.header, self.tensors = header, tensors
        self.names: list[str] = list(header["systems"])
        known = header.get("references", ["checkpoint"] * len(self.names))
        self.origins: list[str] = list(known)

    def extend(self, other: "_Pack") -> None:
        """Append the systems of another pack, whose names are not in this one."""
        for k in range(len(other.names)):
            for key in _QUANTITIES:
                self.tensors[f"{len(self.names) + k}/{key}"] = other.tensors[f"{k}/{key}"]
        self.names += other.names
        self.origins += other.origins

    def content(self) -> bytes:
        """Safetensors bytes."""
        single = any(origin == "model float32" for origin in self.origins)
        header = {
            **self.header,
            "systems": self.names,
            "references": self.origins,
            "dtype": "mixed" if single else "float64",
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":"))
        return safetensors.torch.save(self.tensors, metadata={"mtt": text})


def run(
    model: Path,
    systems: Path,
    output: Path,
    checkpoint: Path | None = None,
    length_unit: str = "angstrom",
    extensions: Path | None = None,
) -> int:
    """Write ``output``: ``model`` with these systems in its golden pack; all else stays as it was.

    :param output: may be ``model`` itself
    :param checkpoint: where references come from, in float64; else they come from the model
    :param length_unit: of the structures
    :return: the number of systems in the pack
    :raises UserError: a file that cannot be read, or types that the model does not know
    :raises VerificationFailed: the file does not give its own references; nothing was written
    """
    check_keeps([systems, *([checkpoint] if checkpoint else [])], output)
    content = model.read_bytes()
    old, provenance = _old_pack(model)
    structures = read_plain(systems)
    if len(structures) > _MANY:
        warnings.warn(
            f"{len(structures)} structures make every later verification slow: some ten are enough",
            stacklevel=1,
        )
    taken = set(old.names) if old else set()
    names = _names(systems.stem, len(structures), taken)
    if checkpoint is not None:
        new = _from_checkpoint(checkpoint, provenance, model, structures, names, length_unit)
    else:
        new = _from_model(model, extensions, structures, names, length_unit, old)
    if old is not None:
        _check_units(old, new, model)
        old.extend(new)
    pack = old or new
    try:
        changed = with_record(content, PACK, pack.content())
    except NotAnArchive as error:
        raise UserError(f"the model file cannot be changed: {error}", where=str(model)) from error
    with replacing(output) as temporary:
        temporary.write_bytes(changed)
        settings = verification.Settings(only=FAMILIES, extensions=extensions)
        verification.run(temporary, settings=settings, display=str(output))
    return len(pack.names)


def _old_pack(model: Path) -> tuple[_Pack | None, dict[str, Any]]:
    """The golden pack of a file, and its provenance; None and nothing if others made it."""
    try:
        with bounded_zip.opened(model) as archive:
            names = archive.namelist()
            found = {
                record: bounded_zip.read(archive, name, _LARGEST)
                for record in (PACK, PROVENANCE)
                for name in names
                if name.partition("/")[2] == record
            }
        provenance = json.loads(found.get(PROVENANCE, b"{}"))
        if PACK not in found:
            return None, provenance if isinstance(provenance, dict) else {}
        return _parsed(found[PACK]), provenance
    except bounded_zip.ZipProblem as error:
        raise UserError(
            f"this is no exported model: {error}",
            where=str(model),
            hint=f"'mtt verify {model}' says more",
        ) from error
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(
            f"its golden pack is damaged: {error}", where=str(model), hint="export it again"
        ) from error


def _parsed(pack: bytes) -> _Pack:
    length = int.from_bytes(pack[:8], "little")
    header = json.loads(json.loads(pack[8 : 8 + length])["__metadata__"]["mtt"])
    if header["format"] != golden_pack.FORMAT:
        raise ValueError(f"format {header['format']} is not known")
    return _Pack(header, safetensors.torch.load(pack))


def _names(stem: str, count: int, taken: set[str]) -> list[str]:
    """``stem-0`` and so on, with numbers that are not taken."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        if f"{stem}-{number}" not in taken:
            names.append(f"{stem}-{number}")
        number += 1
    return names


def _from_checkpoint(
    path: Path,
    provenance: dict[str, Any],
    model: Path,
    structures: Sequence[Structure],
    names: Sequence[str],
    length_unit: str,
) -> _Pack:
    header, tensors = checkpoints.read(path)
    exported_from = (provenance.get("checkpoint") or {}).get("content_hash")
    if exported_from != header["content_hash"]:
        raise UserError(
            f"the model was not exported from this checkpoint: {path}",
            where=str(model),
            hint="give the right one, or none: references then come from the model itself",
        )
    weights: Literal["best", "last"] = "last" if provenance.get("weights") == "last" else "best"
    potential = checkpoints.load_potential(header, tensors, weights)
    scaled = _scaled(structures, length_unit, potential.length_unit)
    _check_types(scaled, potential.atomic_types)
    pack = golden_pack.golden_pack(potential, list(zip(names, scaled, strict=True)))
    parsed = _parsed(pack)
    return _Pack({**parsed.header, "references": ["checkpoint"] * len(names)}, parsed.tensors)


def _from_model(
    path: Path,
    extensions: Path | None,
    structures: Sequence[Structure],
    names: Sequence[str],
    length_unit: str,
    old: _Pack | None,
) -> _Pack:
    model = ExportedModel(path, extensions)
    if not (model.length_unit and model.energy_unit):
        raise UserError("the model declares no units, so its numbers mean nothing", where=str(path))
    scaled = _scaled(structures, length_unit, model.length_unit)
    _check_types(scaled, model.atomic_types)
    tensors: dict[str, torch.Tensor] = {}
    for k, properties in enumerate(model.evaluate(scaled)):
        tensors |= golden_pack.structure_tensors(str(k), scaled[k])
        tensors |= {f"{k}/{key}": value for key, value in properties.items()}
    header = {
        "format": golden_pack.FORMAT,
        "energy_unit": model.energy_unit,
        "length_unit": model.length_unit,
        "output": model.output,
        "systems": list(names),
        "references": [f"model {str(model.dtype).removeprefix('torch.')}"] * len(names),
    }
    return _Pack(header, tensors)


def _scaled(structures: Sequence[Structure], source: str, target: str) -> list[Structure]:
    factor = metatomic.torch.unit_conversion_factor(source, target)
    if factor == 1.0:
        return list(structures)
    return [
        replace(one, positions=factor * one.positions, cell=factor * one.cell) for one in structures
    ]


def _check_types(structures: Sequence[Structure], atomic_types: Sequence[int]) -> None:
    for structure in structures:
        unknown = structure.types[~np.isin(structure.types, atomic_types)]
        if len(unknown):
            raise UserError(
                f"the model does not know the atomic type {unknown[0]}",
                where=structure.source,
                hint=f"it knows {', '.join(str(one) for one in atomic_types)}",
            )


def _check_units(old: _Pack, new: _Pack, model: Path) -> None:
    for key in ("length_unit", "energy_unit", "output"):
        if old.header[key] != new.header[key]:
            raise UserError(
                f"the {key.replace('_', ' ')} of its golden pack is '{old.header[key]}', that of the"
                f" new references '{new.header[key]}'",
                where=str(model),
            )
