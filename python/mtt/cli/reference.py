"""Writes the page of commands and options from the parser of the command line.

Run as ``python -m mtt.cli.reference docs/reference`` after a change of the command line. The options
of ``mtt verify`` come from the installed ``mtt-verify``.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mtt.cli import make_parser

PAGE = "cli.md"
_INTRODUCTION = """\
# Commands

<!-- Generated from the parser by `python -m mtt.cli.reference docs/reference`. -->
"""
_WIDTH = 88


def render() -> dict[str, str]:
    """Return the generated page, as name -> text."""
    lines = [_INTRODUCTION]
    for depth, parser in _parsers(make_parser()):
        if depth > 0:
            lines += [f"{'#' * min(depth + 1, 3)} {parser.prog}", ""]
        lines += _section(parser)
    return {PAGE: "\n".join(lines).rstrip() + "\n"}


def _parsers(
    parser: argparse.ArgumentParser, depth: int = 0
) -> Iterator[tuple[int, argparse.ArgumentParser]]:
    """Yield a parser, and those of its commands after it."""
    yield depth, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _parsers(command, depth + 1)


def _section(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (" ".join((parser.description or "").split()), "")
    # The formatter would take its width from the terminal otherwise.
    parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=_WIDTH)
    yield from ("```text", parser.format_usage().rstrip(), "```", "")
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not _is_help(action)]
        if actions:
            yield from (f"**{_escaped(str(group.title))}**", "", "| | |", "|---|---|")
            yield from (row for action in actions for row in _rows(parser, action))
            yield ""
    yield from _epilog(parser.epilog or "")


def _is_help(action: argparse.Action) -> bool:
    return isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS


def _rows(parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[str]:
    formatter = parser._get_formatter()
    if isinstance(action, argparse._SubParsersAction):
        for choice in action._choices_actions:
            command = f"{parser.prog} {choice.dest}"
            yield f"| [`{command}`](#{command.replace(' ', '-')}) | {_escaped(choice.help or '')} |"
        return
    name = formatter._format_action_invocation(action)
    text = formatter._expand_help(action) if action.help else ""
    yield f"| `{name.replace('|', chr(92) + '|')}` | {_escaped(text)} |"


def _escaped(text: str) -> str:
    return re.sub(r"([|<>*])", r"\\\1", " ".join(text.split()))


def _epilog(text: str) -> Iterator[str]:
    """Yield the paragraphs of an epilog: examples as commands, with what follows each as a comment."""
    for paragraph in text.strip().split("\n\n"):
        first, *rest = paragraph.splitlines() or [""]
        if first == "examples:":
            yield from ("```bash", *(re.sub(r"(?<=\S) {2,}", "  # ", x.strip()) for x in rest))
            yield from ("```", "")
        elif paragraph:
            yield from (_escaped(paragraph[:1].upper() + paragraph[1:]), "")


def main(folder: Path) -> None:
    """Write the generated page to ``folder``."""
    for name, text in render().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
