"""Training as a stage: what a run leaves, resuming from every point of it, and every refusal."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import make_options, write_data

from mtt import checkpoint
from mtt.data.random import generator
from mtt.data.structure_tensors import structure_from_tensors
from mtt.device import choose_device
from mtt.errors import Terminated, UserError
from mtt.options import load_options
from mtt.report.metrics import read_rows
from mtt.training import run as stage
from mtt.training.run_data import read_run_data


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def exports(monkeypatch):
    """Export has tests of its own; here it is enough that it is called, and with what."""
    calls = []

    def export(ckpt, output, reporter, folder):
        calls.append((ckpt, output))
        Path(output).write_text("model")

    monkeypatch.setattr(stage, "_export", export)
    return calls


@pytest.fixture
def no_pictures(monkeypatch):
    """Leaves out what a run draws and prints at its end, which takes longer than the run."""
    monkeypatch.setattr(stage, "_learning_curve", lambda *_: None)
    monkeypatch.setattr(stage, "_final_errors", lambda *_: None)


def run_folders():
    return sorted(Path("outputs").glob("*/*/"))


def message(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


def assert_same_run(path, other):
    first, second = checkpoint.read(path), checkpoint.read(other)
    assert first[1].keys() == second[1].keys()
    for name, tensor in first[1].items():
        assert tensor.dtype == second[1][name].dtype, name
        assert torch.equal(tensor, second[1][name]), name
    assert first[0].history == second[0].history
    assert first[0] == second[0]


def test_what_a_run_leaves(folder, exports, capsys):
    options = make_options(folder, {"checkpoint_interval": 2}, test_set="0:2")
    stage.run(options)
    (run,) = run_folders()
    assert sorted(path.name for path in run.iterdir()) == [
        "analysis.json",
        "errors.json",
        "learning_curve.png",
        "metrics.csv",
        "model_2.ckpt",
        "model_3.ckpt",
        "options.yaml",
        "parity_test.png",
        "parity_validation.png",
        "report.html",
        "train.log",
    ]
    assert len(run.parent.name) == 10 and len(run.name) == 8
    assert load_options(run / "options.yaml") == options
    header = checkpoint.read_header(Path("model.ckpt"))
    assert read_rows(run / "metrics.csv") == header.history
    # The errors on the test set were measured once all epochs were done.
    tested = {error.quantity: error for error in header.test_errors}
    assert set(tested) == {"energy", "energy_per_atom", "forces"}
    before = checkpoint.read_header(run / "model_3.ckpt")
    assert before.test_errors == []
    assert replace(header, test_errors=[], content_hash="") == replace(before, content_hash="")
    assert header.split["test"] == [0, 1] and len(header.split["validation"]) == 3
    # What is exported is nobody else's: other runs in the same folder write to the same names.
    assert exports == [(run / ".results" / "model.ckpt", Path("model.pt"))]
    log = (run / "train.log").read_text()
    for text in ("structures: 7 for training, 3 for validation, 2 for testing", "epoch 3/3"):
        assert text in log and text in capsys.readouterr().out.replace("\n", " ") or text in log
    best = header.best
    row = header.history[best.epoch - 1]
    errors = json.loads((run / "errors.json").read_text())
    assert set(errors) == {"validation", "test"}
    # The best weights were evaluated: by another path, to the digits of float32.
    for name in ("forces", "stress"):
        expected = row[f"validation_{name}_rmse"]
        assert errors["validation"][name]["rmse"] == pytest.approx(expected, rel=1e-3)


def test_output_elsewhere(folder, no_pictures, exports):
    Path("results").mkdir()
    output = Path("results/copper.pt")
    stage.run(make_options(folder, {"num_epochs": 1}), None, output)
    (run,) = run_folders()
    assert exports == [(run / ".results" / "copper.ckpt", output)]
    assert checkpoint.read_header(Path("results/copper.ckpt")).position.epoch == 1
    assert not Path("model.ckpt").exists()


def test_check_structures_come_from_the_training_set(folder, no_pictures):
    stage.run(make_options(folder, {"num_epochs": 1}))
    header, tensors = checkpoint.read(Path("model.ckpt"))
    structures = read_run_data(make_options(folder)).train
    positions = [structure.positions.tolist() for structure in structures]
    for index in range(4):
        found = structure_from_tensors(f"check/{index}", tensors)
        assert found.positions.tolist() in positions
    assert len(header.split["train"]) == len(structures) == 9


def test_two_runs_in_one_second_have_folders_of_their_own(folder, no_pictures, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *_: "2031-02-03 04-05-06")
    made = [stage.new_run_folder() for _ in range(3)]
    assert [path.name for path in made] == ["04-05-06", "04-05-06_2", "04-05-06_3"]
    assert made == run_folders()


def test_same_command_twice_same_bits(folder, no_pictures):
    options = make_options(folder)
    stage.run(options, None, Path("first.pt"))
    stage.run(options, None, Path("second.pt"))
    assert Path("first.ckpt").read_bytes() == Path("second.ckpt").read_bytes()


# ---- going on ----


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("decay", [None, 0.1])
def test_going_on_from_any_epoch_gives_the_same_bits(folder, no_pictures, bits, decay):
    options = make_options(folder, {"weight_decay": decay}, base_precision=bits)
    stage.run(options)
    (run,) = run_folders()
    weights = checkpoint.load_potential(*checkpoint.read(Path("model.ckpt"))).core.parameters()
    assert {one.dtype for one in weights} == {torch.float32 if bits == 32 else torch.float64}
    for epoch in (1, 2):
        stage.run(options, run / f"model_{epoch}.ckpt", Path("again.pt"))
        assert_same_run(Path("model.ckpt"), Path("again.ckpt"))
        metrics = run_folders()[-1] / "metrics.csv"
        assert metrics.read_text() == (run / "metrics.csv").read_text()


class StopAfter:
    """In place of signals: asks to stop at the nth time that the loop looks."""

    looks = 0

    def __init__(self):
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def received(self):
        self.count += 1
        return signal.SIGINT if self.count >= self.looks else None

    def exception(self, text):
        return KeyboardInterrupt(text)


def test_going_on_from_any_step_gives_the_same_bits(folder, no_pictures, monkeypatch):
    # Per epoch: four steps, two batches of validation, and the end of the epoch.
    options = make_options(folder, {"checkpoint_interval": 100})
    stage.run(options, None, Path("whole.pt"))
    signals = stage.StopSignals
    seen = set()
    for look in range(1, 22):
        monkeypatch.setattr(StopAfter, "looks", look)
        monkeypatch.setattr(stage, "StopSignals", StopAfter)
        with pytest.raises(KeyboardInterrupt) as caught:
            stage.run(options, None, Path("part.pt"))
        monkeypatch.setattr(stage, "StopSignals", signals)
        words = shlex.split(str(caught.value).splitlines()[1].removeprefix("resume with: "))
        assert words[:2] == ["mtt", "train"] and words[3] == "--continue"
        position = checkpoint.read_header(Path(words[4])).position
        seen.add((position.epoch, position.batch))
        stage.run(load_options(words[2]), Path(words[4]), Path(words[6]))
        assert_same_run(Path("whole.ckpt"), Path("part.ckpt"))
    assert seen == {(e, b) for e in range(3) for b in range(5)} - {(0, 0)} | {(3, 0)}


def test_interrupted_again_and_again(folder, no_pictures, monkeypatch):
    options = make_options(folder, {"checkpoint_interval": 100})
    stage.run(options, None, Path("whole.pt"))
    monkeypatch.setattr(StopAfter, "looks", 4)
    monkeypatch.setattr(stage, "StopSignals", StopAfter)
    source, parts = None, 0
    while not Path("part.ckpt").exists():
        try:
            stage.run(options, source, Path("part.pt"))
        except KeyboardInterrupt:
            source = "auto"
            parts += 1
    # Twice in training, once at the first step of an epoch, twice in validation, and once when only
    # the results were missing.
    assert parts == 6
    assert_same_run(Path("whole.ckpt"), Path("part.ckpt"))


def test_the_message_of_an_interrupt(folder, monkeypatch):
    monkeypatch.setattr(StopAfter, "looks", 2)
    monkeypatch.setattr(stage, "StopSignals", StopAfter)
    with pytest.raises(KeyboardInterrupt) as caught:
        stage.run(make_options(folder))
    (run,) = run_folders()
    assert str(caught.value) == (
        f"interrupted after 0 epochs and 2 steps; saved {run}/model_0_2.ckpt\n"
        f"resume with: mtt train {run}/options.yaml --continue {run}/model_0_2.ckpt"
    )
    assert not Path("model.ckpt").exists()


SCRIPT = """
import sys
sys.path[:0] = {paths!r}
from mtt.__main__ import main
sys.exit(main(["train", "options.yaml"]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_signals_save_and_exit_with_their_codes(folder, number, code):
    make_options(folder, {"num_epochs": 100_000, "checkpoint_interval": 100_000})
    source = SCRIPT.format(paths=[str(Path(stage.__file__).parents[2])])
    process = subprocess.Popen(
        [sys.executable, "-c", source], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not any(
            " 1/100000" in one.read_text() for one in Path().glob("outputs/*/*/train.log")
        ):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    (run,) = run_folders()
    first, saved = sorted(run.glob("*.ckpt"))
    assert first.name == "model_0.ckpt"
    position = checkpoint.read(saved)[0].position
    assert said == (
        f"interrupted after {position.epoch} epochs and {position.step} steps; saved {saved}"
        f"\nresume with: mtt train {run}/options.yaml --continue {saved}\n"
    )


def test_a_second_interrupt_does_not_wait(folder):
    with pytest.raises(KeyboardInterrupt), stage.StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        os.kill(os.getpid(), signal.SIGTERM)
        assert isinstance(signals.exception("x"), Terminated)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- auto ----


def test_auto_takes_the_newest_whole_checkpoint_of_this_run(folder, no_pictures, capsys):
    options = make_options(folder)
    stage.run(options)
    (run,) = run_folders()
    older = run.rename(run.parent / "00-00-00")
    (older / "model_3.ckpt").unlink()
    stage.run(options, None, Path("other.pt"))
    (newer,) = set(run_folders()) - {older}
    # A later run with other options, whose checkpoints are not ours.
    different = make_options(folder, {"learning_rate": 0.5})
    stage.run(different, None, Path("different.pt"))
    (newest,) = set(run_folders()) - {older, newer}
    newest.rename(newest.parent / "99-99-99")
    # Of the newer run only the first checkpoint is whole.
    (newer / "model_3.ckpt").write_bytes((newer / "model_3.ckpt").read_bytes()[:-9])
    content = bytearray((newer / "model_2.ckpt").read_bytes())
    content[-1] ^= 1
    (newer / "model_2.ckpt").write_bytes(content)
    (newer / ".model_9.ckpt.abc.ckpt").write_bytes(b"cut off")
    capsys.readouterr()
    stage.run(options, "auto", Path("again.pt"))
    said = capsys.readouterr().out
    assert f"resuming from {newer}/model_1.ckpt: epoch 1, step 4" in said
    assert (
        f"warning: left out {newer}/model_3.ckpt: the checkpoint is truncated: 9 bytes are "
        "missing at its end" in said
    )
    assert (
        f"warning: left out {newer}/model_2.ckpt: the checkpoint is damaged: its content does not "
        "fit its content hash" in said
    )
    assert_same_run(Path("model.ckpt"), Path("again.ckpt"))


def test_auto_never_starts_afresh(folder, no_pictures):
    options = make_options(folder)
    hint = (
        "  where: outputs\n"
        "  hint: name a checkpoint, as in --continue model.ckpt, or train anew without --continue"
    )
    expected = f"there is no checkpoint of this run to resume from\n{hint}"
    assert message(stage.run, options, "auto") == expected
    assert not Path("outputs").exists()
    stage.run(make_options(folder, {"num_epochs": 2}, seed=9))
    (run,) = run_folders()
    (run / "model_1.ckpt").write_bytes(b"")
    assert message(stage.run, options, "auto") == (
        "there is no checkpoint of this run to resume from; found: 1 of runs with other options, "
        f"1 damaged\n{hint}"
    )


def test_auto_takes_up_a_run_with_more_epochs_or_data_moved(folder, no_pictures):
    stage.run(make_options(folder, {"num_epochs": 1}))
    Path("moved").mkdir()
    Path("data.xyz").rename("moved/data.xyz")
    stage.run(make_options(folder / "moved", {"num_epochs": 2, "log_interval": 2}), "auto")
    assert checkpoint.read_header(Path("model.ckpt")).position.epoch == 2


# ---- changed options and data ----


def test_changed_options_are_refused_by_name(folder, no_pictures):
    stage.run(make_options(folder))
    changed = make_options(
        folder, {"learning_rate": 0.5, "batch_size": 3}, seed=4, validation_set="0:2"
    )
    before = run_folders()
    assert message(stage.run, changed, Path("model.ckpt")) == (
        "the options differ from those that the checkpoint was trained with:\n"
        "    seed: 3 in the checkpoint, now 4\n"
        "    architecture.training.batch_size: 2 in the checkpoint, now 3\n"
        "    architecture.training.learning_rate: 0.01 in the checkpoint, now 0.5\n"
        "    validation_set.fraction: 0.25 in the checkpoint, now None\n"
        "    validation_set.indices: None in the checkpoint, now '0:2'\n"
        "  where: model.ckpt\n"
        "  hint: undo these changes to resume (num_epochs may be made larger), train anew without "
        "--continue, or fine-tune the checkpoint on purpose by naming it in "
        "architecture.training.fine_tune.read_from"
    )
    assert run_folders() == before


def test_fewer_epochs_are_refused(folder, no_pictures):
    stage.run(make_options(folder))
    found = message(stage.run, make_options(folder, {"num_epochs": 2}), Path("model.ckpt"))
    assert "    architecture.training.num_epochs: 3 in the checkpoint, now 2\n" in found


def test_more_epochs_go_on_with_the_longer_schedule(folder, no_pictures, capsys):
    stage.run(make_options(folder))
    capsys.readouterr()
    stage.run(make_options(folder, {"num_epochs": 5}), Path("model.ckpt"), Path("longer.pt"))
    assert (
        "num_epochs is 5, was 3: from here on the learning rate follows the schedule of 5 epochs"
        in capsys.readouterr().out
    )
    short, long = (checkpoint.read_header(Path(f"{name}.ckpt")) for name in ("model", "longer"))
    assert long.history[:3] == short.history
    assert [row["epoch"] for row in long.history] == [1, 2, 3, 4, 5]
    assert long.num_steps == 20 and long.options_hash != short.options_hash
    assert long.history[3]["learning_rate"] > short.history[2]["learning_rate"]


def test_changed_data_are_refused(folder, no_pictures):
    options = make_options(folder)
    stage.run(options)
    text = Path("data.xyz").read_text()
    write_data(folder / "data.xyz", seed=1)
    assert message(stage.run, options, Path("model.ckpt")) == (
        "the data of training_set have changed since the checkpoint was written: all 12 "
        f"structures have other positions, cells or types, first {folder}/data.xyz#0\n"
        f"  where: {folder}/data.xyz\n"
        "  hint: bring the data back to resume, train anew without --continue, or fine-tune the "
        "checkpoint on purpose by naming it in architecture.training.fine_tune.read_from"
    )
    Path("data.xyz").write_text(text)
    stage.run(options, Path("model.ckpt"))


def test_validation_data_of_their_own(folder, no_pictures):
    write_data(folder / "validation.xyz", n=5, seed=7)
    options = make_options(folder, validation_set=str(folder / "validation.xyz"))
    stage.run(options)
    header = checkpoint.read_header(Path("model.ckpt"))
    assert header.split == {"train": list(range(12)), "validation": [], "test": []}
    assert header.data_size == {"training_set": 12, "validation_set": 5}
    (run,) = run_folders()
    stage.run(options, run / "model_1.ckpt", Path("again.pt"))
    assert_same_run(Path("model.ckpt"), Path("again.ckpt"))
    write_data(folder / "validation.xyz", n=5, seed=8)
    found = message(stage.run, options, Path("model.ckpt"))
    assert found.startswith("the data of validation_set have changed since the checkpoint")


def test_the_split_is_that_of_the_checkpoint(folder, no_pictures, monkeypatch):
    options = make_options(folder)
    stage.run(options)
    (run,) = run_folders()

    def refuse(seed, purpose, *counters):
        assert purpose != "split"
        return generator(seed, purpose, *counters)

    monkeypatch.setattr("mtt.data.splits.generator", refuse)
    stage.run(options, run / "model_1.ckpt", Path("again.pt"))
    assert_same_run(Path("model.ckpt"), Path("again.ckpt"))


def test_going_on_with_a_finished_run(folder, no_pictures, exports, capsys):
    options = make_options(folder)
    stage.run(options)
    before = Path("model.ckpt").read_bytes()
    (run,) = run_folders()
    exports.clear()
    for source in ("model.ckpt", "auto", run / "model_3.ckpt"):
        capsys.readouterr()
        stage.run(options, source)
        assert (
            "training is finished: all 3 epochs are done, there is nothing to resume"
            in capsys.readouterr().out
        )
    assert exports == [] and run_folders() == [run]
    Path("model.pt").unlink()
    stage.run(options, Path("model.ckpt"))
    assert exports == [(Path("model.ckpt"), Path("model.pt"))]
    Path("model.ckpt").unlink()
    stage.run(options, "auto")
    assert Path("model.ckpt").read_bytes() == before and len(exports) == 2


def test_results_that_are_missing_are_made(folder, exports, monkeypatch):
    monkeypatch.setattr(stage, "_learning_curve", lambda *_: None)
    monkeypatch.setattr("mtt.report.plots.save", lambda *_: None)
    monkeypatch.setattr("mtt.training.run_report.svg_of", lambda _: b"<svg/>")
    options = make_options(folder, test_set="0:2")
    stage.run(options)
    (run,) = run_folders()
    ckpt, last, report = Path("model.ckpt"), run / "model_3.ckpt", run / "report.html"
    whole = ckpt.read_bytes()
    exports.clear()

    # Killed after the checkpoint, before its test errors: the bits are those of the run without a break.
    ckpt.write_bytes(last.read_bytes())
    (run / "errors.json").unlink()
    stage.run(options, "auto")
    assert ckpt.read_bytes() == whole and len(exports) == 1

    # Killed before the report.
    report.unlink()
    stage.run(options, "auto")
    assert report.exists() and ckpt.read_bytes() == whole and len(exports) == 1

    # A run of an older mtt has no test errors in its checkpoint, and its model file belongs to that.
    ckpt.write_bytes(last.read_bytes())
    report.unlink()
    stage.run(options, "auto")
    assert report.exists() and ckpt.read_bytes() == last.read_bytes() and len(exports) == 1

    ckpt.unlink()
    stage.run(options, "auto")
    assert ckpt.read_bytes() == whole and len(exports) == 2


# ---- refusals and full disks ----


def test_nothing_is_made_when_the_data_are_wrong(folder):
    options = make_options(folder, validation_set="0:2")
    found = message(stage.run, make_options(folder, validation_set="0:12"))
    assert found.startswith("no structures are left to train on")
    with_types = make_options(folder, training_set={"systems": str(folder / "data.xyz")})
    assert with_types == make_options(folder)
    write_data(folder / "water.xyz", n=1)
    found = message(stage.run, make_options(folder, training_set=str(folder / "water.xyz")))
    assert "leaves the set empty" in found
    assert not Path("outputs").exists() and options


def test_atoms_that_only_the_validation_set_has(folder):
    write_data(folder / "water.xyz", n=1)
    write_data(folder / "more.xyz", n=2)
    options = make_options(
        folder,
        training_set=str(folder / "water.xyz"),
        validation_set=str(folder / "more.xyz"),
    )
    assert message(stage.run, options) == (
        "validation_set has atomic types that the model is not trained on: 6 (C)\n"
        f"  where: {folder}/more.xyz#1 is the first of them\n"
        "  hint: the training set has 1 (H), 8 (O): move structures with the others into it, or leave "
        "them out of validation_set"
    )


def test_a_baseline_for_a_target_that_is_not_there(folder):
    options = make_options(folder, {"atomic_baseline": {"enrgy": -1.0}})
    assert message(stage.run, options) == (
        "there is a baseline for 'enrgy', but the target is called 'energy'\n"
        "  where: architecture.training.atomic_baseline\n"
        "  hint: name the target first, as in {energy: {H: -13.6, C: -1029.0}}"
    )


def test_a_given_baseline_is_in_the_checkpoint(folder, no_pictures):
    stage.run(make_options(folder, {"num_epochs": 1, "atomic_baseline": {"energy": -2.5}}))
    _, tensors = checkpoint.read(Path("model.ckpt"))
    assert tensors["model/baselines.0.composition"].tolist() == [[-2.5]] * 4


def test_devices():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert "float64" in message(choose_device, "mps")
    if not torch.cuda.is_available():
        assert message(choose_device, "cuda:1") == (
            "the device 'cuda:1' was asked for, but torch sees no CUDA device here\n"
            "  hint: use device: auto or device: cpu"
        )


@pytest.mark.parametrize("name", ["nonsense", "meta", "cuda:-1", "cpu:7", "CPU", "", "cuda:9999"])
def test_devices_that_there_are_none_of(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert message(choose_device, name).startswith(f"there is no device {name!r}\n")


def test_a_device_beyond_the_last(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert "'cuda:2' was asked for, and torch sees 2 here" in message(choose_device, "cuda:2")


@pytest.mark.parametrize(("before", "after"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_products_on_a_gpu_are_to_give_the_same_bits(before, after, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(
        os, "environ", {} if before is None else {"CUBLAS_WORKSPACE_CONFIG": before}
    )
    choose_device("cpu")
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == before
    choose_device("auto")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == after


def test_an_output_folder_that_is_missing(folder):
    found = message(stage.run, make_options(folder), None, Path("no/model.pt"))
    assert found == "the folder 'no' does not exist\n  where: no/model.pt\n  hint: create it first"
    assert not Path("outputs").exists()


def full_disk(monkeypatch, when):
    """Make fsync fail as on a full disk for files of that name."""
    original = os.fsync

    def fsync(descriptor):
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        if when(name):
            raise OSError(errno.ENOSPC, "No space left on device", name)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_during_training_does_not_end_it(folder, monkeypatch, capsys):
    options = make_options(folder)
    stage.run(options, None, Path("whole.pt"))
    failing = (".model_2.ckpt.", "metrics.csv", ".learning_curve", ".errors")
    full_disk(monkeypatch, lambda name: name.startswith(failing))
    capsys.readouterr()
    stage.run(options)
    said = capsys.readouterr().out
    run = run_folders()[-1]
    assert (
        f"warning: the checkpoint could not be written: the disk is full ({run}/model_2.ckpt); "
        "training continues" in said
    )
    assert (
        f"warning: the metrics could not be written: the disk is full ({run}/metrics.csv)" in said
    )
    assert sorted(path.name for path in run.glob("*.ckpt")) == ["model_1.ckpt", "model_3.ckpt"]
    assert not list(run.glob(".*"))
    assert_same_run(Path("whole.ckpt"), Path("model.ckpt"))


def test_a_full_disk_at_the_end_names_what_is_left(folder, no_pictures, monkeypatch):
    options = make_options(folder)
    full_disk(monkeypatch, lambda name: name.startswith(".model.ckpt."))
    found = message(stage.run, options)
    (run,) = run_folders()
    assert found == (
        "the disk is full\n  where: model.ckpt\n"
        f"  hint: {run}/model_3.ckpt has the finished run: 'mtt export {run}/model_3.ckpt' makes "
        "the model file"
    )
    assert checkpoint.read(run / "model_3.ckpt")[0].position.epoch == 3


def test_an_interrupt_on_a_full_disk_names_the_last_checkpoint(folder, monkeypatch):
    full_disk(monkeypatch, lambda name: name.startswith(".model_0_"))
    monkeypatch.setattr(StopAfter, "looks", 2)
    monkeypatch.setattr(stage, "StopSignals", StopAfter)
    with pytest.raises(KeyboardInterrupt) as caught:
        stage.run(make_options(folder))
    (run,) = run_folders()
    assert str(caught.value) == (
        "interrupted after 0 epochs and 2 steps; the state could not be saved; "
        f"{run}/model_0.ckpt is the last that is whole\n"
        f"resume with: mtt train {run}/options.yaml --continue {run}/model_0.ckpt"
    )
