"""Ctrl-C, SIGTERM, SIGUSR1 and the end of the time: finish the step, save, and only then stop."""

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from mtt.errors import Terminated

# Queueing systems send the last one some minutes before they kill, if they are asked to.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_IMPORTED = time.monotonic()


class StopSignals:
    """Inside the block, the first signal is only noted; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python lets only the main thread set handlers; elsewhere signals keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def exception(self, text: str) -> KeyboardInterrupt:
        """What to raise after saving: Ctrl-C has an exit code of its own."""
        return KeyboardInterrupt(text) if self.received == signal.SIGINT else Terminated(text)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt("interrupted again before the checkpoint was complete")
        self.received = signal.Signals(number)


def program_age() -> float:
    """Seconds since the program was started, or since this was imported if the system hides that."""
    since_import = time.monotonic() - _IMPORTED
    try:
        # The 22nd field, counted from the end of the name, which may contain anything.
        started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return since_import
    return max(age, since_import)
