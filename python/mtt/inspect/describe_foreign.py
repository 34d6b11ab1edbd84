"""Checkpoint or model of another program in, description out; nothing in it is imported, called or loaded.

What metatrain pickles is a dictionary whose keys have stayed the same over its versions; of it the
architecture, the data and the progress are said. Of other files there is what they are, and what can
be done with them.
"""

import io
import math
from pathlib import Path
from typing import Any, Final

from mtt.elements import symbols
from mtt.files import open_regular, sha256_of
from mtt.filetypes import bounded_zip, inert_pickle, recognize
from mtt.filetypes.inert_pickle import Thing
from mtt.filetypes.pickles import METATRAIN
from mtt.filetypes.recognize import Foreign

# Not safetensors: a damaged checkpoint of ours is one of "another program" too.
_KINDS: Final = ("torchscript", "pt2", "onnx", "tensorflow", "tensorflow-deepmd")
# A pickle may refer to itself, or to one part of it in a thousand places.
_MOST_VALUES: Final = 2000
_DEEPEST: Final = 6
_LARGEST: Final = 2**53


def is_model(kind: Foreign) -> bool:
    """Return whether a file is a checkpoint or a model, of whichever program."""
    # A pickle of nobody known may be anything.
    return (kind.pickled and kind.kind not in ("pickle", "pickle-object")) or kind.kind in _KINDS


def describe_foreign(path: Path, kind: Foreign) -> dict[str, Any]:
    """Return the description of a checkpoint or a model of another program."""
    return {
        "kind": "foreign",
        "path": str(path),
        "size": path.stat().st_size,
        "sha256": sha256_of(path),
        "format": kind.kind,
        "what": kind.what,
        "pickled": kind.pickled,
        "hint": kind.hint,
        "metatrain": _metatrain(path) if kind.kind == METATRAIN else None,
    }


def _metatrain(path: Path) -> dict[str, Any] | None:
    root = inert_pickle.read(io.BytesIO(_pickle(path))).root
    if not isinstance(root, dict):
        return None
    # A wrapper, such as the one for uncertainties, says of itself only what it is.
    inside = _dictionary(root.get("wrapped_model_checkpoint"))
    data = _dictionary(root.get("model_data")) or _dictionary(inside.get("model_data"))
    info = _state(data.get("dataset_info"))
    types = _types(info.get("_atomic_types", info.get("atomic_types")))
    return {
        "architecture": {
            "name": _text(root.get("architecture_name")),
            "version": _integer(root.get("model_ckpt_version")),
            "around": _text(inside.get("architecture_name")),
            "hypers": _plain(data.get("model_hypers", data.get("hypers")), [_MOST_VALUES]),
        },
        "epoch": _integer(root.get("epoch")),
        "best": {
            "epoch": _integer(root.get("best_epoch")),
            "value": _number(root.get("best_metric")),
        },
        "length_unit": _text(info.get("length_unit")),
        "atomic_types": types,
        "elements": None if types is None else symbols(types),
        "targets": _targets(info.get("targets")),
    }


def _pickle(path: Path) -> bytes:
    """Return the beginning of the pickle, wherever torch has put it."""
    if recognize.container(path) != "zip":
        with open_regular(path) as file:
            return file.read(inert_pickle.MAX_BYTES)
    with bounded_zip.opened(path) as archive:
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        return bounded_zip.read(archive, min(names, key=len), inert_pickle.MAX_BYTES)


def _targets(stored: Any) -> dict[str, dict[str, str | None]] | None:
    if not isinstance(stored, dict):
        return None
    targets = list(stored.items())[:100]
    return {
        name: {key: _text(_state(target).get(key)) for key in ("quantity", "unit")}
        for name, target in targets
    }


def _types(stored: Any) -> list[int] | None:
    # Once a set: what calling it would give has its items as the only argument.
    if isinstance(stored, Thing) and isinstance(stored.arguments, list) and stored.arguments:
        (stored, *_) = stored.arguments
    if not isinstance(stored, list) or not all(type(item) is int for item in stored[:1000]):
        return None
    return sorted({item for item in stored[:1000] if 0 <= item < _LARGEST})


def _state(value: Any) -> dict[str, Any]:
    """Return the attributes of an object."""
    return _dictionary(value.state) if isinstance(value, Thing) else {}


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    return value if type(value) is int and abs(value) < _LARGEST else None


def _number(value: Any) -> float | None:
    good = isinstance(value, float) and math.isfinite(value)
    return value if good else _integer(value)


def _plain(value: Any, left: list[int], depth: int = _DEEPEST) -> Any:
    """Return a copy with numbers, texts and containers only, and not too many of them."""
    left[0] -= 1
    if depth == 0 or left[0] < 0:
        return "..."
    if isinstance(value, dict):
        copied = {}
        for key, part in value.items():
            if left[0] <= 0:
                break
            copied[key] = _plain(part, left, depth - 1)
        return copied
    if isinstance(value, list):
        return [_plain(part, left, depth - 1) for part in value[: max(left[0], 0)]]
    if value is None or isinstance(value, str | bool | float):
        return value
    return _integer(value)
