"""JSON: the one form that hashes are made of, and what others wrote."""

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the JSON text of a value: sorted keys, no spaces, only ASCII.

    Hashes in files that exist depend on every byte of it.

    :raises ValueError: a number is not finite
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def strict_json(text: str | bytes) -> Any:
    """Return what a text of others holds, if there is only one way to read it.

    :raises ValueError: it is not JSON in UTF-8, names a key twice, has a number that is none, or is
        nested too deeply
    """
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(plain, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is there twice")
    return content


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def json_or_none(text: str | bytes) -> Any:
    """Return what a text of others holds; None if it is not JSON, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
