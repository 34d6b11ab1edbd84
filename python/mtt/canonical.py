"""JSON: the one form that hashes are made of, and what others wrote."""

import json
import math
from typing import Any, Final

# Deeper, or with more commas, nothing of ours is; reading goes down step by step, and takes memory.
MAX_DEPTH: Final = 100
MAX_VALUES: Final = 4_000_000


def canonical_json(value: Any) -> str:
    """Return the JSON text of a value: sorted keys, no spaces, only ASCII.

    Hashes in files that exist depend on every byte of it.

    :raises ValueError: a number is not finite
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def strict_json(text: str | bytes) -> Any:
    """Return what a text of others holds, if there is only one way to read it.

    :raises ValueError: it is not in UTF-8, or as :func:`parse_json`
    """
    return parse_json(text if isinstance(text, str) else text.decode("utf-8"))


def parse_json(text: str | bytes, infinite: bool = False) -> Any:
    """Return what a text of others holds, within limits.

    :param infinite: whether a number may be too large for a float, such as ``1e999``
    :raises ValueError: it is not JSON, has a key twice or a number that is not finite, or is nested
        deeper than ``MAX_DEPTH`` or has more than ``MAX_VALUES`` values; the message says which
    """
    hooks = {
        "object_pairs_hook": _unique,
        "parse_constant": _no_constant,
        "parse_float": float if infinite else _finite,
    }
    return _limited(text, hooks)


def json_or_none(text: str | bytes) -> Any:
    """Return what a text of others holds; None if it is not JSON, or is beyond the limits."""
    try:
        return _limited(text, {})
    except ValueError:
        return None


def _limited(text: str | bytes, hooks: dict[str, Any]) -> Any:
    comma = "," if isinstance(text, str) else b","
    if text.count(comma) > MAX_VALUES:  # type: ignore[arg-type]  # of the same kind
        raise ValueError("it has too many values")
    try:
        parsed = json.loads(text, **hooks)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _deeper_than(parsed, MAX_DEPTH):
        raise ValueError("it is nested too deeply")
    return parsed


def _deeper_than(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [
            part
            for parent in level
            if isinstance(parent, dict | list)
            for part in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is there twice")
    return members


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value
