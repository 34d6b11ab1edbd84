"""JSON in the one form that hashes are made of."""

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the JSON text of a value: sorted keys, no spaces, only ASCII.

    Hashes in files that exist depend on every byte of it.

    :raises ValueError: a number is not finite
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
