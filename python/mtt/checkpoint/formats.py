"""What the entries of a checkpoint file mean, for every version of the format that there has been.

In memory a header always has the shape of the newest version: the history as rows, the split as
lists of indices. Each older version is brought there by upgrades of one step each, and keeps its own
reader of whatever its files hold elsewhere. docs/reference/checkpoint-format.md is the specification.
"""

import hashlib
import json
import math
import sys
from array import array
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, Final

from mtt import __version__
from mtt.checkpoint.safetensors_file import CheckpointFile, Header, damaged, naturals
from mtt.errors import UserError

FORMAT_VERSION: Final = 2

HASH: Final = "content_hash"
HISTORY: Final = "history"
SPLIT: Final = ("split/train", "split/validation", "split/test")
# Tensors that are part of the header in memory.
PACKED: Final = (HASH, HISTORY, *SPLIT)

_Nullable = (str, type(None))
REQUIRED: Final[dict[str, type | tuple[type, ...]]] = {
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
    "data_size": dict,
    "position": dict,
    "num_steps": int,
    "history": list,
    "best": dict,
    "packages": dict,
    "image_digest": _Nullable,
    "origin": (dict, type(None)),
    "upgraded_from": (dict, type(None)),
    "content_hash": str,
}


def canonical_json(value: Any) -> str:
    """Sorted keys, no spaces, ASCII; raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def header_of(file: CheckpointFile) -> Header:
    """The header, in the newest version's shape; ``format_version`` is still that of the file.

    :raises UserError: if the format is newer than this mtt, or an entry is missing or wrong
    """
    version = file.stored.get("format_version")
    if type(version) is not int or version < 1:
        raise damaged(file.path, "its header lacks a proper 'format_version'")
    if version > FORMAT_VERSION:
        raise _newer(file.path, file.stored, version)
    header = _READERS[version](file)
    for old in range(version, FORMAT_VERSION):
        header = UPGRADES[old](header)
    _check(file.path, header)
    return header


def content_fits(file: CheckpointFile, header: Header, raw: bytes) -> bool:
    """Whether in ``raw``, the whole file, not a bit has changed since it was written."""
    if header["format_version"] == 1:
        return bool(header[HASH] == _hash_1(file, raw))
    entry = file.table[HASH]
    return bool(header[HASH] == digest_without(raw, entry.begin, entry.end).hex())


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


# ---- version 2 ----


def _read_2(file: CheckpointFile) -> Header:
    header = dict(file.stored)
    entry = file.table.get(HASH)
    if entry is None or (entry.dtype, entry.shape) != ("U8", (32,)):
        raise damaged(file.path, "it has no proper content hash")
    header[HASH] = file.tensor(HASH).hex()
    header[HISTORY] = _history(file, header.pop("history_columns", None))
    header["split"] = {name.partition("/")[2]: _indices(file, name) for name in SPLIT}
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
    found: dict[str, float] = {}
    for name, value in zip(columns, values, strict=True):
        if not math.isnan(value):
            counted = name in ("epoch", "step") and value.is_integer()
            found[name] = int(value) if counted else value
    return found


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


def _read_1(file: CheckpointFile) -> Header:
    header = dict(file.stored)
    packed = header.get("history")
    if not isinstance(packed, dict) or not _is_table(packed.get("columns"), packed.get("rows")):
        raise damaged(file.path, "its header lacks a proper 'history'")
    columns = packed["columns"]
    header["history"] = [
        {name: one for name, one in zip(columns, row, strict=True) if one is not None}
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


def _upgrade_1_to_2(header: Header) -> Header:
    """Runs could not yet begin with the weights of another one, nor files be upgraded."""
    return {**header, "origin": None, "upgraded_from": None}


_READERS: Final[dict[int, Callable[[CheckpointFile], Header]]] = {1: _read_1, 2: _read_2}
UPGRADES: Final[dict[int, Callable[[Header], Header]]] = {1: _upgrade_1_to_2}


# ---- checks ----


def _check(path: Path, header: Header) -> None:
    for key, kind in REQUIRED.items():
        value = header.get(key, ...)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise damaged(path, f"its header lacks a proper '{key}'")
    for key, good in _INSIDE.items():
        if not good(header):
            raise damaged(path, f"its header lacks a proper '{key}'")


def _architecture(header: Header) -> bool:
    found = header["architecture"]
    good = isinstance(found.get("name"), str) and isinstance(found.get("hypers"), dict)
    return good and naturals([found.get("version")])


def _atomic_types(header: Header) -> bool:
    types = header["atomic_types"]
    # The model has a table up to the largest type: an absurd one must not cost memory.
    return bool(types) and naturals(types) and types == sorted(set(types)) and types[-1] < 2**20


def _targets(header: Header) -> bool:
    if len(header["targets"]) != 1:
        return False
    ((name, target),) = header["targets"].items()
    texts = ("quantity", "unit", "description")
    good = isinstance(target, dict) and all(isinstance(target.get(key), str) for key in texts)
    return good and name.partition("/")[0] == "energy"


def _split(header: Header) -> bool:
    """Parts of the training set that do not overlap."""
    parts = header["split"]
    if set(parts) != {"train", "validation", "test"}:
        return False
    if not all(naturals(indices) for indices in parts.values()):
        return False
    indices = list(chain.from_iterable(parts.values()))
    size = header["data_size"].get("training_set")
    return len(set(indices)) == len(indices) and (not indices or max(indices) < size)


def _data(header: Header) -> bool:
    sizes, hashes = header["data_size"], header["data_hash"]
    good = "training_set" in sizes and sizes.keys() == hashes.keys()
    return good and naturals(list(sizes.values())) and _texts(hashes)


def _best(header: Header) -> bool:
    best = header["best"]
    good = naturals([best.get("epoch")]) and isinstance(best.get("metric"), str)
    value = best.get("value", "missing")
    # Integers have no limit, but what is compared with them has.
    return good and (value is None or (type(value) in (int, float) and abs(value) < 2**1000))


def _texts(mapping: dict[str, Any]) -> bool:
    return all(isinstance(value, str) for value in mapping.values())


_INSIDE: Final[dict[str, Callable[[Header], bool]]] = {
    "architecture": _architecture,
    "atomic_types": _atomic_types,
    "targets": _targets,
    "precision": lambda header: header["precision"] in (32, 64),
    "data_size": _data,
    "split": _split,
    "position": lambda header: naturals(
        [header["position"].get(key) for key in ("epoch", "step", "batch")]
    ),
    "best": _best,
    "packages": lambda header: _texts(header["packages"]),
}


def _newer(path: Path, stored: Header, version: int) -> UserError:
    return UserError(
        f"the checkpoint has format version {version}, and this mtt ({__version__}) reads "
        f"versions up to {FORMAT_VERSION}",
        where=str(path),
        hint=f"use {who_can_read(stored)}",
    )


def who_can_read(stored: Header) -> str:
    """What a header, even one of a later format, says of the mtt and the image that know it."""
    packages, architecture = stored.get("packages"), stored.get("architecture")
    writer = packages.get("mtt") if isinstance(packages, dict) else None
    other = isinstance(writer, str) and writer != __version__
    found = [f"mtt {writer}, which wrote it"] if other else []
    if isinstance(architecture, dict):
        name, version = architecture.get("name"), architecture.get("version")
        if isinstance(name, str) and type(version) is int:
            digest = stored.get("image_digest")
            exactly = f" ({digest})" if isinstance(digest, str) else ""
            found.append(f"the image of {name}@{version}{exactly}")
    return ", or ".join(found) or "a later mtt"
