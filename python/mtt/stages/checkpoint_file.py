"""The bytes of a checkpoint file: what is accepted as one, and every reason why not.

Layout: 8 bytes with the length of the header (little endian), the header (JSON: dtype, shape and
place of every tensor, and under ``__metadata__`` the text ``mtt``), the bytes of the tensors.
Everything is checked before it is used, within limits; torch is not needed.
"""

import json
import math
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Final

from .. import __version__
from ..errors import UserError

FORMAT_VERSION: Final = 1
MAX_HEADER_BYTES: Final = 100 * 2**20
Header = dict[str, Any]

_DTYPE_BYTES: Final = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "I16": 2,
    "I32": 4,
    "I64": 8,
    "F16": 2,
    "BF16": 2,
    "F32": 4,
    "F64": 8,
}
_REQUIRED: Final[dict[str, type | tuple[type, ...]]] = {
    "format_version": int,
    "architecture": dict,
    "atomic_types": list,
    "length_unit": str,
    "targets": dict,
    "options": dict,
    "options_hash": str,
    "precision": int,
    "split": dict,
    "data_hash": dict,
    "position": dict,
    "num_steps": int,
    "history": dict,
    "best": dict,
    "packages": dict,
    "image_digest": (str, type(None)),
    "content_hash": str,
}


def parse(path: Path) -> Header:
    """The header of a checkpoint, after checking that its tensors fill the rest of the file exactly.

    :raises UserError: if the file is missing, something else, damaged, or of a newer format
    """
    try:
        with path.open("rb") as file:
            return _parse(path, file)
    except OSError as error:
        raise unreadable(path, error) from error


def pack_history(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The history as columns and rows: names repeated every epoch would be most of the header."""
    columns = sorted({name for row in rows for name in row})
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in rows]}


def _unpack(path: Path, packed: Header) -> list[dict[str, Any]]:
    """Inverse of :func:`pack_history`; None stands for what a row does not have."""
    columns, rows = packed.get("columns"), packed.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise damaged(path, "its header lacks a proper 'history'")
    if not all(isinstance(name, str) for name in columns):
        raise damaged(path, "its header lacks a proper 'history'")
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise damaged(path, "its header lacks a proper 'history'")
    return [
        {name: one for name, one in zip(columns, row, strict=True) if one is not None}
        for row in rows
    ]


def _parse(path: Path, file: BinaryIO) -> Header:
    size = path.stat().st_size
    start = file.read(8)
    _refuse_other_formats(path, start)
    if len(start) < 8:
        raise _not_a_checkpoint(path, "it is empty" if size == 0 else f"it has {size} bytes only")
    (length,) = struct.unpack("<Q", start)
    first = file.read(1)
    if length < 2 or length > MAX_HEADER_BYTES or first not in (b"{", b""):
        raise _not_a_checkpoint(path, "its first bytes are not those of one")
    if 8 + length > size:
        raise _truncated(path, 8 + length - size)
    table = _json_object(path, first + file.read(length - 1))
    metadata = table.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("mtt"), str):
        raise _not_a_checkpoint(path, "it is a safetensors file of another program")
    _check_tensors(path, table, size - 8 - length)
    header = _json_object(path, metadata["mtt"])
    _check_header(path, header)
    header["history"] = _unpack(path, header["history"])
    return header


def _refuse_other_formats(path: Path, start: bytes) -> None:
    if start.startswith(b"PK\x03\x04"):
        names = _names_in_zip(path)
        if any("/code/" in name for name in names):
            raise UserError(
                "this is an exported model (.pt), not a checkpoint",
                where=str(path),
                hint="give the model.ckpt that it was exported from",
            )
        if any(name.endswith("data.pkl") for name in names):
            raise _pickled(path)
        raise _not_a_checkpoint(path, "it is a zip archive")
    if len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5:
        raise _pickled(path)


def _names_in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return []


def _json_object(path: Path, text: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    # Deep nesting ends in a RecursionError, very long integers in a ValueError.
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its header is not the JSON that it should be: {error}") from error
    if not isinstance(found, dict):
        raise damaged(path, "its header is not a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _check_tensors(path: Path, table: dict[str, Any], available: int) -> None:
    """Tensors must have known types and lie one behind the other without gaps or overlaps."""
    places: list[tuple[int, int]] = []
    for name, entry in table.items():
        described = _extent(entry)
        if described is None:
            raise damaged(path, f"its header describes the tensor '{name}' wrongly")
        places.append(described)
    end = 0
    for begin, stop in sorted(places):
        if begin != end:
            raise damaged(path, "its tensors overlap or have gaps between them")
        end = stop
    if end > available:
        raise _truncated(path, end - available)
    if end < available:
        raise damaged(path, f"there are {available - end} bytes behind its last tensor")


def _extent(entry: Any) -> tuple[int, int] | None:
    """First and last offset of a tensor, or None if its description makes no sense."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return None
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPE_BYTES:
        return None
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > 16:
        return None
    if offsets[1] - offsets[0] != math.prod(shape) * _DTYPE_BYTES[entry["dtype"]]:
        return None
    return offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**63 for one in value)


def _check_header(path: Path, header: Header) -> None:
    version = header.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        packages = header.get("packages")
        writer = packages.get("mtt") if isinstance(packages, dict) else None
        raise UserError(
            f"the checkpoint has format version {version}, and this mtt ({__version__}) reads "
            f"versions up to {FORMAT_VERSION}",
            where=str(path),
            hint=f"update mtt; the checkpoint was written by mtt {writer or 'of a later version'}",
        )
    for key, kind in _REQUIRED.items():
        if key not in header or not isinstance(header[key], kind):
            raise damaged(path, f"its header lacks a proper '{key}'")
    architecture = header["architecture"]
    if not isinstance(architecture.get("name"), str) or not _naturals(
        [architecture.get("version")]
    ):
        raise damaged(path, "its header lacks a proper 'architecture'")
    if not _naturals([header["position"].get(key) for key in ("epoch", "step", "batch")]):
        raise damaged(path, "its header lacks a proper 'position'")


def unreadable(path: Path, error: OSError) -> UserError:
    """The error for a file that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return UserError("there is no such checkpoint", where=str(path))
    return UserError(f"the checkpoint cannot be read: {error.strerror}", where=str(path))


def _not_a_checkpoint(path: Path, why: str) -> UserError:
    return UserError(
        f"this is not a checkpoint of mtt: {why}",
        where=str(path),
        hint="give a .ckpt file that 'mtt train' wrote",
    )


def _pickled(path: Path) -> UserError:
    return UserError(
        "this is a pickled checkpoint of another program; it is not loaded, because loading a "
        "pickle runs whatever code is in it",
        where=str(path),
        hint="train anew from the data, or export it with the program that wrote it",
    )


def _truncated(path: Path, missing: int) -> UserError:
    return UserError(
        f"the checkpoint is truncated: {missing} bytes are missing at its end",
        where=str(path),
        hint="copy it again, or use another checkpoint of the run",
    )


def damaged(path: Path, why: str) -> UserError:
    """The error for a file that was a checkpoint once."""
    return UserError(
        f"the checkpoint is damaged: {why}",
        where=str(path),
        hint="copy it again, or use another checkpoint of the run",
    )
