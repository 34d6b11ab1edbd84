"""The bytes of a checkpoint file: a safetensors file, and every reason why it is not one.

Layout: 8 bytes with the length of the header (little endian), the header (JSON: dtype, shape and
place of every tensor, and under ``__metadata__`` the text ``mtt``), the bytes of the tensors.
Everything is checked before it is used, within limits; torch is not needed. What the entries mean
is the business of :mod:`mtt.checkpoint.formats`.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from mtt.canonical import parse_json
from mtt.checkpoint.header import naturals
from mtt.errors import UserError
from mtt.files import check_regular, open_regular, reading
from mtt.filetypes import recognize

MAX_HEADER_BYTES: Final = 32 * 2**20
Stored = dict[str, Any]

DTYPE_BYTES: Final = {
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


class Entry(NamedTuple):
    """One tensor of the file: its place is counted from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class CheckpointFile:
    """A file whose layout has been found good: its JSON text, parsed, and its tensors' places."""

    path: Path
    stored: Stored
    table: dict[str, Entry]
    size: int

    def tensor(self, name: str) -> bytes:
        """The bytes of one tensor; raises UserError if the file has become unreadable."""
        entry = self.table[name]
        with reading(self.path, "checkpoint"), open_regular(self.path) as file:
            file.seek(entry.begin)
            return file.read(entry.end - entry.begin)

    def content(self) -> bytes:
        """The whole file; raises UserError if it has become unreadable or has changed its size."""
        with reading(self.path, "checkpoint"), open_regular(self.path) as file:
            raw = file.read(self.size + 1)
        if len(raw) != self.size:
            raise damaged(self.path, "it changed while it was read")
        return raw


def open_file(path: Path) -> CheckpointFile:
    """Check that ``path`` is laid out as a checkpoint, its tensors filling the file exactly.

    :raises UserError: if the file is missing, something else, or damaged
    """
    with reading(path, "checkpoint"):
        if not path.is_dir():  # which the system refuses with better words
            check_regular(path)
        with open_regular(path) as file:
            return _open(path, file)


def _open(path: Path, file: BinaryIO) -> CheckpointFile:
    size = os.fstat(file.fileno()).st_size
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if not recognize.is_safetensors(start) or not 2 <= length <= MAX_HEADER_BYTES:
        raise _something_else(path)
    if 8 + length > size:
        raise _truncated(path, 8 + length - size)
    table = _json_object(path, b"{" + file.read(length - 1))
    metadata = table.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("mtt"), str):
        raise _something_else(path)
    entries = _entries(path, table, 8 + length, size)
    return CheckpointFile(path, _json_object(path, metadata["mtt"]), entries, size)


def _something_else(path: Path) -> UserError:
    kind = recognize.describe(path)
    if kind.kind == "checkpoint":
        return damaged(path, "its header cannot have the length that it says")
    return kind.refusal(path)


def _json_object(path: Path, text: bytes | str) -> dict[str, Any]:
    try:
        parsed = parse_json(text)
    except ValueError as error:
        raise damaged(path, f"its header is not the JSON that it should be: {error}") from error
    if not isinstance(parsed, dict):
        raise damaged(path, "its header is not a JSON object")
    return parsed


def _entries(path: Path, table: dict[str, Any], start: int, size: int) -> dict[str, Entry]:
    """Tensors must have known types and lie one behind the other without gaps or overlaps."""
    entries: dict[str, Entry] = {}
    for name, described in table.items():
        entry = _entry(described, start)
        if entry is None:
            raise damaged(path, f"its header describes the tensor '{name}' wrongly")
        entries[name] = entry
    end = start
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != end:
            raise damaged(path, "its tensors overlap or have gaps between them")
        end = entry.end
    if end > size:
        raise _truncated(path, end - size)
    if end < size:
        raise damaged(path, f"there are {size - end} bytes behind its last tensor")
    return entries


def _entry(described: Any, start: int) -> Entry | None:
    """Where a tensor is, or None if its description makes no sense."""
    if not isinstance(described, dict) or set(described) != {"dtype", "shape", "data_offsets"}:
        return None
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        return None
    if not naturals(shape) or not naturals(offsets) or len(offsets) != 2 or len(shape) > 16:
        return None
    if offsets[1] - offsets[0] != math.prod(shape) * DTYPE_BYTES[dtype]:
        return None
    # A tensor without numbers has strides all the same, which must fit 64 bits.
    if math.prod(max(length, 1) for length in shape) >= 2**60:
        return None
    return Entry(dtype, tuple(shape), start + offsets[0], start + offsets[1])


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
