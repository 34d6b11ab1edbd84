"""Checkpoint file in, header and tensors out, in the versions of this mtt; nothing is ever unpickled."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mtt.checkpoint import formats
from mtt.checkpoint.compatibility import check_architecture
from mtt.checkpoint.header import WEIGHTS, Header
from mtt.checkpoint.load_model import expected_tensors, feature_sizes
from mtt.checkpoint.safetensors_file import damaged, open_file
from mtt.data.derived_targets import MATRICES, UncertaintyRecord
from mtt.printable import printable

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


# Of a number in the matrix of an uncertainty; NaN is not below it.
_LARGEST = 1e60


def read_header(path: Path) -> Header:
    """Return the header of a checkpoint, without torch and without reading its tensors.

    :raises UserError: if the file is missing, something else, damaged, or of a newer format
    """
    return formats.header_of(open_file(path))


def read(path: Path) -> "tuple[Header, Tensors]":
    """Return header and tensors in the shapes of this mtt and the installed architecture.

    Old formats and old versions of the architecture are upgraded in memory; the header's
    ``format_version`` and ``content_hash`` stay those of the file.

    :raises UserError: as :func:`read_header`; also if a single bit of the content has changed, if
        the checkpoint needs an architecture that is not installed, or a version of it that no exact
        upgrade leads to, or if its tensors are not those of the model that it describes
    """
    import safetensors.torch
    from safetensors import SafetensorError

    # The options come with it, which who only wants a header need not wait for.
    from mtt.checkpoint.upgrade_steps import to_installed

    file = open_file(path)
    header = formats.header_of(file)
    _check_texts(path, header)
    check_architecture(header, path)
    raw = file.content()
    if not formats.content_fits(file, header, raw):
        raise formats.changed(path)
    try:
        tensors = safetensors.torch.load(raw)
    except SafetensorError as error:
        raise damaged(path, f"its tensors cannot be read: {error}") from error
    header, tensors = to_installed(header, formats.tensors_of(header, tensors))
    _check_weights(path, header, tensors)
    _check_samples(path, header, tensors)
    _check_uncertainties(path, header, tensors)
    return header, tensors


def _check_texts(path: Path, header: Header) -> None:
    """Half a character can be shown as an escape, and be in no text of a model."""
    plain = {**header.to_dict(), "history": [], "split": {}}
    try:
        json.dumps(plain, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise damaged(path, "half a character is in one of its texts") from None


def _check_weights(path: Path, header: Header, tensors: "Tensors") -> None:
    """Names, shapes and types, before any memory is taken for the model that the header describes."""
    expected = expected_tensors(header)
    if expected is None:
        return
    for prefix in (f"{group}/" for group in WEIGHTS):
        names = {name for name in tensors if name.startswith(prefix)}
        if prefix == "best/" and not names:
            continue
        for name in sorted(names ^ {prefix + key for key in expected}):
            why = "is not of its architecture" if name in names else "is missing"
            raise damaged(path, f"its tensor '{name}' {why}")
        for name, value in expected.items():
            stored = tensors[prefix + name]
            if stored.shape != value.shape or stored.dtype != value.dtype:
                raise damaged(
                    path,
                    f"its tensor '{prefix}{name}' is {_kind(stored)}, and its architecture needs "
                    f"{_kind(value)}",
                )


def _check_uncertainties(path: Path, header: Header, tensors: "Tensors") -> None:
    """Those of the header must be there, made for the features that the model has, and nothing else."""
    expected = {
        f"uncertainty/{each.target}/{kind}" for each in header.uncertainties for kind in MATRICES
    }
    found = {name for name in tensors if name.startswith("uncertainty/")}
    for name in sorted(expected ^ found):
        why = "is of no uncertainty" if name in found else "is missing"
        raise damaged(path, f"its tensor '{name}' {why}")
    sizes = feature_sizes(header) if header.uncertainties else {}
    for record in header.uncertainties:
        parts = [tensors[f"uncertainty/{record.target}/{kind}"] for kind in MATRICES]
        if not _fit(parts, sizes[record.target], record):
            raise damaged(
                path,
                f"the uncertainty of '{printable(record.target, 60)}' does not fit its model and header",
            )


def _fit(parts: "list[torch.Tensor]", features: int, record: UncertaintyRecord) -> bool:
    import torch

    members = record.members
    if any(part.ndim != 2 or part.dtype != torch.float64 for part in parts):
        return False
    rows = [len(part) for part in parts]
    if any(part.shape[1] != features for part in parts) or rows[2] != members:
        return False
    if not all(0 < number <= features for number in rows[:2]):
        return False
    # Far from where sums over atoms overflow, and nowhere zero for all features.
    if not all(float(part.abs().max()) < _LARGEST for part in parts if part.numel()):
        return False
    weights = parts[2]
    if record.method == "ensemble":
        identity = torch.eye(members, features, dtype=torch.float64)
        around = weights[0, 0] > 0.0 and torch.equal(weights, weights[0, 0] * identity)
    else:
        largest = float(weights.abs().max()) if members else 0.0
        around = not members or float(weights.mean(dim=0).abs().max()) <= 1e-6 * largest
    return bool(around and parts[0].any() and parts[1].any())


def _kind(tensor: "torch.Tensor") -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _check_samples(path: Path, header: Header, tensors: "Tensors") -> None:
    """The structures that exports are tested with must be structures, of known atomic types."""
    import torch

    known = torch.tensor(header.atomic_types, dtype=torch.int32)
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
            part is not None and (tuple(part.shape), part.dtype) == kind
            for part, kind in zip(parts, wanted, strict=True)
        )
        if good:
            types, positions, cell, _ = (part for part in parts if part is not None)
            finite = positions.isfinite().all() and cell.isfinite().all()
            good = bool(finite and torch.isin(types, known).all())
        state = tensors.get(f"{prefix}/state")
        if state is not None:
            good = good and (tuple(state.shape), state.dtype) == ((2,), torch.int32)
        if not good:
            raise damaged(path, f"'{prefix}' is not a structure of its atomic types")
