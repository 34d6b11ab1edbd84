"""What a hostile or broken model can do to the machine and to its own report: nothing but fail."""

# ruff: noqa: UP006, UP035  (TorchScript wants the names of typing)

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, List

import pytest
import torch
from metatomic.torch import System
from toy_models import ToyModel, export_toy

from mtt.verify import run as verify

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)"),
]
SOURCE = Path(__file__).parent / "hostile.c"
Hostile = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model that declares an extension."""
    declared = json.dumps([{"name": "hostile", "path": "libhostile.so"}])
    path = tmp_path_factory.mktemp("hostile") / "model.pt"
    return export_toy(path, records={"extensions": declared})


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the program makes its own folder."""
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


def build(deed: str, folder: Path) -> Path:
    """The folder with the extension, compiled."""
    extensions = folder / "extensions"
    extensions.mkdir()
    target = folder / "precious.txt"
    target.write_text("years of work")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", f"-DDEED={deed}", f"-DTARGET={target}", str(SOURCE)]
        + ["-o", str(extensions / "libhostile.so"), "-lm"],
        check=True,
    )
    return extensions


def arguments(model: Path, extensions: Path, *options: str) -> list[str]:
    chosen = options if "--only" in options else ("--only", "LOAD,GEO", *options)
    return [
        *(str(verify.program()), str(model), "--extensions", str(extensions)),
        *("--json", "-", "--quiet", "--threads", "1", *chosen),
    ]


def failures(report: dict[str, Any]) -> dict[str, str]:
    return {
        f"{c['family']}/{c['name']}": c["message"]
        for c in report["checks"]
        if c["status"] == "fail"
    }


def test_an_extension_that_does_nothing_passes(hostile: Hostile, tmp_path: Path) -> None:
    report = hostile("nothing")
    assert failures(report) == {}
    assert report["isolation"]["process"] is True
    assert report["peak_memory_bytes"] > 50e6
    [extension] = report["file"]["extensions"]
    content = (tmp_path / "extensions" / "libhostile.so").read_bytes()
    assert extension == {"name": "hostile", "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("without", ["", "landlock"])
def test_nothing_outside_the_scratch_folder_can_be_changed(
    hostile: Hostile, tmp_path: Path, without: str
) -> None:
    report = hostile("write_home", MTT_VERIFY_WITHOUT=without)
    assert failures(report) == {}
    target = tmp_path / "precious.txt"
    assert target.read_text() == "years of work"
    assert target.stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "precious.txt.new").exists()
    if without == "landlock":
        assert report["isolation"]["filesystem"] == "read-only (seccomp)"


def test_home_is_a_folder_of_its_own(hostile: Hostile) -> None:
    report = hostile("own_home")
    if "Landlock" in report["isolation"]["filesystem"]:
        assert failures(report) == {}


def test_what_a_model_leaves_in_its_folder_is_removed(hostile: Hostile) -> None:
    report = hostile("deep_folders")
    if "Landlock" in report["isolation"]["filesystem"]:
        assert failures(report) == {}


@pytest.mark.parametrize("deed", ["network", "forks", "kills_parent", "floods"])
def test_deeds_that_are_refused_or_harmless(hostile: Hostile, deed: str) -> None:
    report = hostile(deed)
    assert failures(report) == {}
    assert report["isolation"]["network"] == "none (seccomp)"


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


@pytest.mark.parametrize("deed", ["sleeps", "stubborn"])
def test_a_model_that_hangs(hostile: Hostile, deed: str) -> None:
    start = time.monotonic()
    assert failures(hostile(deed, "--time-limit", "3")) == {
        "LOAD/model": "while it is loaded, the model takes more than 3 s for this check (--time-limit): an MD engine "
        "would hang or crawl"
    }
    assert time.monotonic() - start < 30


def test_a_model_that_takes_all_memory(hostile: Hostile) -> None:
    report = hostile("hogs", "--memory-limit", "700")
    assert failures(report) == {
        "LOAD/model": "while it is loaded, the model takes more memory than the limit of 700 MB "
        "(--memory-limit)"
    }
    assert report["peak_memory_bytes"] < 2e9


def test_processes_that_outlive_the_model_are_killed(hostile: Hostile, tmp_path: Path) -> None:
    report = hostile("daemon_stays", MTT_VERIFY_WITHOUT="seccomp")
    assert failures(report) == {}
    assert not processes_with(tmp_path)
    notes = report["isolation"]["notes"]
    assert any(note.startswith("no filter of system calls") for note in notes)


def test_the_report_says_when_nothing_protects(hostile: Hostile) -> None:
    isolation = hostile("nothing", MTT_VERIFY_WITHOUT="seccomp,landlock")["isolation"]
    assert isolation["filesystem"] == "not restricted"


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
    end = time.monotonic() + 10
    while processes_with(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert not processes_with(tmp_path)


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


class Trap(ToyModel):
    """The one integer division that processors refuse."""

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        if len(system) == 1:
            values = values + float((-9223372036854775807 - 1) // -len(system))
        return values.to(system.positions.dtype)


class Endless(ToyModel):
    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        while len(system) == 1 and bool(values.sum() < 1e300):
            values = values + 0.0
        return values.to(system.positions.dtype)


class Hungry(ToyModel):
    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        kept: List[torch.Tensor] = []
        while len(system) == 1 and len(kept) < 100:
            kept.append(torch.ones(4000000, dtype=torch.float64))
        return values.to(system.positions.dtype)


class Greedy(ToyModel):
    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        if len(system) == 1:
            values = values + torch.zeros(13000000000, dtype=torch.float64).sum()
        return values.to(system.positions.dtype)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Trap, (), "the model crashes its process (SIGFPE"),
        (Endless, ("--time-limit", "4"), "the model takes more than 4 s for this check"),
        (Hungry, ("--memory-limit", "700"), "the model takes more memory than the limit of 700 MB"),
        (Greedy, ("--memory-limit", "700"), "(the memory limit is 700 MB)"),
    ],
)
def test_a_check_that_ends_the_process_fails_and_the_next_ones_run(
    tmp_path: Path, kind: type[ToyModel], options: tuple[str, ...], message: str
) -> None:
    path = export_toy(tmp_path / "model.pt", kind, reference_model="pair")
    command = [str(verify.program()), str(path), "--only", "GEO,SYM", "--json", "-", "--quiet"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout)
    assert done.returncode == 3
    failed = failures(report)
    assert any(message in text for text in failed.values()), failed
    assert "pass" in {c["status"] for c in report["checks"] if c["family"] == "SYM"}
