"""Checkpoints while training: when, which stay, and that going on in one folder keeps every bit."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from small_runs import make_options

from mtt import checkpoint
from mtt.errors import Terminated, UserError
from mtt.options import load_options
from mtt.report.metrics import read_rows
from mtt.training import run as stage
from mtt.training.runs import saving
from mtt.training.runs.lock import FolderLock


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in; what a run makes at its end has tests of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "_pictures", lambda *_: None)
    monkeypatch.setattr(stage, "_export", lambda ckpt, output, *_: output.write_text("model"))
    return tmp_path


def run_folders():
    return sorted(Path("outputs").glob("*/*/"))


def only_folder():
    (found,) = run_folders()
    return found


def names(run):
    """Checkpoints of a folder, in the order in which they were written."""

    def place(path):
        position = checkpoint.read(path)[0].position
        return position.step, position.epoch, -len(path.name)

    return [path.name for path in sorted(run.glob("*.ckpt"), key=place)]


def assert_same_bits(path, other):
    """Everything but the options that may change."""
    first, second = checkpoint.read(path), checkpoint.read(other)
    assert first[1].keys() == second[1].keys()
    for name, tensor in first[1].items():
        assert torch.equal(tensor, second[1][name]), name
    for key in ("history", "position", "best", "split"):
        assert getattr(first[0], key) == getattr(second[0], key)


class Stopped(Exception):
    """In place of a kill: nothing is saved, nothing is told."""


@pytest.fixture
def stop(monkeypatch):
    """Ends runs without warning before a number of steps."""
    original = stage._Observer.step

    def stop(steps):
        def step(self, loss, n_structures):
            if self.job.state.position.step >= steps:
                raise Stopped
            original(self, loss, n_structures)

        monkeypatch.setattr(stage._Observer, "step", step)

    yield stop


def run_until(stop, steps, *arguments):
    stop(steps)
    with pytest.raises(Stopped):
        stage.run(*arguments)
    stop(10**9)


# ---- when checkpoints are written ----


def test_the_first_checkpoint_is_there_before_the_first_step(folder, stop, capsys):
    options = make_options(folder)
    stage.run(options, None, Path("whole.pt"))
    shutil.rmtree("outputs")
    run_until(stop, 1, options)
    run = only_folder()
    assert names(run) == ["model_0.ckpt"]
    header = checkpoint.read(run / "model_0.ckpt")[0]
    assert header.position == checkpoint.Position(epoch=0, step=0, batch=0)
    assert header.split == checkpoint.read(Path("whole.ckpt"))[0].split
    stage.run(options, "auto")
    assert f"resuming from {run}/model_0.ckpt: epoch 0, step 0" in capsys.readouterr().out
    assert only_folder() == run
    assert_same_bits(Path("whole.ckpt"), Path("model.ckpt"))


def test_every_step_can_be_gone_on_from(folder):
    options = make_options(folder, {"checkpoint_every": "1 steps", "keep_last": 100})
    stage.run(options)
    run = only_folder()
    points = names(run)
    assert len(points) == 1 + 3 * 5  # the start; per epoch four steps, and its end
    assert points[:6] == [
        "model_0.ckpt",
        *(f"model_0_{n}.ckpt" for n in range(1, 5)),
        "model_1.ckpt",
    ]
    expected = (run / "metrics.csv").read_text()
    for name in points[:-1]:
        stage.run(options, run / name, Path("again.pt"))
        assert_same_bits(Path("model.ckpt"), Path("again.ckpt"))
        assert Path("again.ckpt").read_bytes() == Path("model.ckpt").read_bytes()
        newer = run_folders()[-1]
        # A folder of its own, in which the checkpoint that it began with is the first.
        assert newer != run, name
        assert (newer / name).read_bytes() == (run / name).read_bytes()
        assert (newer / "metrics.csv").read_text() == expected
        shutil.rmtree(newer)


def test_saving_by_steps_counts_from_the_last_checkpoint(folder):
    stage.run(make_options(folder, {"checkpoint_every": "3 steps", "keep_last": 100}))
    # Epochs have four steps, and are saved as well.
    expected = ["model_0", "model_0_3", "model_1", "model_1_7", "model_2", "model_2_11", "model_3"]
    assert names(only_folder()) == [f"{name}.ckpt" for name in expected]


def test_saving_by_steps_without_checkpoints_of_epochs(folder):
    changes = {"checkpoint_every": "5 steps", "keep_last": 100, "checkpoint_interval": 100}
    stage.run(make_options(folder, changes))
    expected = ["model_0", "model_1_5", "model_2_10", "model_3"]
    assert names(only_folder()) == [f"{name}.ckpt" for name in expected]


def test_saving_by_time_changes_no_bit(folder, monkeypatch):
    options = make_options(folder, {"checkpoint_interval": 100, "checkpoint_every": None})
    stage.run(options, None, Path("whole.pt"))
    shutil.rmtree("outputs")
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    # One second from look to look: a look at each step and epoch, and one when a save begins.
    monkeypatch.setattr(saving.time, "monotonic", clock)
    changes = {"checkpoint_interval": 100, "checkpoint_every": "2.5 s", "keep_last": 100}
    stage.run(make_options(folder, changes))
    assert_same_bits(Path("whole.ckpt"), Path("model.ckpt"))
    saved = names(only_folder())
    assert 4 < len(saved) < 13 and any(name.count("_") == 2 for name in saved)


def test_a_checkpoint_at_the_end_of_an_epoch_when_it_is_due(folder, monkeypatch):
    monkeypatch.setattr(saving.Saver, "due", lambda self: self.job.state.position.batch == 0)
    stage.run(make_options(folder, {"checkpoint_interval": 100}))
    assert names(only_folder()) == ["model_1.ckpt", "model_2.ckpt", "model_3.ckpt"]


# ---- which stay ----


def test_retention_while_training_and_going_on(folder, stop, monkeypatch):
    options = make_options(
        folder,
        {"num_epochs": 6, "checkpoint_every": "1 steps", "keep_last": 2, "keep_every": 3},
    )
    allowed = 2 + 1 + 2  # newest, best, epochs 3 and 6
    seen = []
    original = saving.Saver.save

    def save(self, *given):
        result = original(self, *given)
        seen.append(len(list(self.folder.glob("*.ckpt"))))
        return result

    monkeypatch.setattr(saving.Saver, "save", save)
    run_until(stop, 7, options)
    run = only_folder()
    assert names(run) == ["model_1.ckpt", "model_1_5.ckpt", "model_1_6.ckpt"]
    for steps in (10, 15):
        run_until(stop, steps, options, "auto")
    stage.run(options, "auto")
    assert only_folder() == run
    assert seen and max(seen) <= allowed
    best = checkpoint.read(Path("model.ckpt"))[0].best.epoch
    expected = {f"model_{epoch}.ckpt" for epoch in (3, best, 6)} | {"model_5_24.ckpt"}
    assert set(names(run)) == expected


def test_fewer_are_kept_as_soon_as_the_options_say_so(folder, stop):
    run_until(stop, 7, make_options(folder, {"checkpoint_every": "1 steps", "keep_last": 50}))
    run = only_folder()
    assert len(names(run)) == 8
    options = make_options(folder, {"keep_last": 1, "keep_every": None, "keep_best": False})
    run_until(stop, 7, options, "auto")
    assert names(run) == ["model_1_6.ckpt"]
    assert load_options(run / "options.yaml") == options


def test_only_files_of_ours_are_deleted(folder, stop):
    options = make_options(folder, {"keep_last": 1, "keep_every": None, "keep_best": False})
    run_until(stop, 6, options)
    run = only_folder()
    mine = ["best.ckpt", "model_1_copy.ckpt", "model_01.ckpt", "model_0.ckpt.bak", "notes.txt"]
    for name in mine:
        (run / name).write_text("precious")
    Path("model_0.ckpt").write_text("precious")
    stage.run(options, "auto")
    assert [path.name for path in run.glob("model_?.ckpt")] == ["model_3.ckpt"]
    assert all((run / name).read_text() == "precious" for name in mine)
    assert Path("model_0.ckpt").read_text() == "precious"


def test_nothing_is_deleted_before_the_new_one_is_written(folder, monkeypatch, capsys):
    options = make_options(folder, {"keep_last": 1, "keep_every": None, "keep_best": False})
    original = checkpoint.write

    def write(path, header, tensors):
        if path.name == "model_2.ckpt":
            raise UserError("the disk is full", where=str(path))
        original(path, header, tensors)

    monkeypatch.setattr(checkpoint, "write", write)
    original_save = saving.Saver.save
    seen = {}

    def save(self, *given):
        result = original_save(self, *given)
        seen[self.job.state.position.epoch] = names(self.folder)
        return result

    monkeypatch.setattr(saving.Saver, "save", save)
    stage.run(options)
    assert seen == {1: ["model_1.ckpt"], 2: ["model_1.ckpt"], 3: ["model_3.ckpt"]}


# ---- one run, one folder ----


def test_a_run_that_is_gone_on_with_stays_in_its_folder(folder, stop):
    options = make_options(folder)
    stage.run(options, None, Path("whole.pt"))
    expected = (only_folder() / "metrics.csv").read_text()
    shutil.rmtree("outputs")
    run_until(stop, 6, options)
    run = only_folder()
    changed = make_options(folder, {"log_interval": 2, "num_workers": 1})
    run_until(stop, 10, changed, "auto")
    stage.run(changed, run / "model_2.ckpt")
    assert only_folder() == run
    assert names(run) == ["model_1.ckpt", "model_2.ckpt", "model_3.ckpt"]
    assert_same_bits(Path("whole.ckpt"), Path("model.ckpt"))
    assert (run / "metrics.csv").read_text() == expected
    assert len(read_rows(run / "metrics.csv")) == 3
    assert load_options(run / "options.yaml") == changed
    log = (run / "train.log").read_text()
    assert log.count(f"results go to {run}") == 3
    assert re.findall(r" epoch (./.)", log) == ["1/3", "2/3", "3/3"]


def test_what_needs_a_new_folder(folder, stop):
    options = make_options(folder)
    stage.run(options)
    run = only_folder()
    stage.run(options, run / "model_1.ckpt", Path("older.pt"))
    stage.run(options, shutil.copy(run / "model_2.ckpt", "elsewhere.ckpt"), Path("copy.pt"))
    stage.run(make_options(folder, {"num_epochs": 4}), "auto", Path("longer.pt"))
    older, copied, longer = run_folders()[1:]
    assert names(older) == ["model_1.ckpt", "model_2.ckpt", "model_3.ckpt"]
    assert names(copied) == ["model_2.ckpt", "model_3.ckpt"]
    assert names(longer) == ["model_3.ckpt", "model_4.ckpt"]
    assert names(run) == ["model_1.ckpt", "model_2.ckpt", "model_3.ckpt"]


def test_a_damaged_newer_checkpoint_is_not_overwritten(folder, stop):
    options = make_options(folder)
    run_until(stop, 10, options)
    run = only_folder()
    (run / "model_2.ckpt").write_bytes((run / "model_2.ckpt").read_bytes()[:-1])
    damaged = (run / "model_2.ckpt").read_bytes()
    stage.run(options, "auto")
    assert (run / "model_2.ckpt").read_bytes() == damaged
    assert names(run_folders()[1]) == ["model_1.ckpt", "model_2.ckpt", "model_3.ckpt"]


def test_only_a_file_with_our_name_for_its_step_is_gone_on_from_in_place(folder, stop):
    options = make_options(folder)
    run_until(stop, 6, options)
    run = only_folder()
    shutil.copy(run / "model_1.ckpt", run / "best.ckpt")
    stage.run(options, run / "best.ckpt")
    assert len(run_folders()) == 2 and names(run) == ["model_0.ckpt", "model_1.ckpt", "best.ckpt"]
    (run / "model_1.ckpt").rename(run / "model_2.ckpt")
    stage.run(options, run / "model_2.ckpt")
    assert len(run_folders()) == 3 and names(run) == ["model_0.ckpt", "model_2.ckpt", "best.ckpt"]


def test_two_processes_never_train_in_one_folder(folder, stop):
    options = make_options(folder)
    run_until(stop, 6, options)
    run = only_folder()
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with FolderLock() as lock:
        lock.take(run)
        for source in ("auto", run / "model_1.ckpt", run.absolute() / "model_1.ckpt"):
            with pytest.raises(UserError) as caught:
                stage.run(options, source)
            assert str(caught.value) == (
                "another process trains in the folder of this run\n"
                f"  where: {run} (process {os.getpid()})\n"
                "  hint: wait until it has ended, or stop it: it saves first, and can then be "
                "resumed"
            )
        # What gets a folder of its own is no danger to it.
        stage.run(options, run / "model_0.ckpt", Path("older.pt"))
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    shutil.rmtree(run_folders()[1])
    stage.run(options, "auto")
    assert only_folder() == run


def test_somebody_else_may_have_gone_on_just_before_the_lock(folder, stop, monkeypatch, capsys):
    options = make_options(folder)
    run_until(stop, 6, options)
    run = only_folder()
    take = FolderLock.take

    def late(self, where):
        monkeypatch.setattr(FolderLock, "take", take)
        run_until(stop, 10, options, "auto")
        capsys.readouterr()
        take(self, where)

    monkeypatch.setattr(FolderLock, "take", late)
    stage.run(options, "auto")
    assert f"resuming from {run}/model_2.ckpt" in capsys.readouterr().out
    assert only_folder() == run


def test_without_locks_training_goes_on(folder, stop, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    options = make_options(folder)
    run_until(stop, 6, options)
    stage.run(options, "auto")
    assert names(only_folder()) == ["model_1.ckpt", "model_2.ckpt", "model_3.ckpt"]


def test_leftovers_of_a_kill_go_away(folder, stop):
    options = make_options(folder)
    run_until(stop, 6, options)
    run = only_folder()
    for name in (".model_1_6.ckpt.mtt-a1b2c3d4.ckpt", ".metrics.csv.mtt-a1b2c3d4.csv"):
        (run / name).write_bytes(b"half of it")
    (run / ".mine").touch()
    stage.run(options, "auto")
    assert [path.name for path in run.glob(".*")] == [".mine"]


# ---- signals and time, in one process ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_during_a_save_does_not_spoil_it(folder, monkeypatch, number):
    options = make_options(folder, {"checkpoint_every": "2 steps"})
    original = os.fsync

    def fsync(descriptor):
        if ".model_0_2." in os.readlink(f"/proc/self/fd/{descriptor}"):
            os.kill(os.getpid(), number)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt) as caught:
        stage.run(options)
    assert isinstance(caught.value, Terminated) == (number != signal.SIGINT)
    run = only_folder()
    assert str(caught.value) == (
        f"interrupted after 0 epochs and 2 steps; saved {run}/model_0_2.ckpt\n"
        f"resume with: mtt train {run}/options.yaml --continue {run}/model_0_2.ckpt"
    )
    assert names(run) == ["model_0.ckpt", "model_0_2.ckpt"] and not list(run.glob(".*"))


def test_a_signal_while_the_folder_is_made(folder, monkeypatch):
    original = stage.write_options

    def write_options(*given):
        os.kill(os.getpid(), signal.SIGUSR1)
        original(*given)

    monkeypatch.setattr(stage, "write_options", write_options)
    with pytest.raises(Terminated, match="interrupted after 0 epochs and 1 steps; saved "):
        stage.run(make_options(folder))
    assert names(only_folder()) == ["model_0.ckpt", "model_0_1.ckpt"]


def test_a_signal_after_the_last_epoch_is_not_lost(folder, monkeypatch):
    original = stage.train

    def train(*given):
        original(*given)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(stage, "train", train)
    with pytest.raises(Terminated) as caught:
        stage.run(make_options(folder), None, Path("copper.pt"))
    run = only_folder()
    assert str(caught.value) == (
        "terminated when all epochs were done, before all results were made\n"
        f"make them with: mtt train {run}/options.yaml --continue auto --output copper.pt"
    )
    assert not Path("copper.ckpt").exists()
    stage.run(load_options(run / "options.yaml"), "auto", Path("copper.pt"))
    assert Path("copper.pt").exists() and only_folder() == run


def test_max_time_saves_and_says_how_to_go_on(folder, monkeypatch):
    stage.run(make_options(folder), None, Path("whole.pt"))
    shutil.rmtree("outputs")
    # The program is older than this already: one step is made each time, so that there is progress.
    options = make_options(folder, {"max_time": "0.01 s"})
    with pytest.raises(Terminated) as caught:
        stage.run(options)
    run = only_folder()
    assert str(caught.value) == (
        f"max_time, 0.01 s, is over after 0 epochs and 1 steps; saved {run}/model_0_1.ckpt\n"
        f"resume with: mtt train {run}/options.yaml --continue {run}/model_0_1.ckpt"
    )
    parts = 1
    while not Path("model.ckpt").exists():
        try:
            stage.run(options, "auto")
        except Terminated:
            parts += 1
    assert parts > 12 and only_folder() == run
    assert_same_bits(Path("whole.ckpt"), Path("model.ckpt"))


def test_max_time_counts_from_the_start_of_the_program(folder, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(stage, "program_age", lambda: 3590.0)
    monkeypatch.setattr(stage.time, "monotonic", lambda: now)
    left = []

    class Watched(stage._Observer):
        def __init__(self, *given):
            super().__init__(*given)
            left.append(self.deadline - now)

    monkeypatch.setattr(stage, "_Observer", Watched)
    stage.run(make_options(folder, {"max_time": "1 h"}))
    assert left == [10.0]


def test_results_are_made_though_the_time_is_over(folder, monkeypatch):
    original = stage._Observer.epoch

    def epoch(self, row):
        original(self, row)
        if self.job.finished:
            self.deadline = 0.0

    monkeypatch.setattr(stage._Observer, "epoch", epoch)
    stage.run(make_options(folder, {"max_time": "1 h"}))
    assert Path("model.pt").exists()
