"""Checkpoint or model file in, description out: a dictionary that is plain JSON, read without torch.

The keys are documented in docs/how-to/show.md, and stay. Files of other programs are refused with what
they are.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mtt.errors import UserError
from mtt.filetypes import recognize

Description = dict[str, Any]

_WANTED: Final = "a checkpoint or a model file"
_DEEPEST: Final = 20


def describe(path: Path) -> Description:
    """What there is to know about a file; reads all of it, to check or make its hash.

    :raises UserError: it cannot be read, is of another program, or is damaged
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError("this is not a regular file", where=str(path))
        return plain(_describe(path))
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=str(path)) from error
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", where=str(path)) from error


def _describe(path: Path) -> Description:
    found = recognize.describe(path)
    if found.kind == "checkpoint":
        from mtt.inspect.describe_checkpoint import describe_checkpoint

        return describe_checkpoint(path)
    if found.kind == "model":
        from mtt.inspect.describe_model import describe_model

        return describe_model(path)
    raise found.refusal(path, _WANTED)


def plain(value: Any, depth: int = _DEEPEST) -> Any:
    """A copy that any JSON reader takes: no infinities, and not nested without end."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list) and depth == 0:
        return "..."
    if isinstance(value, dict):
        return {key: plain(one, depth - 1) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one, depth - 1) for one in value]
    return value


# ---- two files ----


def compare(a: Path, b: Path) -> Description:
    """What differs between two checkpoints or two model files, by dotted key; and which of their
    tensors or records are not the same bits.

    :raises UserError: as :func:`describe`; or one is a checkpoint and the other a model file
    """
    first, second = describe(a), describe(b)
    if first["kind"] != second["kind"]:
        raise UserError(
            "a checkpoint cannot be compared with a model file",
            where=f"{a} is a {_name(first)}, {b} is a {_name(second)}",
            hint="the provenance of a model file has the content hash of its checkpoint: mtt show",
        )
    left, right = _flat(_essential(first)), _flat(_essential(second))
    if _same_row(first) and _same_row(second):
        left, right = _without_best_row(left), _without_best_row(right)
    changed = {
        key: {side: one[key] for side, one in (("a", left), ("b", right)) if key in one}
        for key in sorted(left.keys() | right.keys())
        if key not in left or key not in right or left[key] != right[key]
    }
    groups = _compare_bits(a, b, first["kind"])
    different = any(one["differ"] or one["only_a"] or one["only_b"] for one in groups.values())
    return {
        "kind": first["kind"],
        "a": str(a),
        "b": str(b),
        "same": not changed and not different,
        "changed": changed,
        "tensors" if first["kind"] == "checkpoint" else "records": groups,
    }


def _name(description: Description) -> str:
    return "checkpoint" if description["kind"] == "checkpoint" else "model file"


def _compare_bits(a: Path, b: Path, kind: str) -> dict[str, dict[str, int]]:
    if kind == "checkpoint":
        from mtt.inspect.describe_checkpoint import compare_tensors

        return compare_tensors(a, b)
    from mtt.inspect.describe_model import compare_records

    return compare_records(a, b)


def count_same(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    group: Callable[[str], str],
    same: Callable[[str], bool],
) -> dict[str, dict[str, int]]:
    """By group of names, how many parts of two files are the same, and how many are not.

    :param same: called with a name that both have
    """
    groups: dict[str, dict[str, int]] = {}
    for name in sorted(first.keys() | second.keys()):
        start = {"same": 0, "differ": 0, "only_a": 0, "only_b": 0}
        counts = groups.setdefault(group(name), start)
        if name in first and name in second:
            counts["same" if same(name) else "differ"] += 1
        else:
            counts["only_a" if name in first else "only_b"] += 1
    return groups


def _essential(description: Description) -> Description:
    """Without what follows from the rest, and would only be said twice."""
    found = _without(description, "path", "elements")
    if found["kind"] == "checkpoint":
        found["history"] = _without(found["history"], "units")
        found["tensors"] = _without(found["tensors"], "groups")
        stored = found["options"].get("architecture")
        if isinstance(stored, dict) and stored.get("model") == found["architecture"]["hypers"]:
            found["architecture"] = _without(found["architecture"], "hypers")
        return found
    found["records"] = _without(found["records"], "groups")
    if found["capabilities"] is not None:
        found["capabilities"] = _without(found["capabilities"], "elements")
    return found


def _without(value: Description, *keys: str) -> Description:
    return {key: one for key, one in value.items() if key not in keys}


def _same_row(description: Description) -> bool:
    history = description.get("history", {})
    return bool(history and history["best"] == history["last"])


def _without_best_row(flat: dict[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in flat.items() if not key.startswith("history.best.")}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys; lists are values."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, one in value.items():
        flat.update(_flat(one, f"{prefix}.{key}" if prefix else key))
    return flat
