"""Two checkpoints or two model files in, what differs out; without torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mtt.checkpoint.safetensors_file import Entry, open_file
from mtt.errors import UserError
from mtt.files import open_regular
from mtt.filetypes import bounded_zip
from mtt.filetypes.bounded_zip import ZipProblem
from mtt.filetypes.model_file import damaged
from mtt.inspect.describe import Description, describe
from mtt.inspect.describe_model import Records, digest_of, group_of, refuse_bombs

_CHUNK: Final = 2**20


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
        key: {side: values[key] for side, values in (("a", left), ("b", right)) if key in values}
        for key in sorted(left.keys() | right.keys())
        if key not in left or key not in right or left[key] != right[key]
    }
    groups = _compare_bits(a, b, first["kind"])
    different = any(
        values["differ"] or values["only_a"] or values["only_b"] for values in groups.values()
    )
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


def _count_same(
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


# ---- bits ----


def _compare_bits(a: Path, b: Path, kind: str) -> dict[str, dict[str, int]]:
    return _compare_tensors(a, b) if kind == "checkpoint" else _compare_records(a, b)


def _compare_tensors(a: Path, b: Path) -> dict[str, dict[str, int]]:
    """By group, how many tensors have the same dtype, shape and bytes, and how many do not."""
    first, second = open_file(a).table, open_file(b).table
    with open_regular(a) as left, open_regular(b) as right:

        def same(name: str) -> bool:
            x, y = first[name], second[name]
            return (x.dtype, x.shape) == (y.dtype, y.shape) and _same_bytes(left, right, x, y)

        return _count_same(first, second, lambda name: name.partition("/")[0], same)


def _same_bytes(left: Any, right: Any, x: Entry, y: Entry) -> bool:
    left.seek(x.begin)
    right.seek(y.begin)
    todo = x.end - x.begin
    while todo > 0:
        size = min(todo, _CHUNK)
        if left.read(size) != right.read(size):
            return False
        todo -= size
    return True


def _compare_records(a: Path, b: Path) -> dict[str, dict[str, int]]:
    """By group, how many records have the same content, and how many do not."""
    try:
        with bounded_zip.opened(a) as archive, bounded_zip.opened(b) as other:
            first, second = Records(archive), Records(other)
            for path, records in ((a, first), (b, second)):
                refuse_bombs(path, records)

            def same(name: str) -> bool:
                return digest_of(first, name) == digest_of(second, name)

            return _count_same(first.infos, second.infos, group_of, same)
    except ZipProblem as error:
        raise damaged(a, f"it or {b}: {error}") from error


# ---- values ----


def _essential(description: Description) -> Description:
    """Without what follows from the rest, and would only be said twice."""
    kept_parts = _without(description, "path", "elements")
    if kept_parts["kind"] == "checkpoint":
        kept_parts["history"] = _without(kept_parts["history"], "units")
        kept_parts["tensors"] = _without(kept_parts["tensors"], "groups")
        stored = kept_parts["options"].get("architecture")
        if isinstance(stored, dict) and stored.get("model") == kept_parts["architecture"]["hypers"]:
            kept_parts["architecture"] = _without(kept_parts["architecture"], "hypers")
        return kept_parts
    kept_parts["records"] = _without(kept_parts["records"], "groups")
    if kept_parts["capabilities"] is not None:
        kept_parts["capabilities"] = _without(kept_parts["capabilities"], "elements")
    return kept_parts


def _without(value: Description, *keys: str) -> Description:
    return {key: part for key, part in value.items() if key not in keys}


def _same_row(description: Description) -> bool:
    history = description.get("history", {})
    return bool(history and history["best"] == history["last"])


def _without_best_row(flat: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat.items() if not key.startswith("history.best.")}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys; lists are values."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, part in value.items():
        flat.update(_flat(part, f"{prefix}.{key}" if prefix else key))
    return flat
