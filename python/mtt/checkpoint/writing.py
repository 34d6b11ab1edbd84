"""Header and tensors in, checkpoint file out: the same content gives the same bytes."""

import dataclasses
import importlib.metadata
import json
import platform
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mtt import architecture_registry
from mtt.canonical import canonical_json
from mtt.checkpoint import formats
from mtt.checkpoint.header import FORMAT_VERSION, Header
from mtt.files import write_atomic
from mtt.version import __version__

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_PACKAGES: Final = ("torch", "metatensor-torch", "metatomic-torch", "vesin", "numpy", "ase")


def package_versions(architecture: str | None = None) -> dict[str, str]:
    """Return the versions of what decides the numbers, by package name.

    :param architecture: whose package is among them, if it is a plug-in, and those that it is made of
    """
    versions = {"mtt": __version__, "python": platform.python_version()}
    more: tuple[str, ...] = ()
    if architecture in architecture_registry.names():
        more = architecture_registry.get(architecture).packages
    for package in (*_PACKAGES, *more):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    plugin = None if architecture is None else architecture_registry.package_of(architecture)
    return versions if plugin is None else {**versions, plugin[0]: plugin[1]}


def write(path: Path, header: Header, tensors: "Tensors") -> None:
    """Write a checkpoint so that a crash leaves the old file or the new one, whole.

    :raises UserError: if the folder is missing or cannot be written to, or the disk is full
    """
    write_atomic(path, to_bytes(header, tensors))


def to_bytes(header: Header, tensors: "Tensors") -> bytes:
    """Return the whole file, in the newest format."""
    import numpy as np
    import safetensors.numpy

    columns, rows = formats.columns_and_rows(header.history)
    stored = dataclasses.replace(header, format_version=FORMAT_VERSION).to_dict()
    for key in (formats.HASH, formats.HISTORY, "split"):
        del stored[key]
    stored["history_columns"] = columns
    # As arrays, which take a third of the time of tensors, and may share memory, as tied weights do.
    written = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
    written[formats.HASH] = np.zeros(32, dtype=np.uint8)
    written[formats.HISTORY] = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
    for name in formats.SPLIT_TENSORS:
        indices = header.split[name.partition("/")[2]]
        written[name] = np.array(indices, dtype=np.int32)
    metadata = {"mtt": canonical_json(stored)}
    return _with_hash(bytearray(safetensors.numpy.save(written, metadata=metadata)))


def hash_of(header: Header, tensors: "Tensors") -> str:
    """Return the content hash of the file that :func:`write` would write."""
    raw = to_bytes(header, tensors)
    begin, end = _place_of_hash(raw)
    return raw[begin:end].hex()


def _with_hash(raw: bytearray) -> bytes:
    """Return the file with its content hash, which covers all of it but the zeros in its own place."""
    begin, end = _place_of_hash(raw)
    raw[begin:end] = formats.digest_without(raw, begin, end)
    return bytes(raw)


def _place_of_hash(raw: bytes | bytearray) -> tuple[int, int]:
    (length,) = struct.unpack("<Q", raw[:8])
    begin, end = json.loads(raw[8 : 8 + length])[formats.HASH]["data_offsets"]
    return 8 + length + begin, 8 + length + end
