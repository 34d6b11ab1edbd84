"""What ``-c auto`` makes of folders in which there is more than checkpoints of this run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import make_options

from mtt import checkpoint
from mtt.errors import UserError
from mtt.training import run as stage
from mtt.training.runs import resume


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a finished run of three epochs, called as if it were an old one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "_pictures", lambda *_: None)
    monkeypatch.setattr(stage, "_export", lambda ckpt, output, *_: output.write_text("model"))
    stage.run(make_options(tmp_path))
    (made,) = Path("outputs").glob("*/*/")
    Path("outputs/2001-01-01").mkdir()
    return made.rename("outputs/2001-01-01/10-00-00")


def auto(capsys):
    """What it takes, and what it says about the rest."""
    capsys.readouterr()
    stage.run(make_options(Path.cwd()), "auto")
    lines = [line[20:] for line in capsys.readouterr().out.splitlines()]  # behind the time
    (taken,) = [line for line in lines if line.startswith("resuming from ")]
    warnings = [line.removeprefix("warning: left out ") for line in lines if "left out" in line]
    return taken.removeprefix("resuming from ").partition(":")[0], warnings


def test_files_that_are_none(run, capsys):
    os.mkfifo(run / "pipe.ckpt")
    os.mkfifo(run / "model_9.ckpt")
    (run / "model_8.ckpt").symlink_to("nowhere.ckpt")
    (run / "model_7.ckpt").symlink_to("model_7.ckpt")
    (run / "model_6.ckpt").mkdir()
    (run / "model_5.ckpt").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(Path(run.name).with_suffix(".ckpt")))
        Path(run.name).with_suffix(".ckpt").rename(run / "model_4.ckpt")
    assert auto(capsys) == (
        f"{run}/model_3.ckpt",
        [
            f"{run}/model_9.ckpt: this is not a regular file: it is a pipe",
            f"{run}/model_8.ckpt: there is no such checkpoint",
            f"{run}/model_7.ckpt: the checkpoint cannot be read: Too many levels of symbolic links",
            f"{run}/model_6.ckpt: the checkpoint cannot be read: Is a directory",
            f"{run}/model_5.ckpt: this is an empty file, not a checkpoint of mtt",
            f"{run}/model_4.ckpt: this is not a regular file: it is a socket",
        ],
    )


def test_folders_that_are_none(run, capsys):
    newer = Path("outputs/2099-01-01")
    newer.mkdir()
    (newer / "10-00-00").write_text("a file")
    (newer / "11-00-00").symlink_to("nowhere")
    (newer / "12-00-00").symlink_to(Path.cwd() / "outputs")
    (newer / "13-00-00").mkdir()
    Path("outputs/notes.txt").touch()
    Path("outputs/loop").symlink_to("loop")
    loop = "outputs/loop: it cannot be read: Too many levels of symbolic links"
    assert auto(capsys) == (f"{run}/model_3.ckpt", [loop])


SEARCH = """
import logging, os, sys
from pathlib import Path
from mtt.errors import UserError
from mtt.options import load_options
from mtt.training.runs.resume import newest_checkpoint
options = load_options(Path("options.yaml"))
newest_checkpoint(Path("outputs"), options)  # imports all that it needs
os.seteuid(65534)  # to root no folder is unreadable
logging.basicConfig(format="%(message)s", stream=sys.stdout)
print(newest_checkpoint(Path("outputs"), options))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_folders_that_may_not_be_read(run):
    """In a process of its own, which is not allowed to read everything."""
    for path in [Path.cwd(), *Path.cwd().parents][:4]:
        path.chmod(path.stat().st_mode | 0o055)
    for name, mode in (("closed", 0o000), ("listed", 0o644)):
        folder = Path("outputs/2099-01-01") / name
        folder.mkdir(parents=True)
        (folder / "model_1.ckpt").write_bytes((run / "model_1.ckpt").read_bytes())
        folder.chmod(mode)
    for name, mode in (("2098-01-01", 0o000), ("2097-01-01", 0o644)):
        Path("outputs", name, "10-00-00").mkdir(parents=True)
        Path("outputs", name).chmod(mode)
    (run / "model_3.ckpt").chmod(0o000)
    done = subprocess.run(
        [sys.executable, "-c", SEARCH], capture_output=True, text=True, timeout=120, check=True
    )
    denied = "Permission denied"
    assert done.stdout.splitlines() == [
        f"left out outputs/2099-01-01/listed/model_1.ckpt: the checkpoint cannot be read: {denied}",
        f"left out outputs/2099-01-01/closed: it cannot be read: {denied}",
        f"left out outputs/2098-01-01: it cannot be read: {denied}",
        f"left out outputs/2097-01-01/10-00-00: it cannot be read: {denied}",
        f"left out {run}/model_3.ckpt: the checkpoint cannot be read: {denied}",
        f"{run}/model_2.ckpt",
    ]


def test_most_steps_decide_whatever_the_names(run, capsys):
    (run / "model_3.ckpt").rename(run / "best so far.ckpt")
    (run / "model_1.ckpt").rename(run / "zero.ckpt")
    assert auto(capsys) == (f"{run}/best so far.ckpt", [])


def test_only_what_is_taken_is_read_as_a_whole(run, monkeypatch, capsys):
    for number in range(4, 40):
        content = bytearray((run / "model_3.ckpt").read_bytes())
        (run / f"model_0_{number}.ckpt").write_bytes(content)
    headers, whole = [], []
    read_header, read = checkpoint.read_header, checkpoint.read
    monkeypatch.setattr(
        checkpoint, "read_header", lambda path: (headers.append(path), read_header(path))[1]
    )
    monkeypatch.setattr(checkpoint, "read", lambda path: (whole.append(path), read(path))[1])
    found = resume.newest_checkpoint(Path("outputs"), make_options(Path.cwd()))
    assert found == run / "model_3.ckpt"
    assert whole == headers == [found]


def test_another_run_is_never_taken(run):
    options = make_options(Path.cwd(), {"learning_rate": 0.5})
    with pytest.raises(UserError) as caught:
        stage.run(options, "auto")
    assert str(caught.value) == (
        "there is no checkpoint of this run to resume from; found: 3 of runs with other options\n"
        "  where: outputs\n"
        "  hint: name a checkpoint, as in --continue model.ckpt, or train anew without --continue"
    )
