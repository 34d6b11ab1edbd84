"""How far a download is: a bar with size and speed on a terminal, one line at the end elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mtt.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def size_text(size: float) -> str:
    """A number of bytes with a unit: 1.64 MB."""
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


class Bar:
    """The bar of one file, on standard error: standard output may be read by a program."""

    def __init__(self, name: str) -> None:
        self._name = printable(name, longest=40)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._received = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def start(self, total: int | None, done: int) -> None:
        """Something of a file begins to arrive, of which ``done`` bytes are here."""
        if self._progress is None and sys.stderr.isatty():
            self._progress = _bar()
            self._progress.start()
            self._task = self._progress.add_task(self._name)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=total, completed=done)

    def advance(self, count: int) -> None:
        """So many bytes more."""
        self._received += count
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        if error is None:
            seconds = max(time.monotonic() - self._started, 1e-3)
            speed = f"{size_text(self._received)}, {size_text(self._received / seconds)}/s"
            print(f"downloaded {self._name}: {speed}", file=sys.stderr)


def _bar() -> "Progress":
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from mtt.report.console import SteadyConsole

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=SteadyConsole(stderr=True),
        transient=True,
    )
