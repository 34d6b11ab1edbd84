"""Texts that others wrote, on their way to a terminal, a log or a CI service: the one place for it.

File names, targets, messages of servers and models may hold characters that a terminal obeys instead of
showing, that turn a line around, that nobody sees, or lines that a CI service takes for its commands.
Programs put :func:`printable` around a text that is to stay in its line; and everything that the process
prints passes through :func:`harmless_output`, so that nothing can be forgotten.
"""

import io
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

# Longer lines are cut on their way to a terminal or a log; no message of ours comes near.
LONGEST_LINE: Final = 10_000
# Characters that Unicode takes for letters, marks or symbols, and that nobody sees.
_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U0001d159"
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# So many accents on one letter are writing; more of them run over the lines around.
_MOST_MARKS: Final = 3
# What CI services take for a command: two colons at the beginning of a line (GitHub), and ## with a
# bracket anywhere in it (GitHub, Azure: ##vso[, TeamCity: ##teamcity[). The last character is escaped:
# whatever comes before it may have been printed already.
_COMMAND: Final = re.compile(r"(^\s*:):|(##\w{0,20})\[")
_AS_IN_SOURCE: Final = {":": "\\x3a", "[": "\\x5b"}
# So much of a line is remembered for what is printed next.
_TAIL: Final = 24
# What rich writes to a terminal: colours, and the cursor's moves.
_CONTROL: Final = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\r)")
_UNSAFE_IN_JSON: Final = re.compile(r"[^\n\x20-\x7e]|(?<=##)\[|(?<=##vso)\[|(?<=##teamcity)\[")


def printable(text: str, longest: int | None = None) -> str:
    """The text in one line, with everything that is not visible as an escape, such as ``\\x1b``.

    :param longest: what is longer is cut, with dots at its end
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 3] + "..."
    if text.isascii() and text.isprintable():
        return text
    escaped, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        hidden = character in _INVISIBLE or not character.isprintable() or marks > _MOST_MARKS
        escaped.append(_escape(character) if hidden else character)
    return "".join(escaped)


def printable_lines(text: str, longest: int = LONGEST_LINE, most: int | None = None) -> str:
    """The text as :func:`printable` lines without commands for CI services.

    Its line ends and tabs stay.

    :param longest: longer lines are cut
    :param most: of more lines, only the first are kept
    """
    lines = text.split("\n")
    if most is not None and len(lines) > most:
        lines = [*lines[:most], f"... and {len(lines) - most} more lines"]
    return "\n".join(_without_commands(_printable_with_tabs(line, longest)) for line in lines)


def printable_json(text: str) -> str:
    """A text of JSON, with the same meaning, in visible ASCII that no CI service takes for a command."""
    return _UNSAFE_IN_JSON.sub(_json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x09:
        return " "  # strings cannot hold a tab as it is: this one is between values
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _printable_with_tabs(line: str, longest: int | None = None) -> str:
    if longest is not None and len(line) > longest:
        line = line[: longest - 3] + "..."
    return "\t".join(printable(part) for part in line.split("\t"))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _without_commands(line: str) -> str:
    return _COMMAND.sub(_defused, line) if ":" in line or "#" in line else line


def _defused(match: re.Match[str]) -> str:
    return (match[1] or match[2]) + _AS_IN_SOURCE[match[0][-1]]


class HarmlessStream(io.TextIOBase):
    """A text stream that shows what is written to it, and obeys nothing of it.

    Lines stay lines, and tabs stay. ``styled`` is the same stream for :class:`rich.console.Console`
    with its colours, ``unchanged`` for what has been made harmless: see :func:`print_machine`.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unchanged = stream
        self.styled = _Styled(self)
        self._before = ""  # how the line that is being written begins, or ends
        self._length = 0

    def write(self, text: str) -> int:
        """Write the text, escaped."""
        self._write("".join(self._pieces(text)))
        return len(text)

    def write_styled(self, text: str) -> int:
        """Write the text, with the sequences that colour it or move the cursor left as they are."""
        parts = _CONTROL.split(text)
        self._write(
            "".join(
                part if number % 2 else "".join(self._pieces(part))
                for number, part in enumerate(parts)
            )
        )
        return len(text)

    def _write(self, text: str) -> None:
        encoding = getattr(self.unchanged, "encoding", None) or "utf-8"
        self.unchanged.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _pieces(self, text: str) -> Iterator[str]:
        for number, line in enumerate(text.split("\n")):
            if number:
                self._before, self._length = "", 0
                yield "\n"
            if line:
                yield self._rest_of_line(line)

    def _rest_of_line(self, text: str) -> str:
        room = LONGEST_LINE - self._length
        if room < 0:
            return ""
        self._length += len(text)
        cut = "... (the line is longer)" if len(text) > room else ""
        text = _printable_with_tabs(text[:room])
        known = len(self._before)
        text = _without_commands(self._before + text)
        # Blanks at the beginning count for nothing; only the end of a longer line counts.
        start = text.lstrip()
        self._before = start if len(start) <= _TAIL else f".{start[-_TAIL:]}"
        return text[known:] + cut

    def flush(self) -> None:
        """Flush the stream behind this one."""
        self.unchanged.flush()

    def isatty(self) -> bool:
        """Return whether a terminal is behind this stream."""
        return self.unchanged.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream behind this one."""
        return self.unchanged.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the encoding of the stream behind this one."""
        return getattr(self.unchanged, "encoding", None) or "utf-8"

    def close(self) -> None:
        """Leave the stream behind this one open: it belongs to the program."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unchanged, name)


class _Styled:
    """What rich takes for its file."""

    def __init__(self, stream: HarmlessStream) -> None:
        self._stream = stream
        self.write = stream.write_styled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def harmless_output() -> Iterator[None]:
    """Let everything that is printed in the block, by whomever, pass through :class:`HarmlessStream`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream if isinstance(stream, HarmlessStream) else HarmlessStream(stream)
        for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def print_machine(text: str) -> None:
    """Write to standard output what a program reads, as it is: it must have been made harmless."""
    getattr(sys.stdout, "unchanged", sys.stdout).write(text)


def plural(count: int, noun: str) -> str:
    """``1 check``, ``2 checks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
