"""Model file and structures in, the same file with a larger golden pack out: ``mtt golden add``."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import metatomic.torch
import torch

from mtt import checkpoint as checkpoints
from mtt.architectures.evaluate import Values
from mtt.canonical import strict_json
from mtt.data.read_files import read_plain
from mtt.data.structure import Structure
from mtt.data.structure_tensors import structure_tensors
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.export import golden_pack
from mtt.export.archive_edit import NotAnArchive, with_record
from mtt.export.exported_model import ExportedModel
from mtt.export.golden_pack import MODEL_32, MODEL_64, GoldenPack
from mtt.export.provenance import RECORD as PROVENANCE
from mtt.files import LARGEST_MODEL, check_keeps, read_regular, reading, replacing
from mtt.filetypes import bounded_zip
from mtt.verify import run as verification
from mtt.verify.predictions import NO_EXCEPTIONS, Exceptions, ModelFailed

# Folder of the extensions of a model, and what it may do beyond what any model may.
Terms = tuple[Path | None, Exceptions]
PACK = f"extra/{golden_pack.RECORD}"
# What the verifier needs to see that the new references are those of this file.
FAMILIES = ["LOAD", "PARITY"]
_LARGEST = 256 * 2**20
_MANY = 50
# What two descriptions of a target must agree on for their references to be of one kind.
_KIND = ("name", "unit", "per", "properties", "type", "irreps")


def run(
    model: Path,
    systems: Path,
    output: Path,
    checkpoint: Path | None = None,
    length_unit: str = "angstrom",
    extensions: Path | None = None,
    exceptions: Exceptions = NO_EXCEPTIONS,
) -> int:
    """Write ``output``: ``model`` with these systems in its golden pack; all else stays as it was.

    :param output: may be ``model`` itself
    :param checkpoint: where references come from, in float64; else they come from the model
    :param length_unit: of the structures
    :param exceptions: what the model may do beyond what any model may
    :return: the number of systems in the pack
    :raises UserError: a file that cannot be read, or types that the model does not know
    :raises VerificationFailed: the file does not give its own references; nothing was written
    """
    check_keeps([systems, *([checkpoint] if checkpoint else [])], output)
    with reading(model, "model file"):
        content = read_regular(model, LARGEST_MODEL)
    old, provenance = _old_pack(model)
    structures = read_plain(systems)
    if len(structures) > _MANY:
        warnings.warn(
            f"{len(structures)} structures make every later verification slow: some ten are enough",
            stacklevel=1,
        )
    names = _names(systems.stem, len(structures), set(old.names) if old else set())
    if checkpoint is not None:
        new = _from_checkpoint(checkpoint, provenance, model, structures, names, length_unit)
    else:
        new = _from_model(model, (extensions, exceptions), structures, names, length_unit, old)
    if old is not None:
        _check_same_targets(old, new, model)
    pack = new if old is None else old.extended(new)
    try:
        changed = with_record(content, PACK, pack.content())
    except NotAnArchive as error:
        raise UserError(f"the model file cannot be changed: {error}", where=str(model)) from error
    with replacing(output) as temporary:
        temporary.write_bytes(changed)
        settings = verification.Settings(
            only=FAMILIES,
            extensions=extensions,
            allow_operators=list(exceptions.operators) or None,
            require_sandbox=False if exceptions.no_sandbox else None,
        )
        verification.run(temporary, settings=settings, display=str(output))
    return len(pack.names)


def _old_pack(model: Path) -> tuple[GoldenPack | None, dict[str, Any]]:
    """Return the golden pack of a file, and its provenance; None and nothing if others made it."""
    try:
        with bounded_zip.opened(model) as archive:
            records = {
                record: bounded_zip.read(archive, name, _LARGEST)
                for record in (PACK, PROVENANCE)
                for name in archive.namelist()
                if name.partition("/")[2] == record
            }
        parsed = strict_json(records.get(PROVENANCE, b"{}"))
        provenance = parsed if isinstance(parsed, dict) else {}
        if PACK not in records:
            return None, provenance
        return GoldenPack.parse(records[PACK]), provenance
    except bounded_zip.ZipProblem as error:
        raise UserError(
            f"this is no exported model: {error}",
            where=str(model),
            hint=f"'mtt verify {model}' says more",
        ) from error
    except ValueError as error:
        raise UserError(
            f"its golden pack is damaged: {error}", where=str(model), hint="export it again"
        ) from error


def _names(stem: str, count: int, taken: set[str]) -> list[str]:
    """Return ``stem-0`` and so on, with numbers that are not taken."""
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
) -> GoldenPack:
    header, tensors = checkpoints.read(path)
    exported_from = (provenance.get("checkpoint") or {}).get("content_hash")
    if exported_from != header.content_hash:
        raise UserError(
            f"the model was not exported from this checkpoint: {path}",
            where=str(model),
            hint="give the right one, or none: references then come from the model itself",
        )
    weights: Literal["best", "last"] = "last" if provenance.get("weights") == "last" else "best"
    potential = checkpoints.load_potential(header, tensors, weights)
    scaled = _scaled(structures, length_unit, potential.length_unit)
    pack = golden_pack.golden_pack(potential, list(zip(names, scaled, strict=True)))
    return replace(pack, origins=(golden_pack.CHECKPOINT,) * len(names))


def _from_model(
    path: Path,
    terms: Terms,
    structures: Sequence[Structure],
    names: Sequence[str],
    length_unit: str,
    old: GoldenPack | None,
) -> GoldenPack:
    """Return references that say what the file computes today, here, in float64 if its code allows.

    They are enough to notice when another library, machine or copy computes something else, and no
    proof that it was right.
    """
    model = ExportedModel(path, terms[0], exceptions=terms[1])
    # Without a pack, only energies are known for what they are.
    targets = [target for target in model.targets if old is not None or target.is_energy]
    if old is not None:
        targets = [target for target in old.targets if target.name in model.outputs]
    if not targets:
        raise UserError("the model has no energy", where=str(path))
    if not (model.length_unit and all(target.unit for target in targets if target.is_energy)):
        raise UserError("the model declares no units, so its numbers mean nothing", where=str(path))
    scaled = _scaled(structures, length_unit, model.length_unit)
    results, origin = _evaluated(model, path, terms, scaled, targets)
    tensors: dict[str, torch.Tensor] = {}
    for number, values in enumerate(results):
        tensors |= structure_tensors(str(number), scaled[number])
        for target in targets:
            for name, tensor in golden_pack.reference_tensors(target, values[target.name]).items():
                tensors[f"{number}/{name}"] = tensor
    return GoldenPack(
        targets=tuple(targets),
        length_unit=model.length_unit,
        names=tuple(names),
        tensors=tensors,
        origins=(origin,) * len(names),
    )


def _evaluated(
    model: ExportedModel,
    path: Path,
    terms: Terms,
    structures: Sequence[Structure],
    targets: Sequence[Target],
) -> tuple[list[Mapping[str, Values]], str]:
    """Return the values of each structure, and which precision they come from.

    In float64 if that works for all of them, else in the model's own precision.
    """
    if model.dtype == torch.float32:
        try:
            wide = ExportedModel(path, terms[0], widen=True, exceptions=terms[1])
            return [wide.evaluate([s], targets, atoms=True) for s in structures], MODEL_64
        except ModelFailed:
            # Its code does not run in float64, or has ended its process.
            model = ExportedModel(path, terms[0], exceptions=terms[1])
    results: list[Mapping[str, Values]] = []
    for structure in structures:
        try:
            results.append(model.evaluate([structure], targets, atoms=True))
        except ModelFailed as error:
            raise UserError(
                f"the model fails for this structure: {error}", where=structure.source
            ) from error
    return results, MODEL_64 if model.dtype == torch.float64 else MODEL_32


def _scaled(structures: Sequence[Structure], source: str, target: str) -> list[Structure]:
    factor = metatomic.torch.unit_conversion_factor(source, target)
    if factor == 1.0:
        return list(structures)
    return [
        replace(structure, positions=factor * structure.positions, cell=factor * structure.cell)
        for structure in structures
    ]


def _check_same_targets(old: GoldenPack, new: GoldenPack, model: Path) -> None:
    kinds = [
        [tuple(getattr(target, key) for key in _KIND) for target in pack.targets]
        for pack in (old, new)
    ]
    if old.length_unit != new.length_unit or sorted(kinds[0]) != sorted(kinds[1]):
        texts = [
            ", ".join(f"{name} in {unit or 'no unit'} per {per}" for name, unit, per, _ in kind)
            for kind in kinds
        ]
        raise UserError(
            f"its golden pack has {texts[0]} at lengths in {old.length_unit}, the new references"
            f" have {texts[1]} at lengths in {new.length_unit}",
            where=str(model),
        )
