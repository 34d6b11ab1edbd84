"""JSON: the one form that hashes are made of, and what others wrote."""

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the JSON text of a value: sorted keys, no spaces, only ASCII.

    Hashes in files that exist depend on every byte of it.

    :raises ValueError: a number is not finite
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def json_or_none(text: str | bytes) -> Any:
    """Return what a text of others holds; None if it is not JSON, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
