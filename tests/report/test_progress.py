"""What is printed, on a terminal and in a file."""

import io
import logging
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.table import Table

from mtt.data.target import GRADIENTS, Target
from mtt.errors import UserError
from mtt.report.metrics import quantities
from mtt.report.progress import Reporter, duration

QUANTITIES = quantities([Target("energy", gradients=GRADIENTS)])
ROW = {
    "train_loss": 0.25,
    "validation_loss": 0.5,
    "learning_rate": 1e-4,
    "train_energy_rmse_per_atom": 0.002,
    "validation_energy_rmse_per_atom": 0.003,
    "validation_forces_rmse": 0.125,
    "validation_stress_rmse": 0.0005,
}


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=60)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines(tmp_path: Path) -> None:
    console = plain()
    with Reporter(console, log_interval=2) as reporter:
        reporter.message("reading [data]")
        reporter.log_to(tmp_path / "train.log")
        reporter.start(3, 2, QUANTITIES)
        for epoch in (1, 2, 3):
            for _ in range(2):
                reporter.step(torch.tensor(0.25))
            reporter.epoch({"epoch": epoch, **ROW})
    lines = text(console).splitlines()
    # One line per epoch of the interval, and the last one, unbroken by the width of 60.
    assert lines[0] == "reading [data]"
    assert [line.split(" | ")[0] for line in lines[1:]] == ["epoch 2/3", "epoch 3/3"]
    assert lines[2] == (
        "epoch 3/3 | loss 0.25 | validation loss 0.5 | RMSE of training/validation:"
        " energy 2/3 meV/atom, forces -/125 meV/A, stress -/0.5 meV/A^3 | lr 0.0001"
    )
    assert "ETA 0 s" in lines[1]
    log = (tmp_path / "train.log").read_text().splitlines()
    # The log has every epoch, and what was said before there was a log.
    assert [line.split(" ", 2)[2].split(" | ")[0] for line in log] == [
        "reading [data]",
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]


def test_a_line_of_several_targets() -> None:
    targets = [
        Target("energy"),
        Target("energy/pbe", unit="Hartree", gradients=("positions",)),
        Target("mtt::charges", quantity="charge", unit="e", per="atom"),
    ]
    row = {
        "epoch": 1,
        "validation_energy_rmse": 9.0,
        "validation_energy_rmse_per_atom": 0.003,
        "validation_energy/pbe_rmse_per_atom": 0.125,
        "validation_energy/pbe_forces_rmse": 0.5,
        "validation_mtt::charges_rmse": 0.25,
    }
    console = plain()
    with Reporter(console) as reporter:
        reporter.start(1, 1, quantities(targets, "bohr"))
        reporter.epoch(row)
    assert text(console) == (
        "epoch 1/1 | RMSE of training/validation: energy -/3 meV/atom, energy/pbe -/0.125"
        " Hartree/atom, energy/pbe forces -/0.5 Hartree/bohr, mtt::charges -/0.25 e\n"
    )


def test_log_records_are_shown_inside_only() -> None:
    console = plain()
    logger = logging.getLogger("mtt.data.ase_targets")
    with Reporter(console):
        logger.info("forces found")
        logger.warning("no stress")
    logger.info("later")
    assert text(console) == "forces found\nwarning: no stress\n"


def test_terminal_shows_a_live_display() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with Reporter(console) as reporter:
        reporter.start(5, 2, QUANTITIES, first_epoch=1)
        for _ in range(2):
            reporter.step(0.25, 16)
        reporter.epoch({"epoch": 2, **ROW})
        assert reporter._progress is not None
        assert reporter._progress.tasks[0].completed == 2
        assert reporter._progress.tasks[1].completed == 0
    assert "epoch 2/5 | loss 0.25" in text(console)
    assert "structures/s" in text(console)
    assert "ETA" in text(console)


@pytest.mark.parametrize("width", [20, 60, 80, 100, 130, 200])
def test_no_line_of_an_epoch_is_longer_than_the_terminal(width: int, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    with Reporter(console) as reporter:
        reporter.log_to(tmp_path / "train.log")
        reporter.start(5000, 1, QUANTITIES)
        reporter.step(0.25, 16)
        reporter.epoch({"epoch": 2, **ROW})
    shown = [line for line in re.split(r"[\r\n]+", text(console)) if "epoch    2/5000" in line]
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in shown]
    assert lines and all(len(line) <= width for line in lines), lines
    # What matters most is said last to leave; the log has everything.
    assert ("energy 2/3 meV/atom, forces -/125 meV/A" in lines[0]) == (width >= 100)
    assert ("lr 0.0001" in lines[0]) == (width >= 200)
    assert "lr 0.0001" in (tmp_path / "train.log").read_text()


def test_plain_output_has_the_time() -> None:
    console = plain()
    with Reporter(console, stamps=True) as reporter:
        reporter.message("one")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d one\n", text(console))
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    with Reporter(console, stamps=True) as reporter:
        reporter.message("one")
    assert text(console) == "one\n"


def test_tables_are_in_the_log(tmp_path: Path) -> None:
    table = Table("target", title="the test set")
    table.add_row("forces \x1b[31m")
    with Reporter(plain()) as reporter:
        reporter.log_to(tmp_path / "train.log")
        reporter.show(table)
        reporter.show("a line")
    log = (tmp_path / "train.log").read_text()
    assert "the test set" in log and "forces \\x1b[31m" in log and log.endswith(" a line\n")


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    with Reporter(plain()) as reporter, pytest.raises(UserError, match="does not exist"):
        reporter.log_to(tmp_path / "no" / "train.log")


def test_durations() -> None:
    assert duration(float("nan")) == "unknown"
    assert [duration(s) for s in (0.2, 59, 61, 3725, 200000)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 02 min",
        "2 d 7 h",
    ]


def test_a_full_disk_costs_lines_of_the_log_only(small_disk: Path) -> None:
    console = plain()
    log = small_disk / "train.log"
    filler = small_disk / "filler"
    with Reporter(console) as reporter:
        reporter.message("before")
        reporter.log_to(log)
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(1024))
        # The rest of the log's last page is still there to be used.
        for number in range(100):
            reporter.message(f"{number} {'x' * 100}")
        filler.unlink()
        reporter.message("after")
    said = text(console).splitlines()
    warning = f"warning: the log could not be written: the disk is full ({log})"
    assert said.count(warning) == 1
    assert len(said) == 1 + 100 + 1 + 1
    lines = log.read_text().splitlines()
    assert lines[0].endswith(" before") and lines[-1].endswith(" after")
    assert len(lines) < 60


def test_a_log_of_before_is_gone_on_with(tmp_path: Path) -> None:
    for word in ("one", "two"):
        with Reporter(plain()) as reporter:
            reporter.log_to(tmp_path / "train.log")
            reporter.message(word)
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["one", "two"]
