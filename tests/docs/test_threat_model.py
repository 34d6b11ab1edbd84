"""Every promise of the threat model names tests that are there, and pages that promise safety point to it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "concepts" / "threat-model.md"
PATH = re.compile(r"`((?:tests|csrc)/[^`]+)`")


def promises() -> list[list[str]]:
    """Return the cells of the table of promises."""
    text = PAGE.read_text("utf-8").split("## What is promised\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("row", promises(), ids=lambda row: row[0][:40])
def test_a_promise_has_tests(row: list[str]) -> None:
    assert len(row) == 3
    paths = PATH.findall(row[2])
    assert paths
    for path in paths:
        content = (ROOT / path).read_text("utf-8")
        assert re.search(r"^def test_|^    def test_|^TEST\(", content, re.MULTILINE), path


@pytest.mark.parametrize(
    "page",
    [
        *("README.md", "docs/concepts/verify.md", "docs/concepts/checkpoint.md"),
        *("docs/concepts/image.md", "docs/how-to/models-from-elsewhere.md"),
        *("docs/how-to/provenance.md", "docs/how-to/verify-in-ci.md"),
    ],
)
def test_pages_that_promise_safety_point_to_the_threat_model(page: str) -> None:
    assert "threat-model.md" in (ROOT / page).read_text("utf-8")
