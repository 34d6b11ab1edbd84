"""Checkpoint in, description out, without torch: what the header says, and what the bytes are."""

import ast
import importlib.util
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mtt import architecture_registry
from mtt.checkpoint import ArchitectureRecord, Header, formats
from mtt.checkpoint.safetensors_file import DTYPE_BYTES, CheckpointFile, Entry, open_file
from mtt.data.target import POSITIONS, STRAIN, Target
from mtt.elements import symbols
from mtt.report.metrics import units

# What stands before the names of metrics in the history.
_METRIC: Final = re.compile("^(train|validation)_")
_AS_THEY_ARE: Final = (
    "atomic_types",
    "best",
    "image_digest",
    "length_unit",
    "options",
    "options_hash",
    "origin",
    "packages",
    "precision",
    "upgraded_from",
)


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """The description of a checkpoint, even of one that this installation could not load.

    :raises UserError: as :func:`mtt.checkpoint.read_header`
    """
    file = open_file(path)
    header = formats.header_of(file)
    plain = header.to_dict()
    sizes, hashes = header.data_size, header.data_hash
    return {
        "kind": "checkpoint",
        "path": str(path),
        "size": file.size,
        "format_version": header.format_version,
        "content": {
            "hash": header.content_hash,
            "fits": formats.content_fits(file, header, file.content()),
        },
        "architecture": _architecture(header.architecture),
        "elements": symbols(header.atomic_types),
        "position": {
            **plain["position"],
            "num_epochs": _training(header).get("num_epochs"),
            "num_steps": header.num_steps,
        },
        "history": _history(header),
        "conditions": [conditions.to_dict() for conditions in header.conditions],
        "test_errors": [asdict(error) for error in header.test_errors],
        "seeds": header.seeds,
        "uncertainties": [asdict(record) for record in header.uncertainties],
        "data": {name: {"structures": sizes[name], "hash": hashes[name]} for name in sizes},
        "split": {part: len(indices) for part, indices in header.split.items()},
        "tensors": _tensors(file),
        "states": _states(file),
        "targets": {target.name: _target(target) for target in header.targets},
        **{key: plain[key] for key in _AS_THEY_ARE},
    }


def _states(file: CheckpointFile) -> dict[str, list[int]] | None:
    """The charges and spin multiplicities that the model is trained with; None without conditioning.

    See :class:`mtt.architectures.conditioning.States`, whose numbers these are.
    """
    names = [f"model/states.0.{name}" for name in ("charges", "spin_multiplicities")]
    if any(name not in file.table for name in names):
        return None
    charges, spins = ([i for i, n in enumerate(file.tensor(name)) if n] for name in names)
    middle = len(file.tensor(names[0])) // 2
    return {
        "charges": [index - middle for index in charges],
        "spin_multiplicities": [index + 1 for index in spins],
    }


def _target(target: Target) -> dict[str, Any]:
    plain = target.to_dict()
    del plain["name"]
    kinds = {"forces": POSITIONS, "stress": STRAIN}
    return {**plain, **{key: kind in target.gradients for key, kind in kinds.items()}}


def _training(header: Header) -> dict[str, Any]:
    architecture = header.options.get("architecture")
    training = architecture.get("training") if isinstance(architecture, dict) else None
    return training if isinstance(training, dict) else {}


def _architecture(stored: ArchitectureRecord) -> dict[str, Any]:
    name = stored.name
    return {
        "name": name,
        "version": stored.version,
        "installed": name in architecture_registry.names(),
        "installed_version": _installed_version(name),
        "hypers": stored.hypers,
    }


def _installed_version(name: str) -> int | None:
    """The version of a built-in architecture, out of its source: to import its options would take
    longer than everything else here. None for those of other packages, and if it is not there."""
    if name not in architecture_registry.names() or "." in name:
        return None
    spec = importlib.util.find_spec(f"mtt.architectures.{name}")
    if spec is None or spec.origin is None:
        return None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "version":
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            return value if isinstance(value, int) else None
    return None


def _history(header: Header) -> dict[str, Any]:
    """First and last things about the epochs, with the unit of each metric."""
    rows = header.history
    known = units([target.with_all_gradients() for target in header.targets], header.length_unit)
    best = [row for row in rows if row.get("epoch") == header.best.epoch]
    last = rows[-1] if rows else None
    return {
        "epochs": len(rows),
        "best": best[-1] if best else None,
        "last": last,
        "units": {name: known.get(_METRIC.sub("", name), "") for name in last or {}},
    }


def _tensors(file: CheckpointFile) -> dict[str, Any]:
    """How many, how large, and in which groups; the group is the first part of a name."""
    groups: dict[str, dict[str, int]] = {}
    for name, entry in file.table.items():
        group = groups.setdefault(name.partition("/")[0], {"tensors": 0, "bytes": 0})
        group["tensors"] += 1
        group["bytes"] += entry.end - entry.begin
    total = sum(group["bytes"] for group in groups.values())
    return {
        "count": len(file.table),
        "bytes": total,
        "file_to_bytes": round(file.size / total, 4) if total else None,
        "weights": _weights(file.table),
        "groups": groups,
    }


def _weights(table: dict[str, Entry]) -> int:
    """Numbers that are trained: those that the optimizer knows, or all of the core's before that."""
    known = {name.partition("/")[2].rpartition("/")[0] for name in table if "/exp_avg" in name}
    return sum(
        (entry.end - entry.begin) // DTYPE_BYTES[entry.dtype]
        for name, entry in table.items()
        if name.startswith("model/")
        and (name.partition("/")[2] in known or (not known and name.startswith("model/core.")))
    )
