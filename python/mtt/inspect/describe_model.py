"""Model file in, description out: what is said about the model, without torch and without loading it.

Capabilities and neighbor lists are texts in the pickled part of the TorchScript archive; they are found
by :mod:`mtt.filetypes.inert_pickle`, which runs nothing. Files that other programs exported have no
provenance and no golden pack, and are described as far as they go.
"""

import hashlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any, Final

from mtt.canonical import json_or_none
from mtt.elements import symbols
from mtt.files import sha256_of
from mtt.filetypes import bounded_zip, inert_pickle
from mtt.filetypes.bounded_zip import ZipProblem
from mtt.filetypes.inert_pickle import Thing
from mtt.filetypes.model_file import damaged

_LARGEST_TEXT: Final = 2**20
_MOST_UNPACKED: Final = 200
# How older and newer versions of metatomic call the class of what they write as JSON.
_TYPES: Final = ("class", "type")
# What metatomic and mtt write beside the code, each a text.
_VERSIONS: Final = ("torch-version", "metatomic-version", "metatensor-version")


def describe_model(path: Path) -> dict[str, Any]:
    """The description of an exported model.

    :raises UserError: the archive is damaged
    """
    try:
        with bounded_zip.opened(path) as archive:
            records = Records(archive)
            pickled = _pickled(records)
            return {
                "kind": "model",
                "path": str(path),
                "size": path.stat().st_size,
                "sha256": sha256_of(path),
                **pickled,
                "versions": {
                    name.removesuffix("-version"): text
                    for name in _VERSIONS
                    if (text := records.text(f"extra/{name}")) is not None
                },
                "extensions": records.json("extra/extensions"),
                "extensions_deps": records.json("extra/extensions-deps"),
                "export_metadata": records.json("extra/export-metadata"),
                "provenance": records.json("extra/mtt/provenance.json"),
                **_made_in(records),
                "golden_pack": _golden_pack(records),
                "records": _records(records),
            }
    except ZipProblem as error:
        raise damaged(path, str(error)) from error


class Records:
    """Records of an archive by their names without the folder that all of them are in."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.infos = {info.filename.partition("/")[2]: info for info in archive.infolist()}

    def content(self, name: str, limit: int) -> bytes | None:
        """The first bytes of a record, or None if there is none of that name."""
        if name not in self.infos:
            return None
        return bounded_zip.read(self.archive, self.infos[name].filename, limit)

    def text(self, name: str) -> str | None:
        content = self.content(name, _LARGEST_TEXT)
        return None if content is None else content.decode("utf-8", "replace").strip()

    def json(self, name: str) -> Any:
        """What a record says, or None if there is none or it is not JSON."""
        text = self.text(name)
        return None if text is None else json_or_none(text)


def _made_in(records: Records) -> dict[str, Any]:
    """What a command that ran in an image, for an old checkpoint, wrote about it."""
    record = records.json("extra/mtt/image.json")
    return {"made_in": record} if isinstance(record, dict) else {}


def _pickled(records: Records) -> dict[str, Any]:
    """What the model says of itself to an engine: attributes of metatomic's wrapper."""
    content = records.content("data.pkl", inert_pickle.MAX_BYTES) or b""
    root = inert_pickle.read(io.BytesIO(content)).root
    state = root.state if isinstance(root, Thing) and isinstance(root.state, dict) else {}
    lists = _untagged(state.get("_requested_neighbor_lists", state.get("_requested_nl")))
    metadata = _said(state.get("_metadata")) or records.json("extra/model-metadata")
    known = metadata if isinstance(metadata, dict) else {}
    inputs = _untagged(state.get("_requested_inputs"))
    return {
        "metadata": {key: value for key, value in known.items() if key not in _TYPES},
        "capabilities": _capabilities(_said(state.get("_capabilities"))),
        "neighbor_lists": _neighbor_lists(lists) if isinstance(lists, list) else None,
        "requested_inputs": _inputs(inputs) if isinstance(inputs, dict) else None,
    }


def _untagged(value: Any) -> Any:
    """TorchScript puts its type beside a container: ``restore_type_tag(container, type)``."""
    if isinstance(value, Thing) and isinstance(value.arguments, list) and value.arguments:
        return value.arguments[0]
    return value


