"""What is seen of a run: a live display on a terminal, plain lines elsewhere, and a log."""

import io
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from mtt.files import unwritable
from mtt.printable import printable_lines
from mtt.report.console import SteadyConsole
from mtt.report.metrics import Quantity, judged_by, readable
from mtt.tokens import redacted

if TYPE_CHECKING:
    import torch

_REFRESH = 0.2
# What a line of an epoch leaves out first, where a terminal is narrow.
_NEEDLESS = ("rate", "learning_rate", "train_loss", "validation_loss", "remaining")
# Of tables in the log, where no terminal breaks lines.
_LOG_WIDTH = 200


class Reporter:
    """Reports a run to the terminal and to a log file.

    Use it as a context manager: inside, log records of ``mtt`` are shown as well. ``log_to`` names
    the file as soon as there is a folder for it; what was said before is written there too.

    :param console: where to write; standard output by default
    :param log_interval: epochs between plain lines; the last epoch is always reported
    :param silent: say and write nothing, as in all processes of a run but one
    :param stamps: put the time before lines that go elsewhere than to a terminal, as in the log
    """

    def __init__(
        self,
        console: Console | None = None,
        log_interval: int = 1,
        silent: bool = False,
        stamps: bool = False,
    ) -> None:
        self._silent, self._stamps = silent, stamps
        self.console = console if console is not None else SteadyConsole()
        self.log_interval = log_interval
        self._log: Path | None = None
        self._log_fails = False
        self._early: list[str] = []
        self._handler = _Handler(self)
        self._progress: Progress | None = None
        self._bars: tuple[TaskID, TaskID] | None = None
        self._quantities: Sequence[Quantity] = ()
        self._loss: float | torch.Tensor = math.nan
        self._shown_at = 0.0
        self._num_epochs = self._epoch = self._steps = 0
        self._started = self._epoch_started = 0.0
        self._first_epoch = self._structures = 0
        self._timed_steps = self._first_step = self._steps_done = 0

    def __enter__(self) -> Self:
        logger = logging.getLogger("mtt")
        logger.addHandler(self._handler)
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()
        logging.getLogger("mtt").removeHandler(self._handler)
        self._log = None

    def log_to(self, path: Path) -> None:
        """Write everything to ``path`` from now on, and what was said before as well.

        :raises UserError: if that is not possible now; later, no line is worth the run
        """
        if self._silent:
            return
        try:
            _append(path, "".join(self._early))
        except OSError as error:
            raise unwritable(path, error) from error
        self._early.clear()
        self._log = path

    def start(
        self,
        num_epochs: int,
        steps_per_epoch: int,
        quantities: Sequence[Quantity],
        first_epoch: int = 0,
        first_step: int = 0,
    ) -> None:
        """Show that training begins.

        :param num_epochs: epochs of the whole run
        :param steps_per_epoch: optimizer steps of one epoch
        :param quantities: those of :func:`mtt.report.metrics.quantities`, whose errors are shown
        :param first_epoch: epochs that were done before a resume
        :param first_step: steps of the current epoch that were done before a resume
        """
        self._quantities = [quantity for quantity in quantities if not quantity.is_total]
        self._num_epochs, self._steps = num_epochs, steps_per_epoch
        self._epoch, self._first_epoch = first_epoch, first_epoch
        self._first_step, self._steps_done = first_step, first_step
        self._timed_steps = 0
        self._started = self._epoch_started = time.monotonic()
        if self.console.is_terminal and not self._silent:
            self._start_display()

    def step(self, loss: "float | torch.Tensor", n_structures: int = 0) -> None:
        """One optimizer step is done. ``loss`` may stay on its device: it is looked at rarely."""
        self._steps_done += 1
        self._timed_steps += 1
        self._structures += n_structures
        self._loss = loss
        now = time.monotonic()
        if self._progress is None or self._bars is None or now - self._shown_at < _REFRESH:
            return
        self._shown_at = now
        rate = self._structures / max(now - self._epoch_started, 1e-9)
        status = f"loss {float(loss):.4g}" + (f"  {rate:.0f} structures/s" if rate else "")
        self._progress.update(self._bars[1], completed=self._steps_done, status=status)
        self._progress.update(self._bars[0], status=f"ETA {duration(self._remaining(now))}")

    def epoch(self, metrics: Mapping[str, float | int]) -> None:
        """An epoch is done, with its row of the metrics file (see :mod:`mtt.report.metrics`)."""
        now = time.monotonic()
        self._epoch = int(metrics.get("epoch", self._epoch + 1))
        rate = self._structures / max(now - self._epoch_started, 1e-9)
        self._steps_done = 0
        parts = self._parts(metrics, rate, self._remaining(now))
        line = " | ".join(parts.values())
        self._write_log(line)
        last = self._epoch >= self._num_epochs
        if self._progress is not None and self._bars is not None:
            # The line stays above the display.
            if last or self._epoch % self.log_interval == 0:
                self._print(fitting(parts, self.console.width))
            self._progress.update(self._bars[0], completed=self._epoch)
            self._progress.update(self._bars[1], completed=0)
        elif last or self._epoch % self.log_interval == 0:
            self._print(line)
        self._epoch_started, self._structures = time.monotonic(), 0

    def message(self, text: str) -> None:
        """Say something in its own line, without secrets of the user's."""
        text = redacted(text)
        self._write_log(text)
        self._print(text)

    def show(self, part: RenderableType) -> None:
        """Show a table or a line; the log gets it as text, without colors and line breaks of its own."""
        if self._silent:
            return
        if isinstance(part, str):
            self.message(part)
            return
        self.console.print(part)
        text = io.StringIO()
        SteadyConsole(file=text, width=_LOG_WIDTH).print(part)
        for line in text.getvalue().splitlines():
            self._write_log(redacted(line.rstrip()))

    def finish(self) -> None:
        """Training has ended, well or not: the display goes away, its lines stay."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start_display(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        epochs = self._progress.add_task(
            "epoch", total=self._num_epochs, completed=self._epoch, status=""
        )
        steps = self._progress.add_task(
            "step", total=self._steps, completed=self._steps_done, status=""
        )
        self._bars = (epochs, steps)
        self._progress.start()

    def _remaining(self, now: float) -> float:
        """Seconds to the end, from the mean time of a step (validation included) so far."""
        if self._timed_steps == 0:
            return math.nan
        done = self._epoch * self._steps + self._steps_done
        return (self._num_epochs * self._steps - done) * (now - self._started) / self._timed_steps

    def _parts(
        self, metrics: Mapping[str, float | int], rate: float, remaining: float
    ) -> dict[str, str]:
        """Return the parts of the line of an epoch, by names that :data:`_NEEDLESS` uses."""
        width = len(str(self._num_epochs))
        parts = {"epoch": f"epoch {self._epoch:{width}d}/{self._num_epochs}"}
        for name, label in (("train_loss", "loss"), ("validation_loss", "validation loss")):
            if name in metrics:
                parts[name] = f"{label} {metrics[name]:.4g}"
        errors = [text for one in self._quantities if (text := _both_errors(one, metrics))]
        if errors:
            sets = "training/validation" if _is_validated(metrics) else "training"
            parts["errors"] = f"RMSE of {sets}: {', '.join(errors)}"
        if "learning_rate" in metrics:
            parts["learning_rate"] = f"lr {metrics['learning_rate']:.3g}"
        if rate > 0:
            parts["rate"] = f"{rate:.0f} structures/s"
        if self._epoch < self._num_epochs and not math.isnan(remaining):
            parts["remaining"] = f"ETA {duration(remaining)}"
        return parts

    def _print(self, text: str) -> None:
        if self._silent:
            return
        if self._stamps and not self.console.is_terminal:
            text = f"{_now()} {text}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _write_log(self, text: str) -> None:
        if self._silent:
            return
        stamped = f"{_now()} {printable_lines(text)}\n"
        if self._log is None:
            self._early.append(stamped)
            return
        try:
            # Half a line may be what the disk still took.
            _append(self._log, f"\n{stamped}" if self._log_fails else stamped)
        except OSError as error:
            if not self._log_fails:
                self._log_fails = True
                failure = unwritable(self._log, error)
                self._print(f"warning: the log could not be written: {failure.what} ({self._log})")
            return
        self._log_fails = False


def fitting(parts: Mapping[str, str], width: int) -> str:
    """Return the parts as one line of a terminal, without what the reader misses least."""
    kept = dict(parts)
    for name in _NEEDLESS:
        if len(" | ".join(kept.values())) <= width:
            break
        kept.pop(name, None)
    line = " | ".join(kept.values())
    return line if len(line) <= width else f"{line[: width - 3]}..."


def _both_errors(quantity: Quantity, metrics: Mapping[str, float | int]) -> str:
    """Return the RMSE on both sets, in one unit; nothing where the set that judges has none."""
    name = quantity.metric("rmse")
    train, validated = metrics.get(f"train_{name}"), _is_validated(metrics)
    value = metrics.get(f"validation_{name}") if validated else train
    if value is None:
        return ""
    label, shown = quantity.label.removesuffix(" per atom"), readable(float(value), quantity.unit)
    if not validated:
        return f"{label} {shown}"
    if train is None:
        return f"{label} -/{shown}"
    number = readable(float(train), quantity.unit, like=float(value)).partition(" ")[0]
    return f"{label} {number}/{shown}"


def _is_validated(metrics: Mapping[str, float | int]) -> bool:
    return judged_by([metrics]) == "validation"


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _append(path: Path, text: str) -> None:
    # Opened for each line: a file that is open for writing keeps a disk from becoming read-only.
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


class _Handler(logging.Handler):
    """Passes log records of mtt on to a reporter."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        self._reporter.message(text)


def duration(seconds: float) -> str:
    """Return a time as people say it: ``12 s``, ``3 min 05 s``, ``7 h 10 min``, ``2 d 5 h``."""
    if math.isnan(seconds):
        return "unknown"
    total = max(0, round(seconds))
    hours, minutes = total // 3600, total % 3600 // 60
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {total % 60:02d} s" if minutes else f"{total} s"
