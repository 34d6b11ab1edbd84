"""What others wrote, on its way out: nothing of it is obeyed, hidden, or taken for a command."""

import ast
import io
import json
import random
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from mtt import printable as module
from mtt.errors import UserError, VerificationFailed
from mtt.options.reading.problems import MOST_SHOWN, OptionsError, Place, Problem
from mtt.printable import (
    LONGEST_LINE,
    HarmlessStream,
    harmless_output,
    print_machine,
    printable,
    printable_json,
    printable_lines,
)
from mtt.report.console import SteadyConsole

# One of every kind that a terminal or a reader could be misled by.
HIDDEN = (
    "\0\a\b\t\v\f\r\x1b\x7f\x80\x85\x9b\x9d\xad\u061c\u115f\u180e\u200b\u200d\u200e\u2028\u2029\u202e\u2060"
    "\u2066\u2800\u3164\ufe0f\ufeff\ufff9\uffa0\udfff\ud800\ue000\U000e0001\U000e0041\U000e0100"
)
PACKAGE = Path(module.__file__).parent
COMMAND = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)


def assert_harmless(text: str) -> None:
    for character in text:
        assert character in "\n\t" or character.isprintable(), repr(character)
        assert character not in module._INVISIBLE
    assert COMMAND.search(text) is None, text


@pytest.mark.parametrize("character", HIDDEN)
def test_what_nobody_sees_is_an_escape(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown.isascii() and shown.startswith("a\\") and shown.endswith("b")


def test_every_character_of_unicode_is_harmless_or_an_escape() -> None:
    for code in range(sys.maxunicode + 1):
        shown = printable(chr(code))
        kind = unicodedata.category(chr(code))
        if kind[0] in "CZ" and chr(code) != " ":
            assert shown.startswith("\\") and shown.isascii()
        assert shown.isprintable()


def test_writing_stays_as_it_is() -> None:
    text = "Å é 水 energy/ω ∂E/∂x ✓ μ"
    assert printable(text) == text


def test_accents_that_run_over_the_lines_around_are_cut() -> None:
    assert printable("e" + "\u0301" * 3) == "e" + "\u0301" * 3
    assert printable("e" + "\u0301" * 50).count("\u0301") == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::x", ":\\x3aerror::x"),
        ("  \t::error::x", "  \t:\\x3aerror::x"),
        ("a\n::stop", "a\n:\\x3astop"),
        ("a ::error::", "a ::error::"),
        ("a ##[group]", "a ##\\x5bgroup]"),
        ("##vso[task]", "##vso\\x5btask]"),
        ("std::vector", "std::vector"),
        ("\u00a0::error", "\\xa0::error"),
    ],
)
def test_commands_of_ci_services(text: str, shown: str) -> None:
    assert printable_lines(text) == shown
    stream = io.StringIO()
    HarmlessStream(stream).write(text)
    assert stream.getvalue() == shown


def test_text_in_pieces_is_as_harmless_as_in_one() -> None:
    draw = random.Random(5)
    pieces = [":", "::", "#", "##", "[", "vso", "\n", " ", "\t", "\x1b", "a", "\u202e", "\ud800"]
    for _ in range(5000):
        stream = io.StringIO()
        harmless = HarmlessStream(stream)
        for _ in range(draw.randint(1, 12)):
            harmless.write(draw.choice(pieces))
        assert_harmless(stream.getvalue())


def test_long_lines_are_cut_and_the_next_ones_are_whole() -> None:
    stream = io.StringIO()
    harmless = HarmlessStream(stream)
    for _ in range(100):
        harmless.write("x" * 1000)
    harmless.write("\nnext\n")
    first, second, _ = stream.getvalue().split("\n")
    assert first == "x" * LONGEST_LINE + "... (the line is longer)"
    assert second == "next"


def test_what_a_stream_cannot_encode_is_an_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    HarmlessStream(stream).write("µ\ud800")
    stream.flush()
    assert raw.getvalue() == rb"\xb5\ud800"


def test_everything_printed_in_the_block_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    with harmless_output():
        print(HIDDEN, "\n::error::x")
        print(HIDDEN, file=sys.stderr)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning("\x1b[2J", UserWarning, "\u202e.py", 1)
        SteadyConsole().print(HIDDEN, Text("\x1b]8;;http://x\x07"), "[red]\n::add-mask::x")
        print_machine("::notice::ours\n")
    shown = capsys.readouterr()
    assert "::notice::ours\n" in shown.out
    assert_harmless(shown.out.replace("::notice::ours\n", ""))
    assert_harmless(shown.err)
    assert "[red]" in shown.out
    assert not isinstance(sys.stdout, HarmlessStream)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _on_terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[io.StringIO, SteadyConsole]:
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", HarmlessStream(terminal))
    return terminal, SteadyConsole(width=40)


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)


