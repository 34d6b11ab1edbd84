"""The test errors in the checkpoint of a finished run, which has none before they are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mtt import checkpoint as checkpoints
from mtt.checkpoint import MeasuredError
from mtt.errors import UserError


def add_test_errors(ckpt: Path, errors: Sequence[MeasuredError]) -> None:
    """Write the checkpoint again, with the errors; one of an older version keeps its bytes.

    :raises UserError: it cannot be written; it is then what it was
    """
    header, tensors = checkpoints.read(ckpt)
    if errors and checkpoints.hash_of(header, tensors) == header.content_hash:
        checkpoints.write(ckpt, replace(header, test_errors=list(errors)), tensors)


def content_without_errors(path: Path) -> str | None:
    """Return the content hash that a checkpoint has without test errors; None if it cannot be read."""
    try:
        header = checkpoints.read_header(path)
        if not header.test_errors:
            return header.content_hash
        header, tensors = checkpoints.read(path)
    except UserError:
        return None
    return checkpoints.hash_of(replace(header, test_errors=[]), tensors)
