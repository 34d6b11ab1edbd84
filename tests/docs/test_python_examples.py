"""The notebook and the page about Python do what they say, cell by cell."""

import json
import re
import shutil
from pathlib import Path

import matplotlib
import pytest
import yaml
from small_runs import verify_one_family

import mtt

DOCS = Path(__file__).parents[2] / "docs"
ETHANOL = DOCS / "examples" / "ethanol"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ethanol example, with a model and epochs for a test; verification has tests of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ETHANOL / "ethanol.xyz", tmp_path)
    options = yaml.safe_load((ETHANOL / "options.yaml").read_text())
    sizes = ("d_pet", "d_node", "d_head", "d_feedforward", "num_heads")
    options["architecture"]["model"] |= dict.fromkeys(sizes, 4)
    options["architecture"]["training"]["num_epochs"] = 2
    options["training_set"]["systems"] = {"read_from": "ethanol.xyz", "indices": "0:80"}
    options["validation_set"], options["test_set"] = "0:10", "10:20"
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(options))
    verify_one_family(monkeypatch)
    return tmp_path


def test_the_notebook_runs(folder: Path) -> None:
    notebook = json.loads((DOCS / "examples/python/potential.ipynb").read_text())
    assert notebook["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    names: dict[str, object] = {}
    # As quick as the options of this test are.
    cells[0] = cells[0].replace('["num_epochs"] = 10', '["num_epochs"] = 2')
    with matplotlib.rc_context({"backend": "agg"}):
        for cell in cells:
            exec(compile(cell, "potential.ipynb", "exec"), names)
    assert "RMSE" in repr(names["result"]) and "verification of" in repr(names["report"])
    assert names["result"]._repr_html_() and names["report"]._repr_html_()  # type: ignore[attr-defined]


def test_the_page_runs(folder: Path) -> None:
    page = (DOCS / "how-to/python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    # The page loads a model before it trains one.
    mtt.train("options.yaml")
    lines = Path("ethanol.xyz").read_text().splitlines(keepends=True)
    Path("test.xyz").write_text("".join(lines[: 11 * 20]))
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    assert names["model"]
