"""The committed reference page and schema are those of the option models."""

from pathlib import Path

import pytest

from mtt.options import load_eval_options, load_options
from mtt.options.reference import render

_DOCS = Path(__file__).parents[2] / "docs"


def test_reference_is_up_to_date() -> None:
    for name, text in render().items():
        stored = (_DOCS / "reference" / name).read_text(encoding="utf-8")
        assert stored == text, "run: python -m mtt.options.reference docs/reference"


def test_the_page_describes_every_option() -> None:
    rows = [line for line in render()["options.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    for row in rows:
        assert not row.endswith("|  |"), f"no description: {row}"


def test_the_example_of_the_page_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = render()["options.md"]
    example = page.partition("```yaml\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    Path("ethanol.xyz").touch()
    Path("options.yaml").write_text(example)
    assert load_options("options.yaml").architecture.name == "pet"


@pytest.mark.parametrize("name", ["ethanol", "alloy"])
def test_the_options_of_the_examples_are_accepted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_DOCS / "examples" / name)
    assert load_options("options.yaml").architecture.name == "pet"
    for path in Path().glob("eval*.yaml"):
        assert load_eval_options(path)
