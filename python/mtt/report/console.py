"""The terminal, or whatever standard output is: it may go away or be full."""

import os
import sys
from typing import Any

from rich.console import Console


class SteadyConsole(Console):
    """A console that falls silent when it cannot write, so that no work is lost with its lines.

    That happens in ``mtt train options.yaml | head``, where rich would end the program, and when
    standard output is a file on a full disk. What is still in a buffer then is tried again, and
    complained about, when the program ends.
    """

    def print(self, *objects: Any, **named: Any) -> None:
        """Print like rich, or fall silent."""
        try:
            super().print(*objects, **named)
        except OSError:
            self.quiet = True

    def on_broken_pipe(self) -> None:
        """Called by rich when nobody reads any more."""
        self.quiet = True
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())  # Python empties its buffers at exit
        os.close(nothing)
