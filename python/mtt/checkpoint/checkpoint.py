"""Checkpoints: one safetensors file, with everything but tensors as canonical JSON in its header.

Nothing is ever unpickled. :mod:`mtt.checkpoint.safetensors_file` has the bytes and their checks,
:mod:`mtt.checkpoint.formats` the versions of what they mean, and :mod:`mtt.checkpoint.upgrade`
the way from an old file to the installed architecture.
"""

import importlib.metadata
import json
import platform
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mtt import __version__, plugins
from mtt.checkpoint import formats
from mtt.checkpoint.formats import canonical_json
from mtt.checkpoint.safetensors_file import Header, damaged, open_file
from mtt.errors import UserError
from mtt.files import write_atomic

if TYPE_CHECKING:
    import torch
    from torch.overrides import TorchFunctionMode

    from mtt.architectures.potential import Potential

    Tensors = dict[str, torch.Tensor]


_PACKAGES: Final = ("torch", "metatensor-torch", "metatomic-torch", "vesin", "numpy", "ase")


def package_versions() -> dict[str, str]:
    """Versions of what decides the numbers, by package name."""
    versions = {"mtt": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


# ---- writing ----


def to_bytes(header: Header, tensors: "Tensors") -> bytes:
    """The whole file, in the newest format; the same content gives the same bytes."""
    import safetensors.torch
    import torch

    columns, rows = formats.columns_and_rows(header["history"])
    stored = {"origin": None, "upgraded_from": None, **header}
    for key in (formats.HASH, "history", "split"):
        stored.pop(key, None)
    stored |= {"format_version": formats.FORMAT_VERSION, "history_columns": columns}
    # A copy for each name: safetensors refuses tensors that share memory, as tied weights do.
    written = {name: one.detach().cpu().contiguous().clone() for name, one in tensors.items()}
    written[formats.HASH] = torch.zeros(32, dtype=torch.uint8)
    table = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(columns))
    written[formats.HISTORY] = table
    for name in formats.SPLIT:
        indices = header["split"][name.partition("/")[2]]
        written[name] = torch.tensor(indices, dtype=torch.int32)
    metadata = {"mtt": canonical_json(stored)}
    return _with_hash(bytearray(safetensors.torch.save(written, metadata=metadata)))


def _with_hash(raw: bytearray) -> bytes:
    """The file with its content hash, which covers all of it but the zeros in its own place."""
    (length,) = struct.unpack("<Q", raw[:8])
    begin, end = json.loads(raw[8 : 8 + length])[formats.HASH]["data_offsets"]
    digest = formats.digest_without(raw, 8 + length + begin, 8 + length + end)
    raw[8 + length + begin : 8 + length + end] = digest
    return bytes(raw)


def write(path: Path, header: Header, tensors: "Tensors") -> None:
    """Write a checkpoint so that a crash leaves the old file or the new one, whole.

    :raises UserError: if the folder is missing or cannot be written to, or the disk is full
    """
    write_atomic(path, to_bytes(header, tensors))


# ---- reading ----


def read_header(path: Path) -> Header:
    """The JSON of a checkpoint, without torch and without reading its tensors.

    :raises UserError: if the file is missing, something else, damaged, or of a newer format
    """
    return formats.header_of(open_file(path))


def read(path: Path) -> "tuple[Header, Tensors]":
    """Header and tensors, in the shapes of this mtt and the installed architecture.

    Old formats and old versions of the architecture are upgraded in memory; the header's
    ``format_version`` and ``content_hash`` stay those of the file.

    :raises UserError: as :func:`read_header`; also if a single bit of the content has changed, if
        the checkpoint needs an architecture that is not installed, or a version of it that no exact
        upgrade leads to, or if its tensors are not those of the model that it describes
    """
    import safetensors.torch
    from safetensors import SafetensorError

    from mtt.checkpoint import upgrade

    file = open_file(path)
    header = formats.header_of(file)
    check_architecture(header, path)
    raw = file.content()
    if not formats.content_fits(file, header, raw):
        raise formats.changed(path)
    try:
        tensors = safetensors.torch.load(raw)
    except SafetensorError as error:
        raise damaged(path, f"its tensors cannot be read: {error}") from error
    tensors = {name: one for name, one in tensors.items() if name not in formats.PACKED}
    header, tensors = upgrade.to_installed(header, tensors)
    _check_weights(path, header, tensors)
    _check_samples(path, header, tensors)
    return header, tensors


