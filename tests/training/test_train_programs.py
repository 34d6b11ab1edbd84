"""Training as a program of its own: signals at every time of its life, two at once, and queues."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import make_options

from mtt import checkpoint
from mtt.errors import UserError
from mtt.options import load_options
from mtt.training import run as stage
from mtt.training.runs.lock import FolderLock

ENDLESS = {"num_epochs": 1_000_000, "checkpoint_interval": 1_000_000, "log_interval": 1_000_000}
COMMAND = [sys.executable, "-m", "mtt", "train", "options.yaml"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def started(*arguments):
    """A program that is killed at the end of the block, whatever happens."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process, condition):
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def end(process, number):
    """Send a signal; the exit code, and what was said about the end."""
    process.send_signal(number)
    _, said = process.communicate(timeout=240)
    return process.returncode, said


def is_open(descriptors, path):
    for one in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if Path(os.readlink(one)) == path.resolve():
                return True
    return False


def trains():
    return any("epoch " in log.read_text() for log in Path().glob("outputs/*/*/train.log"))


# ---- signals ----


def test_a_signal_while_libraries_are_loaded(folder):
    make_options(folder, ENDLESS)
    with started() as process:
        wait_for(process, lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
        assert end(process, signal.SIGUSR1) == (
            143,
            "terminated before training began: nothing has been changed\n",
        )
    assert sorted(path.name for path in folder.iterdir()) == ["data.xyz", "options.yaml"]


@pytest.mark.parametrize(
    ("number", "code", "what"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_while_data_are_read(folder, number, code, what):
    make_options(folder, ENDLESS)
    data = Path("data.xyz")
    data.write_text(300 * data.read_text())  # seconds to read
    with started() as process:
        files = Path(f"/proc/{process.pid}/fd")
        wait_for(process, lambda: is_open(files, data))
        said = f"{what} before training began: nothing has been changed\n"
        assert end(process, number) == (code, said)
    assert sorted(path.name for path in folder.iterdir()) == ["data.xyz", "options.yaml"]


def test_a_signal_while_results_are_made(folder, monkeypatch):
    options = make_options(folder, {"num_epochs": 1})
    with started("-o", "copper.pt") as process:
        for line in process.stdout:
            if line.endswith(" wrote copper.ckpt\n"):
                break
        code, said = end(process, signal.SIGTERM)
    (run,) = Path("outputs").glob("*/*/")
    assert (code, said) == (
        143,
        "terminated when all epochs were done, before all results were made\n"
        f"make them with: mtt train {run}/options.yaml --continue auto --output copper.pt\n",
    )
    assert Path("copper.ckpt").read_bytes() == (run / "model_1.ckpt").read_bytes()
    assert not Path("copper.pt").exists() and not (run / "errors.json").exists()
    assert not list(folder.glob(".*")) and not list(run.glob(".*"))
    exported = []
    monkeypatch.setattr(stage, "_export", lambda ckpt, output, *_: exported.append(output))
    stage.run(load_options(run / "options.yaml"), "auto", Path("copper.pt"))
    assert exported == [Path("copper.pt")] and load_options(run / "options.yaml") == options
    made = {path.name for path in run.iterdir()}
    assert {"errors.json", "learning_curve.png", "parity_validation.png"} <= made


def test_the_age_of_a_program_counts_from_its_start():
    source = (
        "import time; time.sleep(1.0); from mtt.training.runs.signals import program_age, _IMPORTED; "
        "print(program_age(), time.monotonic() - _IMPORTED)"
    )
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    age, since_import = map(float, done.stdout.split())
    assert since_import + 1.0 < age < time.monotonic() - before + 0.1


# ---- two at once ----


def test_a_second_process_is_told_of_the_first_until_that_is_killed(folder):
    options = make_options(folder, ENDLESS)
    with started() as process:
        wait_for(process, trains)
        (run,) = Path("outputs").glob("*/*/")
        before = sorted(run.iterdir())
        second = subprocess.run(
            [*COMMAND, "-c", "auto"], capture_output=True, text=True, timeout=240, check=False
        )
        assert (second.returncode, second.stderr) == (
            2,
            "error: another process trains in the folder of this run\n"
            f"  where: {run} (process {process.pid})\n"
            "  hint: wait until it has ended, or stop it: it saves first, and can then be "
            "resumed\n",
        )
        assert sorted(run.iterdir()) == before
        process.kill()
        process.wait()
        with FolderLock() as lock:
            lock.take(run)
    assert load_options(run / "options.yaml") == options


def test_a_child_does_not_inherit_the_lock(folder):
    lock = FolderLock()
    lock.take(folder)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
    )
    try:
        with pytest.raises(UserError, match="another process trains in the folder of this run"):
            FolderLock().take(folder)
        lock.release()
        lock.take(folder)
    finally:
        lock.release()
        child.communicate(b"\n")


# ---- the job script of the documentation ----

SRUN = """#!/bin/bash
"$@" & echo $! > srun.pid
wait $!
"""
SCONTROL = """#!/bin/bash
echo "$@" >> scontrol.log
"""


JOB = Path(__file__).parents[2] / "docs/examples/slurm/train.sh"


def test_the_job_script_of_the_documentation(folder, monkeypatch):
    """With what the queue does in place of the queue: it signals the job's steps, and requeues."""
    make_options(folder, ENDLESS)
    Path("bin").mkdir()
    python = f'#!/bin/bash\nexec {sys.executable} -m mtt "$@"\n'
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("mtt", python)):
        Path("bin", name).write_text(text)
        Path("bin", name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    steps = []
    for part in (1, 2):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(part - 1))
        with open(f"out{part}", "w") as output:
            job = subprocess.Popen(["bash", str(JOB)], stdout=output, stderr=output)
        try:
            wait_for(job, lambda part=part: f"part {part}" in progress())
            os.kill(int(Path("srun.pid").read_text()), signal.SIGUSR1)
            job.wait(timeout=240)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(Path("srun.pid").read_text()), signal.SIGKILL)
            job.kill()
        (run,) = Path("outputs").glob("*/*/")
        newest = max(run.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        steps.append(checkpoint.read(newest)[0].position.step)
        assert Path("scontrol.log").read_text() == "requeue 4711\n" * part
    assert 0 < steps[0] < steps[1]
    assert f"epoch {steps[0] // 4}, step {steps[0]}\n" in Path("out2").read_text()


def progress():
    """ "part N" while the Nth part of the run trains."""
    logs = list(Path().glob("outputs/*/*/train.log"))
    parts = logs[0].read_text().split("results go to") if logs else []
    return f"part {len(parts) - 1}" if parts and " epoch " in parts[-1] else ""
