"""A file is there whole or not at all, and what was there before stays until then."""

import ast
import contextlib
import errno
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtt import files
from mtt.errors import UserError
from mtt.files import (
    check_regular,
    check_writable,
    open_regular,
    read_regular,
    reading,
    replacing,
    sha256_of,
    unwritable,
    write_atomic,
)


def test_replaced_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(28, "full")])
def test_nothing_is_lost_when_writing_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert str(unwritable(path, OSError(errno.ENOSPC, "No space left on device"))) == (
        f"the disk is full\n  where: {path}\n"
        "  hint: free some space; nothing that was there has been overwritten"
    )
    assert str(unwritable(path, OSError(errno.EROFS, "Read-only file system"))) == (
        f"the file cannot be written: Read-only file system\n  where: {path}"
    )
    with pytest.raises(UserError, match="the output is a folder; a file name is needed"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        check_writable(tmp_path / "no" / "a.txt")
    check_writable(path)
    assert not path.exists()


def test_errors_of_reading(tmp_path: Path) -> None:
    def message(path: Path, *names: str) -> str:
        with pytest.raises(UserError) as caught, reading(path, *names):
            check_regular(path)
            path.read_bytes()
        return str(caught.value)

    missing = tmp_path / "missing"
    assert message(missing) == f"there is no such file\n  where: {missing}"
    assert message(missing, "key", "hf://a/b/c") == "there is no such key\n  where: hf://a/b/c"
    assert message(tmp_path) == f"this is not a regular file: it is a folder\n  where: {tmp_path}"
    match = r"\Athe key cannot be read: Is a directory\n"
    with pytest.raises(UserError, match=match), reading(tmp_path, "key"):
        tmp_path.read_bytes()


# ---- what is no regular file ----


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Everything that can stand in the place of a file."""
    paths = {name: tmp_path / name for name in ("pipe", "socket", "folder", "loop")}
    os.mkfifo(paths["pipe"])
    paths["folder"].mkdir()
    paths["loop"].symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
        server.bind("socket")
        known = {"device": "/dev/zero", "memory": "/proc/self/mem", "log": "/proc/self/environ"}
        yield paths | {name: Path(path) for name, path in known.items()} | {"nul": Path("a\0b")}


KINDS = ["pipe", "socket", "folder", "loop", "device", "memory", "log", "nul"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_opened(odd: dict[str, Path], kind: str) -> None:
    for read in (open_regular, sha256_of, lambda path: read_regular(path, 10)):
        with pytest.raises(UserError, match="cannot be read"), reading(odd[kind]):
            read(odd[kind])
    if kind not in ("loop", "nul"):
        with pytest.raises(UserError, match="not a regular file"):
            check_regular(odd[kind])


def test_the_content_of_a_file_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular(path, 4)


@pytest.mark.parametrize("kind", ["socket", "folder", "loop", "memory", "nul"])
def test_nothing_takes_the_place_of_what_is_no_file(odd: dict[str, Path], kind: str) -> None:
    before = os.lstat(odd[kind]) if kind != "nul" else None
    for write in (check_writable, lambda path: write_atomic(path, b"new")):
        with pytest.raises(UserError):
            write(odd[kind])
    if before is not None:
        after = os.lstat(odd[kind])
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_a_pipe_is_written_to(odd: dict[str, Path]) -> None:
    pipe = odd["pipe"]
    with pytest.raises(UserError, match="nobody reads this pipe"):
        write_atomic(pipe, b"new")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    check_writable(pipe)  # which must not look like the only writer
    for _ in range(100):
        try:
            write_atomic(pipe, b"new" * 100_000)
            break
        except UserError:
            time.sleep(0.02)  # the reader has not begun yet
    reader.join(5)
    assert received == [b"new" * 100_000]
    assert pipe.is_fifo()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    null = tmp_path / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"no devices can be made here: {error}")
    check_writable(null)
    write_atomic(null, b"new")
    assert null.is_char_device()
    assert list(tmp_path.iterdir()) == [null]


def test_a_full_device_is_a_full_disk() -> None:
    with pytest.raises(UserError, match="the disk is full"):
        write_atomic(Path("/dev/full"), b"new")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("redirected", [True, False])
def test_standard_output_by_its_names(tmp_path: Path, name: str, redirected: bool) -> None:
    """A file that the shell has opened must neither be replaced nor begun anew."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = (
        "from pathlib import Path; from mtt.files import write_atomic; print('before')\n"
        f"write_atomic(Path({name!r}), b'content\\n'); print('after')"
    )
    with (tmp_path / "output").open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            stdout=output if redirected else subprocess.PIPE,
            check=True,
        )
    text = (tmp_path / "output").read_bytes() if redirected else done.stdout
    assert text == b"before\ncontent\nafter\n"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_leads_to_the_new_file(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to("second")
    (tmp_path / "second").symlink_to("elsewhere/a.txt")
    if there:
        (folder / "a.txt").write_text("old")
    check_writable(link)
    write_atomic(link, b"new")
    assert link.is_symlink() and (tmp_path / "second").is_symlink()
    assert (folder / "a.txt").read_bytes() == b"new"
    assert not (folder / "a.txt").is_symlink()
    assert [path.name for path in folder.iterdir()] == ["a.txt"]


# ---- one place ----

PACKAGE = Path(files.__file__).parent
# Where a file is opened that is no user's: of this program, of the kernel, or that was just made.
OWN_READS = {
    "data/file_limits.py",
    "images/build.py",
    "images/packages.py",
    "images/root_filesystems.py",
    "images/trusted.py",
    "inspect/describe_checkpoint.py",
    "lineage/keys.py",
    "lineage/sign.py",
    "report/progress.py",
    "tokens.py",
    "training/runs/lock.py",
    "training/runs/signals.py",
    "verify/program.py",
    "verify/program_catalogue.py",
    "verify/reference.py",
}


def test_files_are_opened_in_one_place() -> None:
    """Whoever opens a file in another way meets pipes, devices and links alone."""
    opens = re.compile(r"(^|\.)(open|read_text|read_bytes)$")
    # Streams, archives and programs, which are no paths.
    others = re.compile(
        r"^(os\.fdopen|archive\.open|bounded_zip\.opened|webbrowser\.open|self\._open)$"
    )
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if file == "files.py" or file in OWN_READS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not opens.search(ast.unparse(node.func)):
                continue
            called, arguments = ast.unparse(node.func), [ast.unparse(a) for a in node.args]
            # An archive in what has been opened, or a function of ours with the name of a method.
            if arguments in ([], ["raw"]) or called == "read_text":
                continue
            if arguments[0] == "os.devnull" or "os.O_NOFOLLOW" in " ".join(arguments):
                continue
            writes = bool(arguments) and arguments[-1][:2] in ("'w", "'a", "'x")
            if not writes and not others.match(called):
                wrong.append(f"{file}:{node.lineno}: {called}({', '.join(arguments)})")
    assert wrong == [], "use mtt.files.open_regular, or read_regular"


def test_outputs_are_written_in_one_place() -> None:
    """Nothing but temporary files and files of this program is written by its path."""
    writes = re.compile(r"\.(write_text|write_bytes|open|rename|replace)$")
    allowed = re.compile(
        r"^(temporary|context|record|listed|index|definition|self|partial|folder|again|target)\b"
    )
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if file == "files.py" or file.startswith("images/") or path.name == "reference.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not writes.search(ast.unparse(node.func)):
                continue
            called, arguments = ast.unparse(node.func), [ast.unparse(a) for a in node.args]
            if called.endswith(".open") and not (arguments and arguments[0][:2] in ("'w", "'x")):
                continue
            if called.endswith((".replace", ".rename")):
                continue  # of texts, for the most part
            if not allowed.match(called):
                wrong.append(f"{file}:{node.lineno}: {called}({', '.join(arguments)[:40]})")
    assert wrong == [], "use mtt.files.replacing, or write_atomic"
