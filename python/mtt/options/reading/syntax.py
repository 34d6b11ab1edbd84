"""Mistakes in the YAML itself, in the words of someone who writes options and knows no grammar."""

import re
from typing import Final

import yaml

from mtt.options.reading.problems import Place, Problem

# Words of our own loader, which has read the YAML and refuses its size.
_LIMITS: Final = ("nested too deeply", "too many values")
_NO_SPACE: Final = re.compile(r"\s*(?:- )?[\w-]+:[^\s:]\S*\s*(?:#.*)?$")
_OPENING: Final = {"while parsing a flow mapping": "{", "while parsing a flow sequence": "["}


def syntax_problem(error: yaml.MarkedYAMLError, text: str, override: str | None = None) -> Problem:
    """Return what is wrong with a text that is no YAML, at the line to change."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    what = error.problem or error.context or "cannot be read"
    if what in _LIMITS:
        return Problem(Place(line, column, override), "", f"not options: {what}")
    if "'\\t'" in what:
        what = "a tab cannot be used to indent; use spaces"
    else:
        # What PyYAML stumbles over is often behind the line that has to change.
        known = _explained(error, text.splitlines(), line, column)
        if known is not None:
            what, line, column = known
        elif error.context and error.problem:
            what = f"{error.context}, {error.problem}"
    return Problem(Place(line, column, override), "", f"not YAML: {what}")


def _explained(
    error: yaml.MarkedYAMLError, lines: list[str], line: int, column: int
) -> tuple[str, int, int] | None:
    """Return the mistake in plain words and its place; None if it is no common one."""
    context, problem = error.context or "", error.problem or ""
    start = error.context_mark
    if context in _OPENING and start is not None:
        opening = _OPENING[context]
        closing = "}" if opening == "{" else "]"
        if start.line == line:
            return f"a ',' or the closing '{closing}' is missing before this", line, column
        return f"the '{opening}' is not closed: add '{closing}'", start.line, start.column
    if context == "while scanning a quoted scalar" and start is not None:
        return "the quotation mark is not closed", start.line, start.column
    if context == "while scanning a simple key" and start is not None:
        return "there is no ':' after this name", start.line, start.column
    character = re.match(r"found character '(.)' that cannot start", problem)
    if character is not None:
        return f"a value cannot begin with '{character[1]}': put it in quotes", line, column
    if problem == "mapping values are not allowed here":
        return _colon(lines, line, column)
    before = _line_before(lines, line)
    if "block mapping start" in problem and before is not None:
        return _indented(lines, before, column), line, column
    return None


def _colon(lines: list[str], line: int, column: int) -> tuple[str, int, int]:
    """Return why a ':' is not allowed where it is."""
    before = _line_before(lines, line)
    if ": " in lines[line][:column]:
        return "a second ':' on this line: put the value in quotes", line, column
    if before is not None and _NO_SPACE.match(lines[before]):
        return "a space is missing after the ':'", before, lines[before].index(":")
    if before is not None and ":" not in lines[before]:
        return "there is no ':' on this line", before, _indent(lines[before])
    own = _indent(lines[line])
    if before is not None and own > _indent(lines[before]):
        return _indented(lines, before, own), line, own
    return "a ':' is not allowed here: put text that has one in quotes", line, column


def _line_before(lines: list[str], line: int) -> int | None:
    """Return the last line before another that says something."""
    numbers = range(min(line, len(lines)) - 1, -1, -1)
    return next((number for number in numbers if lines[number].split("#")[0].strip()), None)


def _indented(lines: list[str], before: int, column: int) -> str:
    spaces = "1 space" if column == 1 else f"{column or 'no'} spaces"
    return (
        f"this line begins after {spaces} and line {before + 1} after {_indent(lines[before])}:"
        " options of one section begin in the same column"
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
