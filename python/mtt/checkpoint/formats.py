"""What the entries of a checkpoint file mean, for every version of the format that there has been.

Each version has a reader that gathers its JSON from wherever its files hold it, and a step to the next
version, of the JSON and of the tensors. What comes out at the end becomes a
:class:`mtt.checkpoint.header.Header`. docs/reference/checkpoint-format.md is the specification.
"""

import hashlib
import math
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mtt.canonical import canonical_json
from mtt.checkpoint.header import FORMAT_VERSION, SPLIT, WEIGHTS, Header, header_from_dict
from mtt.checkpoint.safetensors_file import CheckpointFile, Stored, damaged
from mtt.data.target import POSITIONS, STRAIN
from mtt.errors import UserError
from mtt.version import __version__

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

HASH: Final = "content_hash"
HISTORY: Final = "history"
SPLIT_TENSORS: Final = tuple(f"split/{part}" for part in SPLIT)
# Tensors that are part of the header in memory.
PACKED: Final = (HASH, HISTORY, *SPLIT_TENSORS)


def header_of(file: CheckpointFile) -> Header:
    """Return the header; ``format_version`` and ``content_hash`` are those of the file.

    :raises UserError: if the format is newer than this mtt, or an entry is missing or wrong
    """
    version = file.stored.get("format_version")
    if type(version) is not int or version < 1:
        raise _improper(file.path, "format_version")
    if version > FORMAT_VERSION:
        raise _newer(file.path, file.stored, version)
    stored = _READERS[version](file)
    try:
        for old in range(version, FORMAT_VERSION):
            stored = STEPS[old].header(stored)
        return header_from_dict(stored)
    except ValueError as error:
        raise _improper(file.path, str(error)) from error


def tensors_of(header: Header, tensors: "Tensors") -> "Tensors":
    """Return the tensors of a file by the names and in the shapes of the newest format."""
    tensors = {name: tensor for name, tensor in tensors.items() if name not in PACKED}
    for old in range(header.format_version, FORMAT_VERSION):
        tensors = STEPS[old].tensors(tensors)
    return tensors


def content_fits(file: CheckpointFile, header: Header, raw: bytes) -> bool:
    """Whether in ``raw``, the whole file, not a bit has changed since it was written."""
    if header.format_version == 1:
        return header.content_hash == _hash_1(file, raw)
    entry = file.table[HASH]
    return header.content_hash == digest_without(raw, entry.begin, entry.end).hex()


def changed(path: Path) -> UserError:
    """The error for a file whose content does not fit."""
    return damaged(path, "its content does not fit its content hash")


def digest_without(raw: bytes | bytearray, begin: int, end: int) -> bytes:
    """SHA-256 of the whole file with zeros from ``begin`` to ``end``, where the hash itself is."""
    view = memoryview(raw)
    digest = hashlib.sha256(view[:begin])
    digest.update(bytes(end - begin))
    digest.update(view[end:])
    return digest.digest()


def columns_and_rows(history: list[dict[str, Any]]) -> tuple[list[str], list[list[float]]]:
    """The history as a table, NaN where a row lacks an entry: names in every row, or numbers as
    text, would soon be most of a small model's file."""
    columns = sorted({name for row in history for name in row})
    return columns, [[float(row.get(name, math.nan)) for name in columns] for row in history]


# ---- versions 2 and 3: the same layout ----


def _read_2(file: CheckpointFile) -> Stored:
    header = dict(file.stored)
    entry = file.table.get(HASH)
    if entry is None or (entry.dtype, entry.shape) != ("U8", (32,)):
        raise damaged(file.path, "it has no proper content hash")
    header[HASH] = file.tensor(HASH).hex()
    header[HISTORY] = _history(file, header.pop("history_columns", None))
    header["split"] = {name.partition("/")[2]: _indices(file, name) for name in SPLIT_TENSORS}
    return header


def _history(file: CheckpointFile, columns: Any) -> list[dict[str, float]]:
    entry = file.table.get(HISTORY)
    good = isinstance(columns, list) and all(isinstance(name, str) for name in columns)
    if not good or entry is None or entry.dtype != "F64":
        raise damaged(file.path, "its header lacks a proper 'history'")
    if len(entry.shape) != 2 or entry.shape[1] != len(columns):
        raise damaged(file.path, "its header lacks a proper 'history'")
    values = _numbers("d", file.tensor(HISTORY))
    rows = [values[i : i + len(columns)] for i in range(0, len(values), len(columns) or 1)]
    return [_row(columns, row) for row in rows]


def _row(columns: list[str], values: "array[float]") -> dict[str, float]:
    entries: dict[str, float] = {}
    for name, value in zip(columns, values, strict=True):
        if not math.isnan(value):
            counted = name in ("epoch", "step") and value.is_integer()
            entries[name] = int(value) if counted else value
    return entries


def _indices(file: CheckpointFile, name: str) -> list[int]:
    entry = file.table.get(name)
    if entry is None or entry.dtype != "I32" or len(entry.shape) != 1:
        raise damaged(file.path, "its header lacks a proper 'split'")
    return _numbers("i", file.tensor(name)).tolist()


def _numbers(code: str, content: bytes) -> "array[Any]":
    """Little-endian numbers as the file has them."""
    values = array(code)
    values.frombytes(content)
    if sys.byteorder == "big":
        values.byteswap()
    return values


