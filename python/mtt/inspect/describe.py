"""Checkpoint or model file in, description out: a dictionary that is plain JSON, read without torch.

The keys are documented in docs/how-to/show.md, and stay. What is no checkpoint and no model is refused
with what it is.
"""

import math
from pathlib import Path
from typing import Any, Final

from mtt.files import check_regular, reading
from mtt.filetypes import recognize

Description = dict[str, Any]

_WANTED: Final = "a checkpoint or a model file"
_DEEPEST: Final = 20


def describe(path: Path) -> Description:
    """What there is to know about a file; reads all of it, to check or make its hash.

    :raises UserError: it cannot be read, is of another program, or is damaged
    """
    if recognize.require_own(path, _WANTED) == "checkpoint":
        from mtt.inspect.describe_checkpoint import describe_checkpoint as description_of
    else:
        from mtt.inspect.describe_model import describe_model as description_of
    with reading(path):
        return plain(description_of(path))


def describe_any(path: Path) -> Description:
    """Return :func:`describe`, or what there is to know about a checkpoint or a model of another program.

    :raises UserError: it cannot be read, is damaged, or is no checkpoint and no model
    """
    from mtt.inspect.describe_foreign import describe_foreign, is_model

    with reading(path):
        check_regular(path)
        kind = recognize.describe(path)
        if is_model(kind):
            return plain(describe_foreign(path, kind))
    return describe(path)


def plain(value: Any, depth: int = _DEEPEST) -> Any:
    """A copy that any JSON reader takes: no infinities, and not nested without end."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list) and depth == 0:
        return "..."
    if isinstance(value, dict):
        return {key: plain(part, depth - 1) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part, depth - 1) for part in value]
    return value
