"""The checkpoint of a finished run: one of its own while results are made, and the test errors in it.

It has no test errors before they are known.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mtt import checkpoint as checkpoints
from mtt.checkpoint import MeasuredError
from mtt.errors import UserError
from mtt.report.progress import Reporter
from mtt.training.prepare import Run
from mtt.training.runs.saving import REST_IS_MADE, tolerate

# In the folder of the run, while results are made.
_OWN = ".results"


@contextlib.contextmanager
def own_checkpoint(job: Run, folder: Path, ckpt: Path, reporter: Reporter) -> Iterator[Path]:
    """Yield the finished checkpoint in the folder of the run, under the name that it has beside the model.

    Runs in the same folder write to the same names: what is evaluated and exported must be of this one.
    """
    own = folder / _OWN / ckpt.name

    def save() -> None:
        own.parent.mkdir(exist_ok=True)
        job.save(own)

    try:
        # A signal may come while it is written, too.
        saved = tolerate("the checkpoint to export", save, reporter, REST_IS_MADE)
        yield own if saved else ckpt
    finally:
        forget_own_checkpoint(folder, ckpt.name)


def forget_own_checkpoint(folder: Path, name: str) -> None:
    """Remove the checkpoint of :func:`own_checkpoint`; a folder with anything else in it stays."""
    with contextlib.suppress(OSError):
        (folder / _OWN / name).unlink(missing_ok=True)
        (folder / _OWN).rmdir()


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