def _said(value: Any) -> dict[str, Any] | None:
    """The JSON that an object of metatomic is pickled as; older ones put it into a tuple."""
    state = value.state if isinstance(value, Thing) else None
    if isinstance(state, list) and len(state) == 1:
        (state,) = state
    parsed = json_or_none(state) if isinstance(state, str) else None
    return parsed if isinstance(parsed, dict) else None


def _capabilities(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    capabilities = {key: entry for key, entry in stored.items() if key not in _TYPES}
    if isinstance(capabilities.get("outputs"), dict):
        outputs = capabilities["outputs"].items()
        capabilities["outputs"] = {
            name: _output(entry) for name, entry in outputs if isinstance(entry, dict)
        }
    types = capabilities.get("atomic_types")
    if isinstance(types, list) and all(type(entry) is int for entry in types):
        capabilities["elements"] = symbols(types)
    if "interaction_range" in capabilities:
        capabilities["interaction_range"] = _number(capabilities["interaction_range"])
    return capabilities


def _output(stored: dict[str, Any]) -> dict[str, Any]:
    output = {key: value for key, value in stored.items() if key not in _TYPES}
    # Older versions of metatomic know these two kinds of samples only.
    if "per_atom" in output and "sample_kind" not in output:
        output["sample_kind"] = "atom" if output.pop("per_atom") else "system"
    return output


def _neighbor_lists(values: list[Any]) -> list[dict[str, Any]]:
    lists = []
    for stored in filter(None, map(_said, values)):
        request = {key: value for key, value in stored.items() if key not in _TYPES}
        cutoff = request.pop("model_cutoff", request.get("cutoff"))
        lists.append({**request, "cutoff": _number(cutoff)})
    return lists


def _inputs(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _output(_said(value) or {}) for name, value in values.items()}


def _number(value: Any) -> Any:
    """Metatomic writes floating-point numbers as the integer that has the same bits."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return struct.unpack("<d", struct.pack("<q", value))[0]
    return value


def _golden_pack(records: Records) -> dict[str, Any] | None:
    """What the header of the pack says; its numbers are for ``mtt verify``."""
    name = "extra/mtt/golden.safetensors"
    start = records.content(name, _LARGEST_TEXT)
    if start is None:
        return None
    length = int.from_bytes(start[:8], "little")
    table = json_or_none(start[8 : 8 + length].decode("utf-8", "replace"))
    metadata = table.get("__metadata__") if isinstance(table, dict) else None
    text = metadata.get("mtt") if isinstance(metadata, dict) else None
    parsed = json_or_none(text) if isinstance(text, str) else None
    known = parsed if isinstance(parsed, dict) else {}
    return {**known, "bytes": records.infos[name].file_size}


def _records(records: Records) -> dict[str, Any]:
    groups: dict[str, dict[str, int]] = {}
    for name, info in records.infos.items():
        group = groups.setdefault(group_of(name), {"records": 0, "bytes": 0})
        group["records"] += 1
        group["bytes"] += info.file_size
    total = sum(group["bytes"] for group in groups.values())
    return {"count": len(records.infos), "bytes": total, "groups": groups}


def group_of(name: str) -> str:
    if name.endswith(".debug_pkl"):
        return "debug"
    first = name.partition("/")[0]
    return {"data": "tensors", "code": "code", "extra": "extra"}.get(first, "other")


def record_digests(path: Path) -> dict[str, str]:
    """SHA-256 of each record of a model file; those of tensors are called ``data/...``.

    :raises UserError: the archive is damaged
    """
    try:
        with bounded_zip.opened(path) as archive:
            records = Records(archive)
            refuse_bombs(path, records)
            return {name: digest_of(records, name) for name in records.infos}
    except ZipProblem as error:
        raise damaged(path, str(error)) from error


def refuse_bombs(path: Path, records: Records) -> None:
    unpacked = sum(info.file_size for info in records.infos.values())
    if unpacked > _MOST_UNPACKED * path.stat().st_size:
        raise damaged(path, "it would unpack to far more than a model")


def digest_of(records: Records, name: str) -> str:
    info = records.infos[name]
    digest = hashlib.sha256()
    for piece in bounded_zip.chunks(records.archive, info.filename, info.file_size):
        digest.update(piece)
    return digest.hexdigest()
