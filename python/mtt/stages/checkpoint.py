"""Checkpoints: one safetensors file, with everything but tensors as canonical JSON in its header.

Nothing is ever unpickled; :mod:`mtt.stages.checkpoint_file` has the layout and its checks.
"""

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from .. import __version__
from ..architectures import registry
from ..errors import UserError
from ..files import write_atomic
from .checkpoint_file import FORMAT_VERSION, Header, damaged, pack_history, parse, unreadable

if TYPE_CHECKING:
    import torch

    from ..architectures.potential import Potential


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
    packed = {**header, "history": pack_history(header["history"])}
    return safetensors.torch.save(separate, metadata={"mtt": canonical_json(packed)})


def write(path: Path, header: Header, tensors: "dict[str, torch.Tensor]") -> None:
    """Write a checkpoint so that a crash leaves the old file or the new one, whole.

    :raises UserError: if the folder is missing or cannot be written to, or the disk is full
    """
    write_atomic(path, to_bytes(header, tensors))


def read_header(path: Path) -> Header:
    """The JSON of a checkpoint, without torch and without reading its tensors.

    :raises UserError: if the file is missing, something else, damaged, or of a newer format
    """
    return parse(path)


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
        raise unreadable(path, error) from error
    except SafetensorError as error:
        raise damaged(path, f"its tensors cannot be read: {error}") from error
    if content_hash(header, tensors) != header["content_hash"]:
        raise damaged(path, "its content does not fit its content hash")
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

    architecture = check_architecture(header)
    # Not from the options: those may be of a version that this mtt no longer reads.
    try:
        hypers = architecture.ModelHypers.model_validate(header["architecture"]["hypers"])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"the checkpoint's model hypers are not those of {architecture.name}: {error}"
        ) from error
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
