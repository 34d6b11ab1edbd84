"""Ctrl-C and SIGTERM while training: finish the step, save, and only then stop."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from ..errors import Terminated

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Inside the block, the first signal is only noted; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python lets only the main thread set handlers; elsewhere signals keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._note) for one in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def exception(self, text: str) -> KeyboardInterrupt:
        """What to raise after saving: Ctrl-C and SIGTERM have their own exit codes."""
        return Terminated(text) if self.received == signal.SIGTERM else KeyboardInterrupt(text)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt("interrupted again before the checkpoint was complete")
        self.received = signal.Signals(number)
