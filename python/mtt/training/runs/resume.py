"""Which checkpoint to resume from, and in which folder."""

import logging
from collections.abc import Iterator
from pathlib import Path

from mtt import checkpoint as checkpoints
from mtt.checkpoint import Header
from mtt.errors import UserError
from mtt.options import Options
from mtt.training.runs.folder import OUTPUTS, Point, points_in, run_folder_of
from mtt.training.runs.lock import FolderLock
from mtt.training.runs.option_changes import refused

_log = logging.getLogger(__name__)


def starting_point(
    options: Options, continue_from: Path | str | None, lock: FolderLock
) -> tuple[Path | None, Path | None]:
    """The checkpoint to resume from, and the folder of its run, locked, if the run resumes in there.

    It does so from the newest checkpoint of a folder under ``outputs``, to as many epochs as before.
    What resumes from elsewhere gets a folder of its own, so that no later checkpoint is overwritten.

    :param continue_from: a checkpoint, ``"auto"`` for the newest one of this run, or None for a new run
    :raises UserError: there is no such checkpoint, or another process trains in the folder
    """
    if continue_from is None:
        return None, None
    while True:
        source = (
            newest_checkpoint(OUTPUTS, options)
            if str(continue_from) == "auto"
            else Path(continue_from)
        )
        folder = _resumes_in(source, options)
        if folder is None:
            return source, None
        lock.take(folder)
        # Until then another process may have resumed it, and ended.
        if _resumes_in(source, options) == folder:
            return source, folder
        lock.release()


def _resumes_in(source: Path, options: Options) -> Path | None:
    """The folder in which a run resumes from ``source``, or None if it needs a new one."""
    folder = run_folder_of(source)
    if folder is None or not source.exists():
        return None
    header = checkpoints.read_header(source)
    if refused(header, options):
        return None
    position, before = header.position, header.options["architecture"]["training"]
    point = Point.of(position.epoch, position.step, position.batch)
    longer = before["num_epochs"] != options.architecture.training.num_epochs
    if longer or source.name != point.name:
        return None
    # A later one may be damaged: whatever can still be saved of it must not be overwritten.
    return folder if points_in(folder)[-1] == point else None


def newest_checkpoint(outputs: Path, options: Options) -> Path:
    """The newest whole checkpoint under ``outputs`` that a run with these options wrote.

    Newest is the one with most steps in the latest run's folder. Damaged files are left out with a
    message.

    :raises UserError: if there is none
    """
    others = damaged = 0
    for path in _candidates(outputs):
        header = _header(path)
        if header is None:
            damaged += 1
        elif refused(header, options):
            others += 1
        elif _is_whole(path):
            return path
        else:
            damaged += 1
    left_out = [
        f"{count} {what}"
        for count, what in ((others, "of runs with other options"), (damaged, "damaged"))
        if count
    ]
    raise UserError(
        "there is no checkpoint of this run to resume from"
        + (f"; found: {', '.join(left_out)}" if left_out else ""),
        where=str(outputs),
        hint="name a checkpoint, as in --continue model.ckpt, or train anew without --continue",
    )


def _candidates(outputs: Path) -> Iterator[Path]:
    """Checkpoints in the folders of all runs, newest first, as far as names tell."""
    for day in _entries(outputs):
        for folder in _entries(day):
            # A name with a dot in front is that of a file whose writing was cut off.
            checkpoint_files = [
                path
                for path in _entries(folder)
                if path.suffix == ".ckpt" and not path.name.startswith(".")
            ]
            yield from sorted(checkpoint_files, key=_progress, reverse=True)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, last names first; nothing, with a message, if it cannot be read."""
    try:
        return sorted(folder.iterdir(), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _log.warning("left out %s: it cannot be read: %s", folder, error.strerror)
        return []


def _progress(path: Path) -> tuple[Point, str]:
    """What to sort by: the name as we give it, or what a file of another name says of itself."""
    point = Point.read(path.name)
    if point is None:
        try:
            position = checkpoints.read_header(path).position
            point = Point.of(position.epoch, position.step, position.batch)
        except UserError:
            point = Point(0, 0)  # told when its turn comes
    return point, path.name


def _header(path: Path) -> Header | None:
    try:
        return checkpoints.read_header(path)
    except UserError as error:
        _log.warning("left out %s: %s", path, error.what)
        return None


def _is_whole(path: Path) -> bool:
    try:
        checkpoints.read(path)
    except UserError as error:
        _log.warning("left out %s: %s", path, error.what)
        return False
    return True
