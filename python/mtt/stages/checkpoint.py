"""Checkpoints: one safetensors file, with everything but tensors as canonical JSON in its header.

Layout: 8 bytes with the length of the header (little endian), the header (JSON: dtype, shape and
place of every tensor, and under ``__metadata__`` the text ``mtt``), the bytes of the tensors.
Nothing is ever unpickled; the header is read, within limits, without torch.
"""

import hashlib
import importlib.metadata
import json
import math
import platform
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

from .. import __version__
from ..architectures import registry
from ..errors import UserError
from ..files import write_atomic

if TYPE_CHECKING:
    import torch

    from ..architectures.potential import Potential

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
    "history": list,
    "best": dict,
    "packages": dict,
    "image_digest": (str, type(None)),
    "content_hash": str,
}
_PACKAGES: Final = ("torch", "metatensor-torch", "metatomic-torch", "vesin", "numpy", "ase")


def canonical_json(value: Any) -> str:
    """Sorted keys, no spaces, ASCII; raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def package_versions() -> dict[str, str]:
    """Versions of what decides the numbers, by package name."""
    versions = {"mtt": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def content_hash(header: Header, tensors: "dict[str, torch.Tensor]") -> str:
    """SHA-256, in hex, of the header without its hash and of name, dtype, shape and bytes of all
    tensors."""
    digest = hashlib.sha256(b"mtt checkpoint 1\0")
    bare = {key: value for key, value in header.items() if key != "content_hash"}
    _add(digest, canonical_json(bare).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        described = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        _add(digest, canonical_json(described).encode())
        _add(digest, _bytes_of(tensor))
    return digest.hexdigest()


def to_bytes(header: Header, tensors: "dict[str, torch.Tensor]") -> bytes:
    """The whole file. ``header`` gets its ``format_version`` and ``content_hash`` here."""
    import safetensors.torch

    header = {**header, "format_version": FORMAT_VERSION}
    header["content_hash"] = content_hash(header, tensors)
    # A copy for each name: safetensors refuses tensors that share memory, as tied weights do.
    separate = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()
    }
    return safetensors.torch.save(separate, metadata={"mtt": canonical_json(header)})


def write(path: Path, header: Header, tensors: "dict[str, torch.Tensor]") -> None:
    """Write a checkpoint so that a crash leaves the old file or the new one, whole.

    :raises UserError: if the folder is missing or cannot be written to, or the disk is full
    """
    write_atomic(path, to_bytes(header, tensors))


def read_header(path: Path) -> Header:
    """The JSON of a checkpoint, without torch and without reading its tensors.

    :raises UserError: if the file is missing, something else, damaged, or of a newer format
    """
    try:
        with path.open("rb") as file:
            header, _ = _parse(path, file)
    except OSError as error:
        raise _unreadable(path, error) from error
    return header


def read(path: Path) -> "tuple[Header, dict[str, torch.Tensor]]":
    """Header and tensors, once the content hash fits and the architecture is installed.

    :raises UserError: as :func:`read_header`; also if a single bit of the content has changed, or
        if the checkpoint needs another architecture or another version of it
    """
    import safetensors.torch
    from safetensors import SafetensorError

    header = read_header(path)
    check_architecture(header, path)
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from error
    except SafetensorError as error:
        raise _damaged(path, f"its tensors cannot be read: {error}") from error
    if content_hash(header, tensors) != header["content_hash"]:
        raise _damaged(path, "its content does not fit its content hash")
    return header, tensors


def check_architecture(header: Header, path: Path | None = None) -> registry.Architecture:
    """The installed architecture that a checkpoint needs.

    :raises UserError: if it is unknown, or installed in another version
    """
    name, version = header["architecture"]["name"], header["architecture"]["version"]
    where = None if path is None else str(path)
    if name not in registry.names():
        raise UserError(
            f"the checkpoint is of the architecture '{name}', which is not installed",
            where=where,
            hint=f"install the package that provides it; known here: {', '.join(registry.names())}",
        )
    architecture = registry.get(name)
    if architecture.version != version:
        raise UserError(
            f"the checkpoint needs version {version} of the architecture '{name}', but version "
            f"{architecture.version} is installed",
            where=where,
            hint=f"use the version of mtt that wrote it ({header['packages'].get('mtt')})",
        )
    return architecture


def build_potential(header: Header) -> "Potential":
    """The model that a header describes, in its precision, with weights still to be loaded."""
    import torch

    from ..architectures.potential import Potential
    from ..options import Options

    architecture = check_architecture(header)
    hypers = Options.from_dict(header["options"]).architecture.model
    ((target, described),) = header["targets"].items()
    with torch.random.fork_rng(devices=[]):
        core = architecture.build_core(hypers, header["atomic_types"])
    potential = Potential(
        core, header["atomic_types"], target, described["unit"], header["length_unit"]
    )
    return potential.set_precision(precision_dtype(header["precision"]))


def load_potential(
    header: Header,
    tensors: "dict[str, torch.Tensor]",
    weights: Literal["best", "last"] = "best",
) -> "Potential":
    """The model of a checkpoint, on the CPU, in the checkpoint's precision, ready to evaluate.

    :param weights: of the epoch with the best validation metric, or the last ones
    :raises UserError: unknown architecture or version; no best weights yet; weights that do not fit
    """
    prefix = "best/" if weights == "best" else "model/"
    found = {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    if not found:
        raise UserError(
            f"the checkpoint has no {weights} weights: no epoch had been validated when it was "
            "written",
            hint="use the last weights (--weights last), or train for at least one epoch",
        )
    potential = build_potential(header)
    try:
        potential.load_state_dict(found)
    except RuntimeError as error:
        raise UserError(
            f"the weights of the checkpoint do not fit its architecture: {error}"
        ) from error
    return potential.eval()


def precision_dtype(precision: int) -> "torch.dtype":
    """The torch dtype of 32 or 64 bits."""
    import torch

    return torch.float64 if precision == 64 else torch.float32


def _add(digest: "hashlib._Hash", content: bytes | memoryview) -> None:
    # The length comes first, so that no two different contents give the same stream.
    digest.update(len(content).to_bytes(8, "little"))
    digest.update(content)


def _bytes_of(tensor: "torch.Tensor") -> bytes:
    import torch

    flat = tensor.reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def _parse(path: Path, file: BinaryIO) -> tuple[Header, int]:
    """Header of an open file, after checking that its tensors fill the rest of it exactly."""
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
    return header, size


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
        raise _damaged(path, f"its header is not the JSON that it should be: {error}") from error
    if not isinstance(found, dict):
        raise _damaged(path, "its header is not a JSON object")
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
            raise _damaged(path, f"its header describes the tensor '{name}' wrongly")
        places.append(described)
    end = 0
    for begin, stop in sorted(places):
        if begin != end:
            raise _damaged(path, "its tensors overlap or have gaps between them")
        end = stop
    if end > available:
        raise _truncated(path, end - available)
    if end < available:
        raise _damaged(path, f"there are {available - end} bytes behind its last tensor")


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
            raise _damaged(path, f"its header lacks a proper '{key}'")
    architecture = header["architecture"]
    if not isinstance(architecture.get("name"), str) or not _naturals(
        [architecture.get("version")]
    ):
        raise _damaged(path, "its header lacks a proper 'architecture'")
    if not _naturals([header["position"].get(key) for key in ("epoch", "step", "batch")]):
        raise _damaged(path, "its header lacks a proper 'position'")


def _unreadable(path: Path, error: OSError) -> UserError:
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


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"the checkpoint is damaged: {why}",
        where=str(path),
        hint="copy it again, or use another checkpoint of the run",
    )
