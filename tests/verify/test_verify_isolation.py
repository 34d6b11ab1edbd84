"""What a hostile or broken model can do to the machine and to its own report: nothing but fail."""

import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_models import arguments, build, export_hostile, failures
from metatomic.torch import System
from toy_models import ToyModel, export_toy

from mtt.verify import run as verify

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)"),
]
Hostile = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model that declares an extension."""
    return export_hostile(tmp_path_factory.mktemp("hostile") / "model.pt")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where a program would make a folder of its own: nothing may be there, now or later."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def hostile(model: Path, tmp_path: Path, scratch: Path) -> Hostile:
    """``hostile(deed, *options, **environment)``: the report on a model whose extension does that."""

    def run(deed: str, *options: str, **environment: str) -> dict[str, Any]:
        command = arguments(model, build(deed, tmp_path), *options)
        variables = {**os.environ, "TMPDIR": str(scratch), **environment}
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, errors="replace", timeout=120
        )
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == {"pass": 0, "fail": 3}[report["verdict"]], done.stderr
        assert list(scratch.iterdir()) == []
        return report

    return run


def test_an_extension_that_does_nothing_passes(hostile: Hostile, tmp_path: Path) -> None:
    report = hostile("nothing")
    assert failures(report) == {}
    assert report["isolation"]["process"] is True
    assert report["peak_memory_bytes"] > 50e6
    [extension] = report["file"]["extensions"]
    content = (tmp_path / "extensions" / "libhostile.so").read_bytes()
    assert extension == {"name": "hostile", "sha256": hashlib.sha256(content).hexdigest()}


def test_output_without_end_is_harmless(hostile: Hostile) -> None:
    assert failures(hostile("floods")) == {}


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (
            "divides",
            "the model crashes its process (SIGFPE: division by zero, or a trap of the "
            "floating-point unit): an MD engine would die in the same way",
        ),
        (
            "exits",
            "the model ends its process with exit code 0: an MD engine would stop here without a word",
        ),
        (
            "aborts",
            "the model aborts its process (SIGABRT): an MD engine would die in the same way; "
            "its last words: the table of elements is on fire",
        ),
        (
            "overflows",
            "the model crashes its process (SIGSEGV: a wild memory access, or a stack that "
            "overflows): an MD engine would die in the same way",
        ),
        (
            "fakes_output",
            "the model ends its process with exit code 0: an MD engine would stop here without a "
            'word; its last words: {"schema": 2, "checks": [], "verdict": "pass"}',
        ),
        (
            "fakes_channel",
            "the model writes into the channel that its numbers come through: it tampers "
            "with the program that checks it",
        ),
        pytest.param(
            "foreign_calls",
            "the model ends its process by signal 31: an MD engine would die in the same way",
            marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="64-bit calls only"),
        ),
        (
            "closes",
            "the model ends its process with exit code 1: an MD engine would stop here without a word",
        ),
    ],
)
def test_a_process_that_ends_while_the_model_loads(
    hostile: Hostile, deed: str, message: str
) -> None:
    report = hostile(deed)
    assert failures(report) == {"LOAD/model": f"while it is loaded, {message}"}
    rest = [c for c in report["checks"] if c["family"] == "GEO"]
    assert {(c["status"], c["message"]) for c in rest} == {
        ("skip", "the model could not be loaded")
    }


@pytest.mark.parametrize("deed", ["sleeps", "stubborn", "stops_itself"])
def test_a_model_that_hangs(hostile: Hostile, deed: str) -> None:
    start = time.monotonic()
    assert failures(hostile(deed, "--time-limit", "3")) == {
        "LOAD/model": "while it is loaded, the model takes more than 3 s for this check (--time-limit): an MD engine "
        "would hang or crawl"
    }
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("deed", "without"),
    [("hogs", ""), ("hogs_tables", ""), ("hogs_tables", "seccomp"), ("hogs_shared", "seccomp")],
)
def test_a_model_that_takes_all_memory(hostile: Hostile, deed: str, without: str) -> None:
    limits = ["--memory-limit", "700", "--time-limit", "20"]
    report = hostile(deed, *limits, MTT_VERIFY_WITHOUT=without)
    assert failures(report) == {
        "LOAD/model": "while it is loaded, the model takes more memory than the limit of 700 MB "
        "(--memory-limit)"
    }
    assert report["peak_memory_bytes"] < 2e9


def test_memory_that_is_shared_can_not_be_had(hostile: Hostile) -> None:
    report = hostile("hogs_shared", "--memory-limit", "700")
    assert failures(report) == {}
    assert report["peak_memory_bytes"] < 700e6


def test_a_model_that_starts_threads_without_end(hostile: Hostile) -> None:
    # On a busy machine a thousand threads take their time.
    [(check, message)] = failures(hostile("hogs_threads", "--time-limit", "30")).items()
    assert check == "LOAD/model"
    assert re.fullmatch(r"while it is loaded, the model starts \d+ threads", message)


def test_processes_that_outlive_the_model_are_killed(hostile: Hostile, tmp_path: Path) -> None:
    report = hostile("daemon_stays", MTT_VERIFY_WITHOUT="seccomp")
    assert failures(report) == {}
    assert not processes_with(tmp_path)


@pytest.mark.parametrize("without", ["landlock,seccomp", "landlock3,seccomp"])
def test_without_any_sandbox_the_model_does_not_run(
    model: Path, tmp_path: Path, without: str
) -> None:
    marker = tmp_path / "ran"
    extensions = build("leaves_mark", tmp_path, TARGET=marker)
    command = arguments(model, extensions)
    variables = {**os.environ, "MTT_VERIFY_WITHOUT": without}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("mtt-verify: the model was not run: this system offers no sandbox")
    assert "--no-require-sandbox" in line
    assert not marker.exists()
    allowed = subprocess.run([*command, "--no-require-sandbox"], env=variables, capture_output=True)
    assert allowed.returncode == 0
    assert marker.exists() == (without == "landlock,seccomp")  # Landlock 2 keeps it from being made


def test_the_command_warns_of_a_weak_sandbox_and_refuses_without_any(tmp_path: Path) -> None:
    path = export_toy(tmp_path / "model.pt", reference_model="pair")
    command = [sys.executable, "-m", "mtt", "verify", str(path), "--only", "LOAD"]

    def run(without: str, *options: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "MTT_VERIFY_WITHOUT": without}
        return subprocess.run(
            [*command, *options], env=variables, capture_output=True, text=True, timeout=60
        )

    weak = run("landlock")
    assert weak.returncode == 0
    assert weak.stderr.startswith("warning: weak sandbox: no Landlock here")
    assert "weak sandbox: no Landlock here" in weak.stdout
    none = run("landlock,seccomp")
    assert (none.returncode, none.stdout) == (2, "")
    assert "the model was not run: this system offers no sandbox" in none.stderr
    assert "--no-require-sandbox" in none.stderr and "Traceback" not in none.stderr
    anyhow = run("landlock,seccomp", "--no-require-sandbox")
    assert anyhow.returncode == 0
    assert anyhow.stderr.startswith("warning: no sandbox: neither seccomp nor Landlock 3")
    assert run("").stderr == ""


@pytest.mark.parametrize("without", ["", "landlock", "seccomp"])
def test_threads_of_libtorch_work_in_the_sandbox(tmp_path: Path, without: str) -> None:
    path = export_toy(tmp_path / "model.pt", Busy, reference_model="pair")
    command = [
        str(verify.program()),
        str(path),
        "--threads",
        "4",
        "--only",
        "PARITY,NTH",
        "--json",
        "-",
    ]
    variables = {
        **{"MTT_VERIFY_WITHOUT": without, "OMP_NUM_THREADS": "4", "OMP_PROC_BIND": "true"},
        **{"MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8", "DNNL_VERBOSE": "0"},
    }
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, failures(json.loads(done.stdout))


def test_a_run_without_isolation_says_so(hostile: Hostile) -> None:
    isolation = hostile("nothing", "--no-isolation")["isolation"]
    assert isolation["process"] is False
    assert isolation["notes"] == ["the model ran in the process that wrote this report"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_verification_leaves_nothing(
    model: Path, tmp_path: Path, scratch: Path, number: signal.Signals, code: int
) -> None:
    with started(model, tmp_path, scratch) as program:
        program.send_signal(number)
        assert program.wait(30) == code
    assert list(scratch.iterdir()) == []
    assert not processes_with(tmp_path)


def test_the_model_dies_with_the_program(model: Path, tmp_path: Path, scratch: Path) -> None:
    with started(model, tmp_path, scratch) as program:
        program.kill()
        program.wait(30)
    wait_until_gone(lambda: processes_with(tmp_path))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_an_interrupted_command_leaves_nothing(
    model: Path, tmp_path: Path, scratch: Path, number: signal.Signals, code: int
) -> None:
    mark = f"C.mtt-{os.getpid()}-{code}"
    command = [sys.executable, "-m", "mtt", "verify", str(model), "--only", "LOAD"]
    program = subprocess.Popen(
        [*command, "--extensions", str(build("sleeps", tmp_path))],
        env={**os.environ, "LC_NAME": mark, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not processes_with(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert processes_with(tmp_path)
    program.send_signal(number)
    assert program.wait(30) == code
    wait_until_gone(lambda: processes_with_variable(mark))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
def test_the_worker_dies_with_the_program_at_any_moment(
    model: Path, tmp_path: Path, moment: float
) -> None:
    mark = f"C.mtt-{os.getpid()}-{moment}"  # a variable that a worker gets
    program = subprocess.Popen(
        arguments(model, build("sleeps", tmp_path)),
        env={**os.environ, "LC_NAME": mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(moment)
    program.kill()
    program.wait(30)
    wait_until_gone(lambda: processes_with_variable(mark))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_both_of_two_processes_end_with_the_program(
    model: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    mark = f"C.mtt-both-{os.getpid()}-{code}"
    command = arguments(model, build("nothing", tmp_path), "--processes", "2")
    program = subprocess.Popen(
        [*command, "--only", "LOAD,SCHEMA,NTH,DD,PARITY,FD,ENGINE"],
        env={**os.environ, "LC_NAME": mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while len(processes_with_variable(mark)) < 3 and time.monotonic() < end:
        assert program.poll() is None
        time.sleep(0.02)
    program.send_signal(number)
    assert program.wait(30) == code
    wait_until_gone(lambda: processes_with_variable(mark))


def started(model: Path, folder: Path, scratch: Path) -> subprocess.Popen[bytes]:
    """The program, once the model that sleeps has been loaded."""
    command = arguments(model, build("sleeps", folder))
    variables = {**os.environ, "TMPDIR": str(scratch)}
    program = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not processes_with(folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert processes_with(folder)
    return program


def wait_until_gone(processes: Callable[[], list[str]]) -> None:
    end = time.monotonic() + 10
    while processes() and time.monotonic() < end:
        time.sleep(0.02)
    assert not processes()


def processes_with(folder: Path) -> list[str]:
    """Processes that have the extension of this folder in memory."""
    found = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if str(folder / "extensions") in maps.read_text(errors="replace"):
                found.append(maps.parent.name)
        except OSError:
            continue  # it has ended, or belongs to someone else
    return found


def processes_with_variable(value: str) -> list[str]:
    """Processes that have it in their environment."""
    there = []
    for variables in Path("/proc").glob("[0-9]*/environ"):
        try:
            if value.encode() in variables.read_bytes():
                there.append(variables.parent.name)
        except OSError:
            continue  # it has ended, or belongs to someone else
    return there


class Busy(ToyModel):
    """Whatever has code of its own for a processor or starts threads: convolutions, products, transforms."""

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        ones = torch.ones(300, 300)
        image = torch.ones(8, 4, 40, 40)
        kernel = torch.ones(6, 4, 3, 3)
        total = torch.mm(ones, ones).sum() + torch.conv2d(image, kernel).sum()
        total = total + torch.mm(ones.to(torch.bfloat16), ones.to(torch.bfloat16)).float().sum()
        total = (
            total
            + torch.fft.fft(ones).real.sum()
            + torch.linalg.solve(ones + torch.eye(300), ones).sum()
        )
        return values + 0.0 * total.to(values.dtype)
