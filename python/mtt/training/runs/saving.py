"""Checkpoints in the folder of a run: when they are written, and which of them stay."""

import time
from collections.abc import Callable
from pathlib import Path

from mtt.errors import UserError
from mtt.options.schema import durations
from mtt.report.progress import Reporter
from mtt.training.best_epoch import smoothed_metrics
from mtt.training.prepare import Run
from mtt.training.runs.folder import Point, points_in
from mtt.training.runs.retention import superfluous

# What follows a file that could not be written at the end of a run, and before.
REST_IS_MADE = "the rest is made"
_CONTINUES = "training continues"


def tolerate(
    what: str, write: Callable[[], None], reporter: Reporter, then: str = _CONTINUES
) -> bool:
    """Whether ``write`` succeeded; if it did not, say so and continue."""
    try:
        write()
    except (UserError, OSError) as error:
        reason = error.what if isinstance(error, UserError) else str(error)
        where = f" ({error.where})" if isinstance(error, UserError) and error.where else ""
        reporter.message(f"warning: {what} could not be written: {reason}{where}; {then}")
        return False
    return True


class Saver:
    """Writes checkpoints to a folder that nobody else writes to, and deletes what nothing keeps.

    Every process of a run has one and asks it at the same steps; that of rank 0 writes.

    :param last_whole: the checkpoint that the run resumes from; later, the last one that was written
    """

    def __init__(self, job: Run, folder: Path, reporter: Reporter, last_whole: Path | None) -> None:
        self.job, self.folder, self.reporter, self.last_whole = job, folder, reporter, last_whole
        self._hypers, self._communicator = job.problem.hypers, job.problem.communicator
        every = self._hypers.checkpoint_every
        self._steps = None if every is None else durations.steps(every)
        self._seconds = (
            None if every is None or self._steps is not None else durations.seconds(every)
        )
        self._saved: Path | None = None
        self._restart()

    @property
    def path(self) -> Path:
        """The name of a checkpoint of the present state."""
        position = self.job.state.position
        return self.folder / Point.of(position.epoch, position.step, position.batch).name

    def due(self) -> bool:
        """Return whether ``checkpoint_every`` has passed since the last attempt, by rank 0's clock."""
        return self._communicator.broadcast(self._passed())

    def _passed(self) -> bool:
        if self._steps is not None:
            return self.job.state.position.step - self._step >= self._steps
        return self._seconds is not None and time.monotonic() - self._time >= self._seconds

    def save(self, then: str = _CONTINUES) -> bool:
        """Write a checkpoint unless it has just been written; say so if that fails."""
        path = self.path
        # Also if it fails: a disk that is full now is not asked again at every step.
        self._restart()
        if path == self._saved:
            return True
        writes = self._communicator.rank == 0
        written = writes and tolerate(
            "the checkpoint", lambda: self.job.save(path), self.reporter, then
        )
        if not self._communicator.broadcast(written):
            return False
        self._saved = self.last_whole = path
        if writes:
            self.clean(path)
        return True

    def clean(self, newest: Path) -> None:
        """Delete the checkpoints that the options do not keep, once ``newest`` is on the disk."""
        point, hypers = Point.read(newest.name), self._hypers
        assert point is not None
        history = self.job.state.history
        epochs = [int(row["epoch"]) for row in history]
        metrics = dict(zip(epochs, smoothed_metrics(history, hypers), strict=True))
        keep = (hypers.keep_last, hypers.keep_best, hypers.keep_every)
        try:
            for old in superfluous(points_in(self.folder), point, metrics, *keep):
                (self.folder / old.name).unlink(missing_ok=True)
        except OSError as error:
            self.reporter.message(f"warning: old checkpoints could not be deleted: {error}")

    def _restart(self) -> None:
        self._step, self._time = self.job.state.position.step, time.monotonic()
