"""The page of a run: what it says, and that nothing of the data's texts is markup."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import ase.io
import pytest
from rich.console import Console
from small_runs import make_options, write_data

from mtt import checkpoint
from mtt.__main__ import main
from mtt.errors import VerificationFailed
from mtt.export import provenance
from mtt.export import run as export
from mtt.training import run as stage
from mtt.verify import run as verification
from mtt.verify.report import Report, terminal

HOSTILE = '<img src=x onerror="alert(1)">'
REPORT = {
    "schema": 3,
    "file": {"path": "model.pt"},
    "verdict": "fail",
    "checks": [
        {
            "family": "SYM",
            "name": "rotation",
            "status": "pass",
            "measured": 51.0,
            "unit": "meV per atom, meV/angstrom",
            "message": "rotations change forces by up to 0.051 eV/A <b>",
        }
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two config_types, whose model file fails the verification."""
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "data.xyz")
    frames = ase.io.read(folder / "data.xyz", ":")
    for number, atoms in enumerate(frames):
        atoms.info["config_type"] = "bulk" if number % 2 else HOSTILE
    ase.io.write(folder / "data.xyz", frames, format="extxyz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)

        def failing(*_: object, keep: object = None, **__: object) -> Path:
            assert callable(keep)
            keep(Report.of(REPORT))
            raise VerificationFailed("SYM/rotation")

        patch.setattr(export, "run", failing)
        with pytest.raises(VerificationFailed):
            stage.run(make_options(folder, test_set="0:4"))
    return next((folder / "outputs").glob("*/*"))


def test_the_page(folder: Path) -> None:
    page = (folder / "report.html").read_text("utf-8")
    header = checkpoint.read_header(folder.parents[2] / "model.ckpt")
    for text in (
        f"the best epoch, {header.best.epoch} of 3",
        "training RMSE",
        "test RMSE",
        "Structures with the largest errors",
        "By config_type",
        "By element",
        "rotations change energy by up to",
        "rotations change forces by up to 0.051 eV/A &lt;b&gt;",
        "ms/atom on cpu",
        "standard deviation",
        header.content_hash,
        header.options_hash,
        "num_epochs: 3",
        'href="verification.html"',
    ):
        assert text in page, text
    assert page.count('class="plot"') == 3


class Parts(HTMLParser):
    """Tags of a page, and what its parts refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.refers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.refers += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)


def test_nothing_of_the_data_is_markup_and_nothing_is_loaded(folder: Path) -> None:
    page = (folder / "report.html").read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x" in page
    parts = Parts()
    parts.feed(page)
    assert "script" not in parts.tags and "link" not in parts.tags
    inside = "data:image/svg+xml;base64,"
    assert [text for text in parts.refers if not text.startswith(inside)] == ["verification.html"]
    for text in parts.refers:
        if text.startswith(inside):
            picture = base64.b64decode(text.removeprefix(inside)).decode()
            assert "<script" not in picture and "onerror" not in picture
            assert not re.search(r"href=\"(?!#|data:)", picture)


def test_the_numbers_beside_it(folder: Path) -> None:
    analysis = json.loads((folder / "analysis.json").read_text())
    assert set(analysis) == {"validation", "test"}
    assert set(analysis["test"]["groups"]["config_type"]) == {HOSTILE, "bulk"}
    log = (folder / "train.log").read_text()
    for text in ("host ", "torch ", "best model on the test set", "RMSE by config_type"):
        assert text in log, text
    assert (folder / "verification.json").exists() and (folder / "verification.html").exists()


def test_the_verdict_names_the_rotational_error(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report.of(REPORT)
    terminal.print_report(report, "model.pt", Console(width=200))
    assert "rotations change forces by up to 0.051 eV/A" in capsys.readouterr().out
    allowed = {**REPORT["checks"][0], "tolerance": 5.0}  # type: ignore[index]
    judged = Report.of({**REPORT, "checks": [allowed]}).rotation
    assert judged is not None and "--max-rotation-error allows 5 meV" in judged
    assert verification.Outputs().paths() == []


def test_which_weights_are_exported(folder: Path) -> None:
    header = checkpoint.read_header(folder.parents[2] / "model.ckpt")
    best = export.weights_in_words(header, "best")
    assert re.fullmatch(r"the best epoch, \d of 3 \(validation rmse_prod [\d.e-]+\)", best)
    assert export.weights_in_words(header, "last") == "the last epoch, 3"


def test_test_errors_go_with_the_best_weights(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = folder.parents[2] / "model.ckpt"
    header = checkpoint.read_header(ckpt)
    best = provenance.record(header, "0" * 64, "best", None, verified=True)
    assert [row["quantity"] for row in best["test_errors"]][-2:] == ["forces", "stress"]
    last = provenance.record(header, "0" * 64, "last", None, verified=True)
    assert best.keys() - last.keys() == {"test_errors"}
    assert main(["show", str(ckpt)]) == 0
    shown = capsys.readouterr().out
    assert "test set" in shown and f"{header.test_errors[1].rmse:.4g} eV/atom" in shown
