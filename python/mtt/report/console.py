"""The terminal, or whatever standard output is: it may go away or be full."""

import os
import sys
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from mtt.printable import printable_lines

_NO_LINK = Style(conceal=False)


class SteadyConsole(Console):
    """A console that falls silent when it cannot write, so that no work is lost with its lines.

    That happens in ``mtt train options.yaml | head``, where rich would end the program, and when
    standard output is a file on a full disk. What is still in a buffer then is tried again, and
    complained about, when the program ends.

    Brackets and colons in a text are no markup to it: names of others are in there. What they hold for
    the terminal is shown as an escape.
    """

    def __init__(self, **named: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **named})

    @property
    def file(self) -> IO[str]:
        """Return the stream with rich's own colours let through."""
        stream = super().file
        return getattr(stream, "styled", stream)

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render like rich, with everything that a text holds visible."""
        if isinstance(renderable, Text) and printable_lines(renderable.plain) != renderable.plain:
            renderable = self._escaped(renderable)  # before lines are broken, which would cut it
        for segment in super().render(renderable, options):
            yield segment if segment.control else _harmless(segment)

    def render_str(self, text: str, **named: Any) -> Text:
        """Make a text of what was no text yet, like rich."""
        return super().render_str(printable_lines(text), **named)

    def _escaped(self, text: Text) -> Text:
        parts = [(printable_lines(part.text), part.style or "") for part in text.render(self)]
        escaped = Text.assemble(*parts, justify=text.justify, overflow=text.overflow)
        escaped.no_wrap, escaped.end = text.no_wrap, text.end
        return escaped

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


def _harmless(segment: Segment) -> Segment:
    style = segment.style
    if style is not None and (style.link or style.conceal):
        # Of something that was printed while a display is shown, whose colours rich reads.
        style = style.update_link(None) + _NO_LINK
    return Segment(printable_lines(segment.text), style)