def test_colours_are_ours_and_those_of_others_are_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, console = _on_terminal(monkeypatch)
    console.print(Text("\x1b[8mhidden\x1b]0;title\x07", style="red"))
    text = terminal.getvalue()
    assert "\x1b[31m" in text
    assert "\x1b[8m" not in text
    assert_harmless(_without_colours(text))
    assert "\\x1b[8mhidden\\x1b]0;title" in _without_colours(text)


def test_a_line_that_only_wrapping_begins_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, console = _on_terminal(monkeypatch)
    console.print("x" * 38, "::error file=a::forged")
    table = Table(title="::error::title", title_justify="left")
    table.add_column("::error::head")
    table.add_row("\x1b[31mred [link=http://x]y[/link]")
    console.print(table)
    text = _without_colours(terminal.getvalue())
    assert "error file=a" in text
    assert "[link=http://x]" in text.replace("\n", "")
    assert_harmless(text)


def test_what_is_printed_while_a_display_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, console = _on_terminal(monkeypatch)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task("[red]\x1b[2J\u202e")
        print("\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\ \x1b[8mhidden\x1b[0m \x1b[2J")
    text = terminal.getvalue()
    assert "http://evil" not in text
    assert "\x1b[8m" not in text and "\x1b[2J" not in text
    assert "[red]" in text
    assert_harmless(_without_colours(text))


def test_json_keeps_its_meaning() -> None:
    value = {HIDDEN: ["::error::x", "##[group]", "\U0001f600", "\x7f"]}
    for ensure_ascii in (True, False):
        text = printable_json(json.dumps(value, indent=1, ensure_ascii=ensure_ascii))
        assert json.loads(text) == value
        assert text.isascii()
        assert_harmless(text)


def test_errors_keep_to_their_lines() -> None:
    error = UserError(
        "no\nerror: forged", "a\u202eb\n::error::", "h\x1b[2J", details=["d\nx"] * 100
    )
    lines = str(error).split("\n")
    assert lines[0] == "no\\nerror: forged"
    assert len(lines) == 1 + 40 + 1 + 2
    assert_harmless(str(error))
    assert len(str(UserError("x" * 10**7))) < 3000
    assert str(VerificationFailed("a\nb")) == "a\\nb"
    assert str(UserError(**error.parts())) == str(error)


def test_mistakes_in_options_are_harmless_and_bounded() -> None:
    problems = [
        Problem(Place(k, 3), f"k{k}\n::error::", "unknown\x1b[2J option") for k in range(100_000)
    ]
    error = OptionsError("a\u202e.yaml", ["seed: \x1b[31m\u2066" * 50] * 100_000, problems)
    text = error.report()
    assert_harmless(text)
    assert text.count("error: k") == MOST_SHOWN
    assert text.endswith("... and 99960 more\n100000 errors in a\\u202e.yaml")


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of the package, with the file that it is in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield path.relative_to(PACKAGE).as_posix(), node


def test_nothing_goes_around_the_one_place() -> None:
    for file, call in _calls():
        called = ast.unparse(call.func)
        where = f"{file}:{call.lineno}: {called}"
        if called in ("Console", "rich.print", "print_json", "Text.from_markup", "Text.from_ansi"):
            raise AssertionError(f"{where}: use SteadyConsole, and no markup")
        if re.fullmatch(r"sys\.(__)?std(out|err)(__)?(\.buffer)?\.write(lines)?|os\.write", called):
            raise AssertionError(f"{where}: print, or use print_machine")
        if called == "TextColumn":
            assert "markup=False" in ast.unparse(call), where
        if called.endswith("_status.update"):
            assert isinstance(call.args[0], ast.Call), f"{where}: a text would be read as markup"
        if called == "print_machine":
            assert re.search(r"json|annotations", ast.unparse(call)), where


def test_every_program_of_ours_prints_through_it() -> None:
    programs = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        # Those write pages of the docs, and print nothing.
        if '__name__ == "__main__"' in path.read_text("utf-8") and path.name != "reference.py"
    }
    assert "__main__.py" in programs
    guarded = {file for file, call in _calls() if ast.unparse(call.func) == "harmless_output"}
    assert programs | {"verify/run.py"} <= guarded  # the command mtt-verify is a function there
