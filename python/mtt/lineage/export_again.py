"""Model file and checkpoint in, whether one is the export of the other out: it is exported once more.

Exports are deterministic: the same checkpoint in the same environment gives the same bytes. So a model
whose code or constants somebody has changed is found, whatever its weights and its records say. The model
file itself is only read.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from mtt import checkpoint as checkpoints
from mtt.checkpoint import Header
from mtt.checkpoint.upgrade_steps import header_for_today
from mtt.errors import UserError
from mtt.export import add_metadata, provenance
from mtt.export import process as export_process
from mtt.export.archive_edit import NotAnArchive, with_record
from mtt.files import LARGEST_MODEL, read_regular
from mtt.filetypes import bounded_zip
from mtt.inspect.describe_model import record_digests
from mtt.options import Metadata
from mtt.version import __version__

_PACK: Final = "extra/mtt/golden.safetensors"
# A number that torch makes of the names and checksums of the other records.
_SERIAL: Final = ".data/serialization_id"
# What a command that ran in an image wrote about it: text that nothing runs.
_IMAGE: Final = "extra/mtt/image.json"
_METADATA: Final = {"extra/model-metadata", "data.pkl"}
_LARGEST: Final = 2**28
# Entries that the provenance of older versions lacks, and what they are for checkpoints of that time.
_NEWER: Final[dict[str, Any]] = {"conditions": []}
# References are eager float64 numbers, whose last bits another processor may change.
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True)
class Comparison:
    """Whether the bytes are the same: True, False, or None if that cannot be known here; and why."""

    same: bool | None
    why: str


def compare(model: Path, checkpoint: Path, header: Header, record: Mapping[str, Any]) -> Comparison:
    """Export ``checkpoint`` with what the model's record says of its export, and compare the bytes.

    :param header: of the checkpoint
    :param record: the provenance in the model
    """
    other = _other_environment(header, record)
    if other:
        return Comparison(None, f"only the same environment exports the same bytes: {other}")
    try:
        task = _task(checkpoint, record)
    except ValueError:
        return Comparison(False, "the model says of its export what no export says")
    try:
        made = export_process.run(task)
    except UserError as error:
        return Comparison(None, f"the checkpoint cannot be exported here: {error.what}")
    content = read_regular(model, LARGEST_MODEL)
    if made == content:
        return Comparison(True, f"exported once more: all {len(content)} bytes are the same")
    with tempfile.TemporaryDirectory(prefix="mtt-exported-") as folder:
        again = Path(folder) / model.name
        again.write_bytes(made)
        notes = []
        if note := _same_record(model, again, header):
            # Once more with the other text, which moves all that comes after it in the file.
            again.write_bytes(export_process.run(replace(task, record=dict(record))))
            notes.append(note)
        return _compare_parts(model, again, notes)


def _task(checkpoint: Path, record: Mapping[str, Any]) -> export_process.Task:
    weights, metadata = record.get("weights"), record.get("metadata")
    if weights not in ("best", "last"):
        raise ValueError
    if metadata is not None:
        try:
            metadata = Metadata.model_validate(metadata).model_dump(mode="json")
        except ValidationError as error:
            raise ValueError from error
    verified = record.get("verification") == "passed"
    return export_process.Task(checkpoint, weights, metadata, verified)


def _other_environment(header: Header, record: Mapping[str, Any]) -> str:
    """Return in what the export's environment, as the model says, is another than this one."""
    here: dict[str, Any] = {
        "mtt": __version__,
        "the image": os.environ.get("MTT_IMAGE_DIGEST"),
        "the architecture": _architecture(header_for_today(header).architecture.__dict__),
        **checkpoints.package_versions(header.architecture.name),
    }
    stored = record.get("packages")
    there = {
        **(stored if isinstance(stored, dict) else {}),
        "mtt": record.get("mtt"),
        "the image": record.get("exported_in"),
        "the architecture": _architecture(record.get("architecture")),
    }
    return ", ".join(
        f"{name} was {_called(there.get(name))}, and is {_called(here.get(name))} here"
        for name in {**here, **there}
        if there.get(name) != here.get(name)
    )


def _architecture(value: Any) -> str | None:
    return f"{value.get('name')}@{value.get('version')}" if isinstance(value, dict) else None


def _called(value: Any) -> str:
    return "none" if value is None else str(value)[:80]


# ---- where bytes differ ----


