"""Commands in the image, as an ordinary user of a cluster gives them: Apptainer, and podman."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from container_users import (
    ETHANOL,
    GOLDEN,
    IMAGES,
    NEWEST,
    USER,
    VERIFIER,
    apptainer,
    assert_same_weights,
    checkpoints,
    environment,
    give,
    run,
    train_until,
)

from mtt import checkpoint
from mtt.images.runtimes import Mounts, Runnable, stored

SIF = f"{IMAGES[NEWEST].stem}.sif"
ONE_EPOCH = ["train", "options.yaml", "-r", "architecture.training.num_epochs=1"]
ONE_EPOCH += ["-r", "architecture.training.checkpoint_interval=1"]


@pytest.fixture
def quickstart(folder: Path) -> Path:
    """The user's folder with the data of the quickstart."""
    give(folder, *(ETHANOL / name for name in ("ethanol.xyz", "options.yaml", "eval.yaml")))
    return folder


def test_a_whole_run_killed_and_continued(tools: Path, images: Path, quickstart: Path) -> None:
    """Its weights are bit for bit those of a run in the image that was not killed.

    Outside of it a later commit may round otherwise, which steps of training then amplify.
    """
    sif, verifier = images / SIF, images / f"{IMAGES[VERIFIER].stem}.sif"
    with subprocess.Popen(
        apptainer(tools, sif, ONE_EPOCH),
        cwd=quickstart,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not list(quickstart.glob("outputs/*/*/metrics.csv")):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, messages = process.communicate()
    assert process.returncode == 143, output + messages
    assert "resume with: mtt train" in messages
    done = run(apptainer(tools, sif, [*ONE_EPOCH, "-c", "auto"]), quickstart)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (quickstart / "model.pt").stat().st_uid == USER
    header = checkpoint.read_header(quickstart / "model.ckpt")
    assert header.image_digest == IMAGES[NEWEST].digest

    whole = quickstart / "whole"
    whole.mkdir()
    os.chown(whole, USER, USER)
    give(whole, *(ETHANOL / name for name in ("ethanol.xyz", "options.yaml")))
    train_until(apptainer(tools, sif, ONE_EPOCH), whole, 1, signal.SIGTERM)
    assert_same_weights(*checkpoints(whole, 1), *checkpoints(quickstart, 1))

    export = ["export", "model.ckpt", "-o", "again.pt", "--verify"]
    assert run(apptainer(tools, sif, export), quickstart).returncode == 0
    evaluated = run(apptainer(tools, sif, ["eval", "again.pt", "eval.yaml"]), quickstart)
    assert evaluated.returncode == 0, evaluated.stderr
    verified = run(apptainer(tools, verifier, ["again.pt"]), quickstart)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_errors_keep_their_exit_codes(tools: Path, images: Path, quickstart: Path) -> None:
    sif = images / SIF
    done = run(apptainer(tools, sif, ["train", "option.yaml"]), quickstart)
    assert done.returncode == 2
    assert done.stderr == (
        "error: options file not found: option.yaml; did you mean 'options.yaml'?\n"
    )
    slurm = {"SLURM_JOB_ID": "7", "TMPDIR": "/scratch/7", "PYTHONPATH": "/elsewhere"}
    done = run(apptainer(tools, sif, ["--version"], **slurm), quickstart)
    assert (done.returncode, done.stdout, done.stderr) == (0, "mtt 0.1.0\n", "")


def test_names_are_not_commands(tools: Path, images: Path, folder: Path) -> None:
    """What a shell would run, or take for the end of a word, is a name like any other."""
    name = "a$(touch made) `touch made` $HOME \"b'.ckpt"
    shutil.copyfile(GOLDEN / "format-3_pet-3_options-1" / "0.ckpt", folder / name)
    shown = run(apptainer(tools, images / SIF, ["show", name]), folder)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"{name}: checkpoint, ")
    assert [path.name for path in folder.iterdir()] == [name]


def test_podman_as_any_user(tools: Path, images: Path, quickstart: Path) -> None:
    """With a file system that nobody can write to, no network, and a user that nobody knows."""
    os.chown(quickstart, 4321, 4321)
    digest = str(IMAGES[NEWEST].digest)
    before = stored(digest)
    podman = ["podman", "run", "--rm", "--network=none", "--read-only", "--user=4321:4321"]
    # What this machine's kernel asks for.
    podman += ["--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
    podman += ["-v", f"{quickstart}:/data", f"oci:{images / IMAGES[NEWEST].stem}"]
    script = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
    trial = ["unshare", "-m", "sh", "-c", script, "sh", *podman]
    version = run([*trial, "--version"], quickstart)
    assert "must be lowercase" not in version.stderr, "this is the name of the folder of images"
    if version.returncode != 0:
        pytest.skip(f"podman runs nothing here: {version.stderr.strip()}")
    done = run([*trial, *ONE_EPOCH], quickstart)
    if not before:  # its storage has a copy now
        for one in stored(digest):
            run([one.program, "rmi", "--force", one.image], quickstart)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (quickstart / "model.pt").stat().st_uid == 4321


def test_a_command_sees_what_it_names_and_nothing_else(
    tools: Path, images: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.chdir(folder)
    beside = folder.with_name(folder.name + "-inputs")
    beside.mkdir(mode=0o755)
    try:
        for name in ("named", "other"):
            (beside / name).write_text(name)
            os.chown(beside / name, USER, USER)
        mounts = Mounts(folder, [beside / "named"], [folder])
        words = Runnable("apptainer", str(images / SIF), None).command([], mounts)
        words[words.index("run")] = "exec"
        script = (
            f"pwd; ls {folder.parent}; ls {beside}; env; tail -n +3 /proc/net/dev; touch made; "
        )
        script += f"touch {beside}/named; touch {beside}/new; echo end"
        done = run([*words, "sh", "-c", script], folder)
        lines = done.stdout.splitlines()
        assert lines[:4] == [str(folder), *sorted([folder.name, beside.name]), "named"]
        assert not [line for line in lines if "SECRET" in line]
        # Of network devices there is at most the one that leads nowhere.
        assert {line.split(":")[0].strip() for line in lines if line.endswith(" 0")} <= {"lo"}
        assert lines[-1] == "end"
        assert (folder / "made").stat().st_uid == USER
        assert (beside / "named").read_text() == "named"
        assert sorted(path.name for path in beside.iterdir()) == ["named", "other"]
        assert "Read-only file system" in done.stderr
    finally:
        shutil.rmtree(beside)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_reach_the_command_in_the_image(
    tools: Path, images: Path, quickstart: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "mtt", "train", "options.yaml", "--image", "always"]
    with subprocess.Popen(
        command, cwd=quickstart, env=environment(tools, images), stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not list(quickstart.glob("outputs/*/*/metrics.csv")):
            time.sleep(0.1)
        process.send_signal(number)
        _, messages = process.communicate()
    assert process.returncode == code
    assert "; saved outputs/" in messages and "\nresume with: mtt train" in messages
