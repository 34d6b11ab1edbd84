"""Results that a run replaces: it says so, and keeps its own in its folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import leave_undrawn, make_options, verify_one_family

from mtt.training import run as stage
from mtt.training.runs.replaced_results import Results


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One family of checks and no drawing: this is about files."""
    monkeypatch.chdir(tmp_path)
    verify_one_family(monkeypatch)
    leave_undrawn(monkeypatch)


def test_an_earlier_result_is_replaced_aloud_and_each_run_keeps_its_own(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = make_options(tmp_path, training={"num_epochs": 1})
    first = stage.run(options)
    assert "is replaced" not in capsys.readouterr().out
    assert first is not None
    kept = (first / "model.pt").read_bytes()
    assert kept == Path("model.pt").read_bytes()
    second = stage.run(make_options(tmp_path, training={"num_epochs": 1}, seed=4))
    shown = capsys.readouterr().out
    assert "model.ckpt of an earlier run is replaced" in shown
    assert "model.pt of an earlier run is replaced" in shown
    assert "warning: another run" not in shown
    assert (first / "model.pt").read_bytes() == kept
    assert second is not None and (second / "model.pt").read_bytes() != kept


def test_a_run_beside_it_is_not_overwritten_unseen(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_train = stage._train

    def another_run_ends_first(*arguments: object) -> None:
        real_train(*arguments)  # type: ignore[arg-type]
        Path("model.pt").write_text("of another run")

    monkeypatch.setattr(stage, "_train", another_run_ends_first)
    stage.run(make_options(tmp_path, training={"num_epochs": 1}))
    assert (
        "warning: another run has written model.pt since this one began" in capsys.readouterr().out
    )


def test_what_is_told_depends_on_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    said: list[str] = []
    Results(path).replace(path, said.append)
    assert said == []
    path.write_text("a")
    results = Results(path)
    results.replace(path, said.append)
    assert said.pop().endswith("of an earlier run is replaced")
    os.utime(path, ns=(1, 1))
    results.replace(path, said.append)
    assert said.pop().startswith("warning: another run")


def test_a_run_evaluates_and_exports_its_own_weights(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another run in the same folder, such as a job of the same array, may end at the same time."""
    assert stage.run(make_options(tmp_path, training={"num_epochs": 1}, seed=4)) is not None
    other = Path("model.ckpt").read_bytes()
    expected = stage.run(make_options(tmp_path, training={"num_epochs": 1}))
    own, model = Path("model.ckpt").read_bytes(), Path("model.pt").read_bytes()
    assert own != other and expected is not None
    for step in ("_pictures", "_make_model"):
        real = getattr(stage, step)

        def ends_between(*arguments: object, _real: Callable[..., object] = real) -> object:
            Path("model.ckpt").unlink()
            Path("model.ckpt").write_bytes(other)
            return _real(*arguments)

        monkeypatch.setattr(stage, step, ends_between)
    folder = stage.run(make_options(tmp_path, training={"num_epochs": 1}))
    assert folder is not None
    assert Path("model.pt").read_bytes() == model == (folder / "model.pt").read_bytes()
    assert Path("model.ckpt").read_bytes() == own
    assert (folder / "errors.json").read_bytes() == (expected / "errors.json").read_bytes()
    shown = capsys.readouterr().out
    assert shown.count("warning: another run has written model.ckpt") == 2
    assert not (folder / ".results").exists()