# ---- version 1: history and split as JSON, a hash of the contents one by one ----

_NAMES_1: Final = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}


def _read_1(file: CheckpointFile) -> Stored:
    header = dict(file.stored)
    packed = header.get("history")
    if not isinstance(packed, dict) or not _is_table(packed.get("columns"), packed.get("rows")):
        raise damaged(file.path, "its header lacks a proper 'history'")
    columns = packed["columns"]
    header["history"] = [
        {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in packed["rows"]
    ]
    return header


def _is_table(columns: Any, rows: Any) -> bool:
    if not isinstance(columns, list) or not isinstance(rows, list):
        return False
    named = all(isinstance(name, str) for name in columns)
    return named and all(isinstance(row, list) and len(row) == len(columns) for row in rows)


def _hash_1(file: CheckpointFile, raw: bytes) -> str:
    """SHA-256, in hex, of the header without its hash, and of name, dtype, shape and bytes of all
    tensors by name; each with its length before it."""
    stored = {**file.stored, "history": _read_1(file)["history"]}
    del stored[HASH]
    digest = hashlib.sha256(b"mtt checkpoint 1\0")

    def add(content: bytes) -> None:
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)

    add(canonical_json(stored).encode())
    for name in sorted(file.table):
        entry = file.table[name]
        add(canonical_json([name, _NAMES_1[entry.dtype], list(entry.shape)]).encode())
        add(raw[entry.begin : entry.end])
    return digest.hexdigest()


def _header_1_to_2(stored: Stored) -> Stored:
    """Runs could not yet begin with the weights of another one, nor files be upgraded."""
    return {**stored, "origin": None, "upgraded_from": None}


# ---- from version 2: one target, and its baseline as tensors of the model itself ----


def _header_2_to_3(stored: Stored) -> Stored:
    targets = stored.get("targets")
    if not isinstance(targets, dict) or len(targets) != 1:
        raise ValueError("targets")
    ((name, target),) = targets.items()
    if not isinstance(target, dict) or name.partition("/")[0] != "energy":
        raise ValueError("targets")
    has = {POSITIONS: target.get("forces"), STRAIN: target.get("stress")}
    upgraded = {
        "name": name,
        "quantity": target.get("quantity"),
        "unit": target.get("unit"),
        "per": "system",
        "type": "scalar",
        "properties": 1,
        "gradients": [gradient for gradient, present in has.items() if present],
        "description": target.get("description"),
    }
    return {**stored, "targets": [upgraded]}


def _tensors_2_to_3(tensors: "Tensors") -> "Tensors":
    upgraded: Tensors = {}
    for name, tensor in tensors.items():
        group, _, inner = name.partition("/")
        if group in WEIGHTS and inner in ("composition", "scale"):
            name = f"{group}/baselines.0.{inner}"
            # The numbers of an atom may be several now.
            tensor = tensor.reshape(-1, 1) if inner == "composition" else tensor
        # One table of sums for each target.
        upgraded[name] = tensor[None] if name == "train_sums" else tensor
    return upgraded


class Step(NamedTuple):
    """The way from one version of the format to the next."""

    header: Callable[[Stored], Stored]
    tensors: "Callable[[Tensors], Tensors]"


_READERS: Final[dict[int, Callable[[CheckpointFile], Stored]]] = {
    1: _read_1,
    2: _read_2,
    3: _read_2,
}
STEPS: Final[dict[int, Step]] = {
    1: Step(_header_1_to_2, dict),
    2: Step(_header_2_to_3, _tensors_2_to_3),
}


def _improper(path: Path, key: str) -> UserError:
    return damaged(path, f"its header lacks a proper '{key}'")


def _newer(path: Path, stored: Stored, version: int) -> UserError:
    return UserError(
        f"the checkpoint has format version {version}, and this mtt ({__version__}) reads "
        f"versions up to {FORMAT_VERSION}",
        where=str(path),
        hint=f"use {_who_can_read(stored)}",
    )


def _who_can_read(stored: Stored) -> str:
    """Return what a header of a later format says of the mtt and the image that know it."""
    packages, architecture = stored.get("packages"), stored.get("architecture")
    writer = packages.get("mtt") if isinstance(packages, dict) else None
    name = architecture.get("name") if isinstance(architecture, dict) else None
    version = architecture.get("version") if isinstance(architecture, dict) else None
    digest = stored.get("image_digest")
    return _named(
        writer if isinstance(writer, str) else None,
        f"{name}@{version}" if isinstance(name, str) and type(version) is int else None,
        digest if isinstance(digest, str) else None,
    )


def who_can_read(header: Header) -> str:
    """Return what a header says of the mtt and the image that know its architecture."""
    if header.plugin:
        return f"{package_for(header)}, with which it was written"
    return _named(header.packages.get("mtt"), str(header.architecture), header.image_digest)


def package_for(header: Header) -> str:
    """Return the package that provides the architecture, with the version that wrote the file."""
    version = header.packages.get(header.plugin)
    return header.plugin if version is None else f"{header.plugin} {version}"


def _named(writer: str | None, architecture: str | None, digest: str | None) -> str:
    known = []
    if writer is not None and writer != __version__:
        known.append(f"mtt {writer}, which wrote it")
    if architecture is not None:
        exactly = "" if digest is None else f" ({digest})"
        known.append(f"the image of {architecture}{exactly}")
    return ", or ".join(known) or "a later mtt"
