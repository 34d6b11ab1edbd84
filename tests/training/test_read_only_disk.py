"""A disk that becomes read-only under a run, as disks with faults and full quotas do."""

import subprocess
from pathlib import Path

import pytest
import torch
from small_runs import make_options

from mtt import checkpoint
from mtt.errors import UserError
from mtt.training import run as stage


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """``outputs`` on a file system of its own; a function that makes it read-only or writable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "_pictures", lambda *_: None)
    monkeypatch.setattr(stage, "_export", lambda ckpt, output, *_: output.write_text("model"))
    Path("outputs").mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", "outputs")

    def remount(how: str) -> None:
        mount("-o", f"remount,{how}", "outputs")

    yield remount
    subprocess.run(["umount", "--lazy", str(tmp_path / "outputs")], check=True)


def at_steps(monkeypatch, what):
    """Do something before certain steps of a run."""
    original = stage._Observer.step

    def step(self, loss, n_structures):
        if self.job.state.position.step in what:
            what[self.job.state.position.step]()
        original(self, loss, n_structures)

    monkeypatch.setattr(stage._Observer, "step", step)


def options_of(folder):
    return make_options(folder, {"checkpoint_every": "1 steps", "keep_last": 2, "keep_every": None})


def assert_same_tensors(path, other):
    first, second = checkpoint.read(path)[1], checkpoint.read(other)[1]
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_read_only_for_some_steps(tmp_path, disk, monkeypatch, capsys):
    options = options_of(tmp_path)
    stage.run(options, None, Path("whole.pt"))
    at_steps(monkeypatch, {3: lambda: disk("ro"), 7: lambda: disk("rw")})
    capsys.readouterr()
    stage.run(options)
    said = capsys.readouterr().out
    run = sorted(Path("outputs").glob("*/*/"))[-1]
    for name in ("model_0_3", "model_0_4", "model_1", "model_1_5", "model_1_6"):
        assert (
            f"warning: the checkpoint could not be written: the file cannot be written: Read-only "
            f"file system ({run}/{name}.ckpt); training continues" in said
        )
    assert "model_1_7" not in said
    assert "warning: the metrics could not be written: " in said
    assert_same_tensors(Path("whole.ckpt"), Path("model.ckpt"))
    # The two newest and the best, and nothing of what could not be deleted at the time.
    assert len(list(run.glob("*.ckpt"))) <= 3
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_read_only_to_the_end_and_no_place_for_the_result(tmp_path, disk, monkeypatch, capsys):
    options = options_of(tmp_path)
    stage.run(options, None, Path("whole.pt"))
    events = {6: lambda: disk("ro")}
    at_steps(monkeypatch, events)
    Path("outputs/results").mkdir()
    output = Path("outputs/results/model.pt")
    with pytest.raises(UserError) as caught:
        stage.run(options, None, output)
    run = sorted(path for path in Path("outputs").glob("2*/*/"))[-1]
    assert str(caught.value) == (
        "the file cannot be written: Read-only file system\n"
        "  where: outputs/results/model.ckpt\n"
        f"  hint: {run}/model_1_5.ckpt is the last that is whole; once there is space, resume with: "
        f"mtt train {run}/options.yaml --continue {run}/model_1_5.ckpt --output {output}"
    )
    disk("rw")
    assert checkpoint.read(run / "model_1_5.ckpt")[0].position.step == 5
    events.clear()
    stage.run(options, "auto", output)
    assert_same_tensors(Path("whole.ckpt"), Path("outputs/results/model.ckpt"))
