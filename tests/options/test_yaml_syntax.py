"""Mistakes in the YAML are told in plain words, at the line that has to change."""

import pytest

from mtt.options.reading.document import parse

SAME_COLUMN = "options of one section begin in the same column"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a:\n  b: 1\n   c: 2\n", (3, 4), f"after 3 spaces and line 2 after 2: {SAME_COLUMN}"),
        (
            "a:\n  b: {x: 1}\n   c: {}\n",
            (3, 4),
            f"after 3 spaces and line 2 after 2: {SAME_COLUMN}",
        ),
        ("a:\n  b: 1\n c: 2\n", (3, 2), f"after 1 space and line 2 after 2: {SAME_COLUMN}"),
        (" a: 1\n\n# c\nb: 2\n", (4, 1), f"after no spaces and line 1 after 1: {SAME_COLUMN}"),
        ("a:\n  b:x\n  c: 2\n", (2, 4), "a space is missing after the ':'"),
        ("a:\n  b 1\n  c: 2\n", (2, 3), "there is no ':' on this line"),
        ("a: b: c\n", (1, 5), "a second ':' on this line: put the value in quotes"),
        ("a: {x: 1\nb: 3\n", (1, 4), "the '{' is not closed: add '}'"),
        ("a:\n  - [1, 2\nb: 3\n", (2, 5), "the '[' is not closed: add ']'"),
        ("a: {x: 1 y: 2}\n", (1, 11), "a ',' or the closing '}' is missing before this"),
        ("b: 1\na: 'x\n", (2, 4), "the quotation mark is not closed"),
        ("a: %x\n", (1, 4), "a value cannot begin with '%': put it in quotes"),
    ],
)
def test_plain_words(text: str, place: tuple[int, int], message: str) -> None:
    root, problems = parse(text)
    assert root is None
    (problem,) = problems
    assert problem.place is not None
    assert (problem.place.line + 1, problem.place.column + 1) == place
    assert problem.message.startswith("not YAML: ")
    assert problem.message.endswith(message)