def check_architecture(header: Header, path: Path | None = None) -> plugins.Architecture:
    """The installed architecture that can take up a checkpoint.

    :raises UserError: if it is unknown, or there is no exact upgrade from the checkpoint's version
    """
    name, version = header["architecture"]["name"], header["architecture"]["version"]
    where = None if path is None else str(path)
    if name not in plugins.names():
        raise UserError(
            f"the checkpoint is of the architecture '{name}', which is not installed",
            where=where,
            hint=f"install the package that provides it; known here: {', '.join(plugins.names())}",
        )
    architecture = plugins.get(name)
    if version > architecture.version:
        why: str | None = "update mtt"
    else:
        why = architecture.why_not_upgraded(version, header["architecture"]["hypers"])
    if why is None:
        return architecture
    raise UserError(
        f"the checkpoint needs version {version} of the architecture '{name}', but version "
        f"{architecture.version} is installed",
        where=where,
        hint=f"{why}: use {formats.who_can_read(header)}",
    )


def _check_weights(path: Path, header: Header, tensors: "Tensors") -> None:
    """Names, shapes and types, before any memory is taken for the model that the header describes."""
    import torch

    try:
        with torch.device("meta"), _no_numbers():
            expected = build_potential(header).state_dict()
    except (NotImplementedError, RuntimeError):
        return  # a core that computes while it is built; loading the weights will tell
    for prefix in ("model/", "best/"):
        found = {name for name in tensors if name.startswith(prefix)}
        if prefix == "best/" and not found:
            continue
        for name in sorted(found ^ {prefix + one for one in expected}):
            why = "is not of its architecture" if name in found else "is missing"
            raise damaged(path, f"its tensor '{name}' {why}")
        for name, one in expected.items():
            stored = tensors[prefix + name]
            if stored.shape != one.shape or stored.dtype != one.dtype:
                raise damaged(
                    path,
                    f"its tensor '{prefix}{name}' is {_kind(stored)}, and its architecture needs "
                    f"{_kind(one)}",
                )


def _no_numbers() -> "TorchFunctionMode":
    """Leaves weights as they were allocated.

    Random numbers for weights that have no memory would import torch's compiler, which takes seconds.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class NoNumbers(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = kwargs or {}
            if getattr(function, "__module__", "") == torch.nn.init.__name__:
                return given["tensor"] if "tensor" in given else args[0]
            return function(*args, **given)

    return NoNumbers()


def _kind(tensor: "torch.Tensor") -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _check_samples(path: Path, header: Header, tensors: "Tensors") -> None:
    """The structures that exports are tested with must be structures, of known atomic types."""
    import torch

    known = torch.tensor(header["atomic_types"], dtype=torch.int32)
    for prefix in sorted(
        {name.rpartition("/")[0] for name in tensors if name.startswith("check/")}
    ):
        parts = [tensors.get(f"{prefix}/{key}") for key in ("types", "positions", "cell", "pbc")]
        n = 0 if parts[0] is None else parts[0].numel()
        wanted = (
            ((n,), torch.int32),
            ((n, 3), torch.float64),
            ((3, 3), torch.float64),
            ((3,), torch.uint8),
        )
        good = n > 0 and all(
            one is not None and (tuple(one.shape), one.dtype) == kind
            for one, kind in zip(parts, wanted, strict=True)
        )
        if good:
            types, positions, cell, _ = (one for one in parts if one is not None)
            finite = positions.isfinite().all() and cell.isfinite().all()
            good = bool(finite and torch.isin(types, known).all())
        if not good:
            raise damaged(path, f"'{prefix}' is not a structure of its atomic types")


# ---- the model ----


def build_potential(header: Header) -> "Potential":
    """The model that a header describes, in its precision, with weights still to be loaded."""
    import torch
    from pydantic import ValidationError

    from mtt.architectures.potential import Potential
    from mtt.printable import printable

    architecture = check_architecture(header)
    # Not from the options: those may be of a version that this mtt no longer reads.
    try:
        hypers = architecture.ModelHypers.model_validate(header["architecture"]["hypers"])
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise UserError(
            f"the checkpoint's model hypers are not those of {architecture.name}: "
            + printable("; ".join(wrong), 400)
        ) from None
    ((target, described),) = header["targets"].items()
    with torch.random.fork_rng(devices=[]):
        core = architecture.build_core(hypers, header["atomic_types"])
    potential = Potential(
        core, header["atomic_types"], target, described["unit"], header["length_unit"]
    )
    return potential.set_precision(precision_dtype(header["precision"]))


def load_potential(
    header: Header,
    tensors: "Tensors",
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
