"""Ends downloads that would never end: a server that sends a byte now and then, or headers for ever.

Time-outs of the network begin anew with every byte. Here somebody counts what arrives in a window of
time, whatever it is part of, and hangs up when that is next to nothing.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

# Bytes in a second, over a window of this many times --timeout, and at least so many seconds.
LOWEST_SPEED: Final = 1000
WINDOWS_OF_TIMEOUT: Final = 2
SHORTEST_WINDOW: Final = 1.0
# Of one download from its first attempt to its end, in seconds.
LONGEST: Final = 24 * 3600.0
_CONNECTED: Final = "connection.connect_tcp.complete"


class TooSlow(Exception):
    """The watch has hung up; the text says why, to end a sentence."""


class Watch:
    """Counts what a client receives. ``trace`` is for httpx, which tells of each connection by it."""

    def __init__(self, timeout: float) -> None:
        self.window = max(SHORTEST_WINDOW, WINDOWS_OF_TIMEOUT * timeout)
        self._ends = time.monotonic() + LONGEST
        self._sockets: list[socket.socket] = []
        self._received = 0
        self._why: str | None = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Remember the connections that are made."""
        if event == _CONNECTED:
            connection = info["return_value"].get_extra_info("socket")
            if connection is not None:
                self._sockets.append(connection)

    def count(self, size: int) -> None:
        """Note that so many bytes of the file have arrived."""
        self._received += size

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Hang up when the block receives next to nothing.

        :raises TooSlow: in the place of the error of the connection that this causes
        """
        done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        except Exception as error:
            if self._why is not None:
                raise TooSlow(self._why) from error
            raise
        finally:
            done.set()
            thread.join()
        if self._why is not None:
            raise TooSlow(self._why)

    def _watch(self, done: threading.Event) -> None:
        before = self._received
        while not done.wait(min(self.window, max(self._ends - time.monotonic(), 0.01))):
            if time.monotonic() >= self._ends:
                self._why = f"it took longer than {LONGEST / 3600:g} hours"
            elif self._received - before < LOWEST_SPEED * self.window:
                self._why = f"less than {LOWEST_SPEED} bytes a second arrived for {self.window:g} s"
            if self._why is not None:
                self._hang_up()
                return
            before = self._received

    def _hang_up(self) -> None:
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
