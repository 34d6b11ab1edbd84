"""The committed page of commands is the one that the parser gives."""

import shlex
import sys
from pathlib import Path

import pytest

from mtt.cli import make_parser
from mtt.cli.reference import PAGE, render
from mtt.verify.program_catalogue import catalogue

_REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse words its help differently")
def test_the_page_of_commands_is_up_to_date() -> None:
    stored = (_REFERENCE / PAGE).read_text(encoding="utf-8")
    assert stored == render()[PAGE], "run: python -m mtt.cli.reference docs/reference"


def test_the_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = render()
    monkeypatch.setenv("COLUMNS", "40")
    assert render() == wide


def test_every_option_of_the_verifier_is_on_the_page() -> None:
    page = render()[PAGE]
    for option in catalogue().keywords().values():
        assert option.flag in page


def test_the_examples_of_the_page_are_accepted() -> None:
    examples = [line for line in render()[PAGE].splitlines() if line.startswith("mtt ")]
    assert len(examples) > 40
    for line in examples:
        make_parser().parse_args(shlex.split(line, comments=True)[1:])
