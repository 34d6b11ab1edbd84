"""Runs without a validation set: which epoch is the best one, and what everything says of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kill_process import at_write
from killed_runs import assert_killed_it_has_the_same_bits
from small_runs import leave_undrawn, make_options, verify_one_family

from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.api.trained_run import train as train_from_python
from mtt.errors import UserError
from mtt.inspect.describe import describe
from mtt.options.schema.training import TrainingHypers
from mtt.report.metrics import judged_by, read_rows
from mtt.sources import model_card
from mtt.training.best_epoch import smoothed_metrics

WARNING = (
    "warning: there is no validation set: the best epoch is chosen by the errors of the training"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    verify_one_family(monkeypatch)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_undrawn(monkeypatch)


def written(folder: Path, training: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write options without validation and test set."""
    make_options(
        folder, {"num_epochs": 2, **(training or {})}, **{"validation_set": 0.0, **changes}
    )
    return folder / "options.yaml"


def train(*words: str) -> Path:
    """Train, and return the folder of the run."""
    assert main(["train", "options.yaml", *words]) == 0
    return sorted(Path("outputs").glob("*/*/"))[-1]


def test_a_run_and_all_that_it_leaves(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder)
    run = train()
    said, log = capsys.readouterr().out, (run / "train.log").read_text()
    assert said.count(WARNING) == log.count(WARNING) == 1
    assert said.index(WARNING) < said.index("epoch 1/2")
    rows = read_rows(run / "metrics.csv")
    assert len(rows) == 2 and not any("validation" in name for row in rows for name in row)
    for epoch, row in enumerate(rows, start=1):
        (line,) = [line for line in said.splitlines() if f"epoch {epoch}/2" in line]
        assert "validation" not in line and "RMSE of training: energy" in line
        assert f"{1000 * row['train_forces_rmse']:.4g} meV/A" in line or "eV/A" in line
    products = [
        row["train_energy_rmse_per_atom"] * row["train_forces_rmse"] * row["train_stress_rmse"]
        for row in rows
    ]
    best = products.index(min(products)) + 1
    header = checkpoints.read_header(Path("model.ckpt"))
    assert (header.best.epoch, header.best.value) == (best, pytest.approx(min(products)))
    assert f"the best epoch was {best} (rmse_prod {min(products):.4g} on the training set)" in said
    assert header.split["validation"] == [] and len(header.split["train"]) == 12
    # All structures, with the weights that are exported: not the means over the epoch.
    errors = json.loads((run / "errors.json").read_text())
    assert list(errors) == ["training"] and errors["training"]["forces"]["values"] > 0
    assert (run / "parity_training.png").exists() and (run / "learning_curve.png").exists()
    assert "best model on the training set: 12 structures" in said
    page = (run / "report.html").read_text()
    assert "there is no validation set" in page and "training RMSE afterwards" in page
    assert "Errors on the training set" in page and "validation RMSE" not in page
    assert f"(training rmse_prod {min(products):.4g})" in page
    assert Path("model.pt").exists()

    assert main(["show", "model.ckpt"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "of the training set: there was no validation set" in shown
    assert "12 train, 0 validation, 0 test" in shown and f"{best}, by rmse_prod" in shown
    (card,) = model_card._errors(describe(Path("model.ckpt")))
    assert "On the training set, in the best epoch (there was no validation set):" in card
    assert "forces RMSE" in card


@pytest.mark.usefixtures("undrawn")
def test_a_test_set_is_looked_at_instead(folder: Path) -> None:
    written(folder, test_set="0:3")
    run = train()
    assert list(json.loads((run / "errors.json").read_text())) == ["test"]
    page = (run / "report.html").read_text()
    assert "Errors on the test set" in page and "training RMSE afterwards" not in page
    header = checkpoints.read_header(Path("model.ckpt"))
    assert [len(header.split[part]) for part in ("train", "validation", "test")] == [9, 0, 3]
    assert header.test_errors


def test_killed_it_has_the_same_bits(folder: Path) -> None:
    path = written(folder, {"num_epochs": 3, "checkpoint_every": "2 steps"})
    options = yaml.safe_load(path.read_text())
    # In the middle of an epoch as well as after one.
    assert_killed_it_has_the_same_bits(folder, options, at_write(4, 0), at_write(2, 0))


@pytest.mark.usefixtures("undrawn")
def test_more_epochs_are_added(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder)
    train()
    written(folder, {"num_epochs": 3})
    capsys.readouterr()
    train("--continue", "auto")
    said = capsys.readouterr().out
    assert WARNING in said and "epoch 3/3" in said
    header = checkpoints.read_header(Path("model.ckpt"))
    assert len(header.history) == 3 and header.best.epoch >= 1
    # Going without is another run than going with.
    written(folder, {"num_epochs": 3}, validation_set=0.25)
    assert main(["train", "options.yaml", "--continue", "model.ckpt"]) == 2
    assert "validation_set.fraction: 0.0 in the checkpoint, now 0.25" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_its_checkpoint_is_a_base(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder)
    train()
    Path("model.ckpt").rename("base.ckpt")
    written(folder, {"num_epochs": 1, "fine_tune": {"read_from": "base.ckpt"}})
    capsys.readouterr()
    assert main(["train", "options.yaml", "-o", "tuned.pt"]) == 0
    assert "fine-tuning from base.ckpt: best weights" in capsys.readouterr().out
    assert checkpoints.read_header(Path("tuned.ckpt")).best.epoch == 1


@pytest.mark.usefixtures("undrawn")
def test_an_ensemble_gives_its_spread_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, seed=[1, 2])
    train()
    said = capsys.readouterr().out
    assert "uncertainty of energy: the spread of the members as it is, not calibrated" in said
    (record,) = checkpoints.read_header(Path("model.ckpt")).uncertainties
    assert record.multiplier == 1.0 and record.members == 2
    assert main(["show", "model.ckpt"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "with 2 members; not calibrated, as there was no validation set" in shown


def test_an_uncertainty_of_the_last_layer_needs_one(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        written(folder, {"uncertainty": "llpr"})
    assert (
        "architecture.training.uncertainty: is calibrated on structures that the model was not"
        in (str(caught.value))
    )


def test_a_dry_run_and_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(folder)
    assert main(["train", "options.yaml", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert WARNING in said and "dry run: 3 steps" in said
    run = train_from_python(path)
    assert list(run.errors) == ["training"] and "best epoch" in repr(run)


def row(epoch: int, **errors: float) -> dict[str, float]:
    return {"epoch": epoch, **{f"train_{name}": value for name, value in errors.items()}}


def test_epochs_that_lack_an_error_are_compared_nevertheless() -> None:
    hypers = TrainingHypers(num_epochs=4, best_model_smoothing=0.0)
    history = [
        row(1, loss=4.0, energy_rmse_per_atom=0.5),
        row(2, loss=3.0, energy_rmse_per_atom=0.5, stress_rmse=8.0),
        row(3, loss=2.0, energy_rmse_per_atom=0.4),
        row(4, loss=1.0, energy_rmse_per_atom=0.4, stress_rmse=4.0),
    ]
    # The first one has the stress of the second, the third that of the one before it.
    assert smoothed_metrics(history, hypers) == pytest.approx([4.0, 4.0, 3.2, 1.6])
    assert judged_by(history) == "training"
    by_loss = hypers.model_copy(update={"best_model_metric": "loss"})
    assert smoothed_metrics(history, by_loss) == [4.0, 3.0, 2.0, 1.0]
    validated = [{**entry, "validation_loss": 1.0 / entry["epoch"]} for entry in history]
    assert judged_by(validated) == "validation"
    assert smoothed_metrics(validated, by_loss) == [1.0, 1 / 2, 1 / 3, 1 / 4]
