"""Temporary files of killed processes go away, and nothing else does."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtt.files import check_writable, clear_leftovers, replacing

NAME = ".model.ckpt.mtt-a1b2c3d4.ckpt"

WRITE = """
import sys, time
from pathlib import Path
from mtt.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of it")
    print(temporary, flush=True)
    time.sleep(60)
"""


def make(path: Path, minutes: float = 2.0) -> Path:
    """A file that was last written some minutes ago."""
    path.write_bytes(b"half of it")
    then = time.time() - 60 * minutes
    os.utime(path, (then, then))
    return path


def write(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")


def test_what_a_killed_process_left_goes_away_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", WRITE, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        then = time.time() - 120
        os.utime(left, (then, then))
        # It is old, but its process lives.
        write(path)
        assert left.exists() and path.read_bytes() == b"new"
        process.send_signal(signal.SIGKILL)
    assert left.exists()
    write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_the_last_minute_stays(tmp_path: Path) -> None:
    left = make(tmp_path / NAME, minutes=0.5)
    write(tmp_path / "model.ckpt")
    assert left.exists()
    clear_leftovers(tmp_path)  # of a folder that is ours alone
    assert not left.exists()


@pytest.mark.parametrize(
    "name",
    [
        "model.ckpt",
        ".model.ckpt",
        ".model.ckpt.a1b2c3d4.ckpt",
        ".model.ckpt.mtt-a1b2c3d.ckpt",
        ".model.ckpt.mtt-a1b2c3d45.ckpt",
        ".model.ckpt.mtt-A1B2C3D4.ckpt",
        ".model.ckpt.mtt-a1b2c3d4",
        ".model.ckpt.mtt-a1b2c3d4.pt",
        ".model.ckpt.mtt-a1b2c3d4.ckpt.bak",
        "model.ckpt.mtt-a1b2c3d4.ckpt",
        "..mtt-a1b2c3d4",
    ],
)
def test_no_other_name_is_taken_for_one(tmp_path: Path, name: str) -> None:
    mine = make(tmp_path / name)
    clear_leftovers(tmp_path)
    write(tmp_path / "other.ckpt")
    assert mine.exists()


def test_files_for_another_name_stay(tmp_path: Path) -> None:
    others = [
        make(tmp_path / ".other.ckpt.mtt-a1b2c3d4.ckpt"),
        make(tmp_path / ".model.ckpt.mtt-a1b2c3d4.ckpt.mtt-a1b2c3d4.ckpt"),
    ]
    left = [make(tmp_path / NAME)]
    write(tmp_path / "model.ckpt")
    assert [one.exists() for one in (*others, *left)] == [True, True, False]


def test_nothing_but_files_of_ours(tmp_path: Path) -> None:
    folder, pipe, link = (tmp_path / f".model.ckpt.mtt-{'x' * 7}{n}.ckpt" for n in range(3))
    folder.mkdir()
    os.mkfifo(pipe)
    target = make(tmp_path / "precious")
    link.symlink_to(target)
    for one in (folder, pipe, link):
        then = time.time() - 120
        os.utime(one, (then, then), follow_symlinks=False)
    write(tmp_path / "model.ckpt")
    clear_leftovers(tmp_path)
    assert folder.is_dir() and pipe.is_fifo() and link.is_symlink() and target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    left = make(tmp_path / NAME)
    os.chown(left, 12345, 12345)
    clear_leftovers(tmp_path)
    assert left.exists()


def test_a_locked_file_stays(tmp_path: Path) -> None:
    left = make(tmp_path / NAME)
    with left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        clear_leftovers(tmp_path)
        assert left.exists()
    clear_leftovers(tmp_path)
    assert not left.exists()


def test_programs_that_are_started_meanwhile_do_not_hold_the_lock(tmp_path: Path) -> None:
    with replacing(tmp_path / "model.ckpt") as temporary:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )
        temporary.write_bytes(b"new")
    try:
        with (tmp_path / "model.ckpt").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.communicate(b"\n")


def test_trying_whether_a_file_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []
