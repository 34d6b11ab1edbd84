"""Which exit code and which message every kind of failure ends in."""

import errno
import platform
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtt import __version__
from mtt.__main__ import main
from mtt.errors import MttError, Terminated, UserError, VerificationFailed

Fail = Callable[[BaseException], tuple[int, str]]


@pytest.fixture
def fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fail:
    """Runs `mtt verify` with a stage that raises; gives the exit code and what was shown."""
    import mtt.verify

    (tmp_path / "model.pt").touch()
    monkeypatch.chdir(tmp_path)

    def fail(error: BaseException) -> tuple[int, str]:
        def run(*_: object, **__: object) -> None:
            raise error

        module = SimpleNamespace(run=run)
        monkeypatch.setitem(sys.modules, "mtt.verify.run", module)
        monkeypatch.setattr(mtt.verify, "run", module, raising=False)
        code = main(["verify", "model.pt", "--only", "LOAD"])
        captured = capsys.readouterr()
        assert captured.out == ""
        return code, captured.err

    return fail


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("no energy"), 2, "error: no energy\n"),
        (
            UserError("no energy", where="a.xyz", hint="add one"),
            2,
            "error: no energy\n  where: a.xyz\n  hint: add one\n",
        ),
        (VerificationFailed("PARITY failed"), 3, "error: PARITY failed\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            KeyboardInterrupt("interrupted; continue with -c auto"),
            130,
            "interrupted; continue with -c auto\n",
        ),
        (Terminated(), 143, "terminated\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "outputs/metrics.csv"),
            2,
            (
                "error: no space left on the disk\n"
                "  where: outputs/metrics.csv\n"
                "  hint: free some space or write to another disk; no file was half-overwritten\n"
            ),
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "a.csv"),
            2,
            (
                "error: not allowed: Permission denied\n"
                "  where: a.csv\n"
                "  hint: check the permissions, or run in a folder that you can write to\n"
            ),
        ),
        (
            OSError(errno.EROFS, "Read-only file system"),
            2,
            (
                "error: not allowed: Read-only file system\n"
                "  hint: check the permissions, or run in a folder that you can write to\n"
            ),
        ),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            2,
            (
                "error: no space left on the disk\n"
                "  hint: free some space or write to another disk; no file was half-overwritten\n"
            ),
        ),
        (
            MemoryError(),
            2,
            (
                "error: out of memory\n"
                "  hint: use a smaller architecture.training.batch_size (or max_atoms_per_batch), a "
                "smaller model or smaller systems\n"
            ),
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
            2,
            (
                "error: out of memory\n"
                "  hint: use a smaller architecture.training.batch_size (or max_atoms_per_batch), a "
                "smaller model or smaller systems\n"
            ),
        ),
    ],
)
def test_expected_failures(fail: Fail, error: BaseException, code: int, text: str) -> None:
    assert fail(error) == (code, text)
    assert not Path("error.log").exists()


def test_a_bug_leaves_a_log(fail: Fail, tmp_path: Path) -> None:
    assert fail(ValueError("two\nlines")) == (
        1,
        (
            "error: mtt failed in a way that it should not: ValueError: two\nlines\n"
            "  where: error.log\n"
            "  hint: please report this with that file\n"
        ),
    )
    log = Path("error.log").read_text(encoding="utf-8")
    assert log.startswith(
        "mtt error log\n"
        "command: mtt verify model.pt --only LOAD\n"
        f"folder: {tmp_path.resolve()}\n"
        f"platform: {platform.platform()}\n"
        f"executable: {sys.executable}\n"
        f"mtt: {__version__}\n"
        f"python: {platform.python_version()}\n"
        f"torch: {version('torch')}\n"
        f"metatensor-torch: {version('metatensor-torch')}\n"
        f"metatomic-torch: {version('metatomic-torch')}\n"
    )
    assert log.endswith("ValueError: two\nlines\n")
    assert "Traceback (most recent call last):" in log
    assert sorted(path.name for path in tmp_path.iterdir()) == ["error.log", "model.pt"]


def test_an_error_of_ours_without_a_class_of_its_own_is_one_line(fail: Fail) -> None:
    assert fail(MttError("odd")) == (1, "error: odd\n")


def test_another_log_of_that_name_is_kept(fail: Fail) -> None:
    Path("error.log").write_text("from another program\n")
    for _ in range(2):  # our own is replaced
        assert "  where: error-1.log\n" in fail(ValueError("x"))[1]
    assert Path("error.log").read_text() == "from another program\n"
    assert not Path("error-2.log").exists()


def test_a_log_where_the_folder_cannot_be_written(
    fail: Fail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "tmp"
    other.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    make = tempfile.mkstemp

    def refuse_here(*given: object, dir: Path, **named: object) -> tuple[int, str]:
        if dir == Path():
            raise OSError(errno.EROFS, "Read-only file system")
        return make(*given, dir=dir, **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(tempfile, "mkstemp", refuse_here)
    assert f"  where: {other / 'error.log'}\n" in fail(ValueError("x"))[1]
    assert (other / "error.log").read_text().endswith("ValueError: x\n")


def test_a_bug_that_can_be_logged_nowhere_is_shown(
    fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    code, text = fail(ValueError("x"))
    assert code == 1
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith(
        "error: mtt failed in a way that it should not: ValueError: x\n"
        "  hint: please report this with the text above\n"
    )


def test_warnings_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import mtt.verify

    def run(*_: object, **__: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("not verified", stacklevel=1)

    module = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "mtt.verify.run", module)
    monkeypatch.setattr(mtt.verify, "run", module, raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # restored at the end
    (tmp_path / "model.pt").touch()
    assert main(["verify", str(tmp_path / "model.pt")]) == 0
    assert capsys.readouterr().err == "warning: not verified\n"


_WAIT = """
import sys, time, types
import mtt.verify
from mtt.__main__ import main
def run(*_, **__):
    print("ready", flush=True)
    time.sleep(60)
module = types.SimpleNamespace(run=run)
sys.modules["mtt.verify.run"] = mtt.verify.run = module
sys.exit(main(["verify", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("sent", "code", "text"),
    [
        (signal.SIGINT, 130, "interrupted\n"),
        (signal.SIGTERM, 143, "terminated\n"),
        (signal.SIGUSR1, 143, "terminated\n"),
    ],
)
def test_signals(tmp_path: Path, sent: signal.Signals, code: int, text: str) -> None:
    (tmp_path / "model.pt").touch()
    command = [sys.executable, "-c", _WAIT, str(tmp_path / "model.pt")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        _, shown = process.communicate(timeout=20)
    assert (process.returncode, shown) == (code, text)
    assert not (tmp_path / "error.log").exists()


_LATE = """
import atexit, os, signal, sys
from mtt.__main__ import main
for one in (signal.SIGTERM, signal.SIGUSR1):
    atexit.register(os.kill, os.getpid(), one)
sys.argv = ["mtt"]
sys.exit(main())
"""


def test_a_signal_after_the_end_changes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", _LATE], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_handlers_of_another_program_are_put_back() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(SystemExit):
        main(["--version"])
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1)] == before
