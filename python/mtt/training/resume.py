"""Which checkpoint to go on from."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..options import Options
from ..stages import checkpoint as checkpoints
from .same_run import refused

_log = logging.getLogger(__name__)
Header = dict[str, Any]


def newest_checkpoint(outputs: Path, options: Options) -> Path:
    """The newest whole checkpoint under ``outputs`` that a run with these options wrote.

    Newest is the one with most steps in the latest run's folder. Damaged files are left out with a
    message.

    :raises UserError: if there is none
    """
    others = damaged = 0
    for path, header in _candidates(outputs):
        if header is None:
            damaged += 1
        elif refused(header, options):
            others += 1
        elif _is_whole(path):
            return path
        else:
            damaged += 1
    found = [
        f"{count} {what}"
        for count, what in ((others, "of runs with other options"), (damaged, "damaged"))
        if count
    ]
    raise UserError(
        "there is no checkpoint of this run to go on from"
        + (f"; found: {', '.join(found)}" if found else ""),
        where=str(outputs),
        hint="name a checkpoint, as in --continue model.ckpt, or train anew without --continue",
    )


def _candidates(outputs: Path) -> Iterator[tuple[Path, Header | None]]:
    """Checkpoints in the folders of all runs, newest first; None for the header of damaged ones."""
    for folder in sorted(outputs.glob("*/*/"), reverse=True):
        readable: list[tuple[int, Path, Header]] = []
        # A name with a dot in front is that of a file whose writing was cut off.
        for path in sorted(folder.glob("[!.]*.ckpt")):
            try:
                header = checkpoints.read_header(path)
            except UserError as error:
                _log.warning("left out %s: %s", path, error.what)
                yield path, None
            else:
                readable.append((header["position"]["step"], path, header))
        for _, path, header in sorted(readable, key=lambda one: one[:2], reverse=True):
            yield path, header


def _is_whole(path: Path) -> bool:
    try:
        checkpoints.read(path)
    except UserError as error:
        _log.warning("left out %s: %s", path, error.what)
        return False
    return True