def _compare_parts(model: Path, again: Path, notes: list[str]) -> Comparison:
    """Bytes may differ in records that nothing runs, if these say the same; ``notes`` says which."""
    content, notes, blank = read_regular(model, LARGEST_MODEL), list(notes), []
    first, second = record_digests(model), record_digests(again)
    differ = {name for name in {*first, *second} if first.get(name) != second.get(name)}
    try:
        if _PACK in differ and _same_pack(model, again):
            notes.append("last bits of the golden pack, as between processors")
            blank.append(_PACK)
        if _IMAGE in differ:
            notes.append("the note on the image that it was exported in")
            blank.append(_IMAGE)
        text = _other_metadata(model, again)
        if text is not None:
            notes.append("its metadata, which are of later")
            again.write_bytes(add_metadata.with_text(again, text))
            # As it is when it is written once more, wherever the records were.
            content = add_metadata.with_text(model, text)
            differ -= _METADATA
        if notes and _blank(content, blank) == _blank(read_regular(again, LARGEST_MODEL), blank):
            return Comparison(True, f"exported once more: the same but {'; '.join(notes)}")
    except NotAnArchive as error:
        return Comparison(False, f"its archive is none that an export writes: {error}")
    return Comparison(False, _what(sorted(differ - {*blank, _SERIAL})))


def _other_metadata(model: Path, again: Path) -> str | None:
    """Return the model's metadata, if they are others than those of the new export."""
    try:
        text = add_metadata.text_of(model)
        return None if add_metadata.text_of(again) == text else text
    except UserError:
        return None


def _blank(content: bytes, records: Sequence[str]) -> bytes:
    """Return an archive with nothing in these records; every other byte counts."""
    for name in (*records, _SERIAL) if records else ():
        content = with_record(content, name, b"")
    return content


def _with_metadata_of(again: Path, model: Path, content: bytes) -> tuple[bytes, str]:
    """Give the new export the metadata that the model has got since, and say so."""
    text = add_metadata.text_of(model)
    if add_metadata.text_of(again) == text:
        return content, ""
    again.write_bytes(add_metadata.with_text(again, text))
    # As it is when it is written once more, wherever the records were.
    return add_metadata.with_text(model, text), "its metadata, which are of later"


def _what(records: list[str]) -> str:
    if not records:
        return (
            "the checkpoint exports to the same records in another archive: somebody has changed it"
        )
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    return f"the checkpoint exports to another model: {records[0]}{more} differ"


def _read(path: Path, name: str) -> bytes:
    with bounded_zip.opened(path) as archive:
        (full,) = (entry for entry in archive.namelist() if entry.partition("/")[2] == name)
        return bounded_zip.read(archive, full, _LARGEST)


def _same_record(model: Path, again: Path, header: Header) -> str:
    """What the records may differ in: an entry of newer versions, the hash of an upgraded checkpoint."""
    before, after = provenance.read_record(model) or {}, provenance.read_record(again) or {}
    told = {key for key in {**before, **after} if before.get(key) != after.get(key)}
    older = _NEWER.keys() - before.keys()
    if told and all(name in older and after.get(name) == _NEWER[name] for name in told):
        return (
            f"its provenance, as older versions of mtt wrote it: without {', '.join(sorted(told))}"
        )
    told -= older
    named, old = before.get("checkpoint"), header.upgraded_from
    if told != {"checkpoint"} or not isinstance(named, dict) or old is None:
        return ""
    upgraded = named.get("content_hash") == old.content_hash
    return "the checkpoint's hash, which was upgraded since" if upgraded else ""


def _head(pack: bytes) -> Any:
    """Return the header of a golden pack but for what older versions did not write."""
    head = json.loads(pack[8 : 8 + int.from_bytes(pack[:8], "little")])
    about = json.loads(head["__metadata__"]["mtt"])
    about.pop("rotations", None)
    head["__metadata__"]["mtt"] = about
    return head


def _same_pack(model: Path, again: Path) -> bool:
    """Compare the numbers of two golden packs, which differ in last bits from processor to processor."""
    import numpy as np
    from safetensors.numpy import load

    try:
        raw = [_read(path, _PACK) for path in (model, again)]
        heads = [_head(content) for content in raw]
        first, second = (load(content) for content in raw)
    except Exception:  # noqa: BLE001 - of whatever is wrong with a stranger's file
        return False
    if heads[0] != heads[1] or first.keys() != second.keys():
        return False
    for name, numbers in first.items():
        others = second[name]
        if numbers.dtype.kind != "f":
            same = np.array_equal(numbers, others)
        else:
            scale = max(1.0, float(np.abs(others).max(initial=0.0)))
            same = np.allclose(numbers, others, rtol=0, atol=_TOLERANCE * scale)
        if not same:
            return False
    return True
