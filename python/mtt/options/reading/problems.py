"""Mistakes in an options file, shown with the line, a caret and what to do."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mtt.errors import UserError
from mtt.printable import printable, printable_lines

# Mistakes in one file that are shown; with so many, it is another kind of file.
MOST_SHOWN: Final = 40
# What to begin with, where a file has nothing that could be kept.
SHORTEST: Final = "the two lines 'architecture: pet' and 'training_set: data.xyz'"
_LONGEST: Final = 1000
_LONGEST_WORD: Final = 200
_WIDTH = 100
# Stands for a character that nobody sees, so that the caret stays where it belongs.
_HIDDEN = "\ufffd"
# of a folder with more files, only the first are looked through for a near name
_MAX_NAMES = 2000


@dataclass(frozen=True, order=True)
class Place:
    """Line and column, both from 0, in the file, or the text of a ``-r`` override instead."""

    line: int
    column: int
    override: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Problem:
    """One mistake: where, the dotted name of the option, and what is wrong with it.

    Without a place it concerns the file as a whole, for instance an option that is missing.
    ``advice`` is what to do, where the message does not say it; ``unknown``: there is no option of
    that name; ``harmless``: it changes nothing, and is only to be said.
    """

    place: Place | None
    name: str
    message: str
    advice: str = ""
    unknown: bool = False
    harmless: bool = False

    def sort_key(self) -> tuple[int, int, int, str, str]:
        """Order of showing: the whole file, then line by line, then overrides."""
        if self.place is None:
            return (0, 0, 0, self.name, self.message)
        if self.place.override is not None:  # sorting keeps the order of the command line
            return (2, 0, 0, "", "")
        return (1, self.place.line, self.place.column, self.name, self.message)

    def render(self, file: str, lines: list[str]) -> str:
        """The message as a compiler would print it; ``lines`` are those of the file."""
        file = printable(file)
        message = f"{self.message}; {self.advice}" if self.advice else self.message
        text = printable(f"{self.name}: {message}" if self.name else message, _LONGEST)
        if self.place is None:
            return f"{file}: error: {text}"
        if self.place.override is not None:
            return f"-r {printable(self.place.override, _LONGEST)}: error: {text}"
        line, column = self.place.line, self.place.column
        head = f"{file}:{line + 1}:{column + 1}: error: {text}"
        if line >= len(lines) or not lines[line].strip():
            return head
        # a long line, such as a list of indices, is shown around the column
        start = max(0, column - _WIDTH // 2) if len(lines[line]) > _WIDTH else 0
        source = "".join(
            char if char == "\t" or char.isprintable() else _HIDDEN
            for char in lines[line][start : start + _WIDTH]
        )
        # tabs before the caret are kept, so that it stays below its character
        blank = "".join("\t" if char == "\t" else " " for char in source[: column - start])
        number = str(line + 1)
        return f"{head}\n  {number} | {source}\n  {' ' * len(number)} | {blank}^"


class OptionsError(UserError):
    """Everything that is wrong with an options file, in one message.

    ``problems`` are the single mistakes, in the order in which they are shown; ``advice`` is what
    to do about all of them.
    """

    def __init__(
        self, file: str, lines: list[str], problems: Iterable[Problem], advice: str = ""
    ) -> None:
        self.file = file
        unique = dict.fromkeys(problems)
        self.problems = sorted(unique, key=Problem.sort_key)
        shown = [problem.render(file, lines) for problem in self.problems[:MOST_SHOWN]]
        more = len(self.problems) - MOST_SHOWN
        if more > 0:
            shown.append(f"... and {more} more")
        if len(self.problems) > 1:
            shown.append(f"{len(self.problems)} errors in {printable(file)}")
        if advice:
            shown.append(f"  hint: {printable(advice, _LONGEST)}")
        super().__init__("\n".join(shown))

    def __str__(self) -> str:
        return printable_lines(self.what)

    def report(self) -> str:
        """The message itself: every line of it already says that it is an error."""
        return str(self)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if there is one; never the word itself."""
    if len(word) > _LONGEST_WORD:
        return None
    candidates = [candidate for candidate in known if candidate != word]
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    if word.lower() in by_lower:
        return by_lower[word.lower()]
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    return close[0] if close else None


def missing_file(path: Path, what: str = "file") -> str:
    """What to say of a file that is not there: where it was looked for, and a near name."""
    folder = path.parent
    if not folder.is_dir():
        return f"{what} not found: {path} (there is no folder {folder})"
    near = _near_file(path)
    if near is not None:
        return f"{what} not found: {path}; did you mean '{folder / near}'?"
    return f"{what} not found: {path} (looked in {folder.resolve()})"


def _near_file(path: Path) -> str | None:
    """The name of a file beside ``path`` that may have been meant.

    Names are compared without a common ending, which says little: eval.yaml is not meta.yaml.
    """
    try:
        names = sorted(os.listdir(path.parent))[:_MAX_NAMES]
    except OSError:
        return None
    stems = [Path(name).stem for name in names if Path(name).suffix == path.suffix]
    near = did_you_mean(path.stem, stems)
    if near is not None:
        return near + path.suffix
    return next((name for name in names if Path(name).stem == path.stem), None)
