"""Builds extensions that do what no model should, and runs the verifier on a sound model that declares one."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from toy_models import export_toy

from mtt.verify import run as verify

SOURCE = Path(__file__).parent / "hostile.c"
USER = 4242  # somebody who owns nothing but what a test gives away
ROOT = os.geteuid() == 0


class Attempt(NamedTuple):
    """A line of ``attempts.h``."""

    name: str
    kind: str
    works_without_sandbox: bool


def all_attempts() -> list[Attempt]:
    """Return the attempts in the order in which the extension makes them."""
    text = SOURCE.with_name("attempts.h").read_text()
    found = re.findall(r"^ATTEMPT\((\w+), (\w),", text, re.MULTILINE)
    return [Attempt(name, kind.lower(), kind.islower()) for name, kind in found]


def export_hostile(path: Path) -> Path:
    """Write a sound model that declares the extension."""
    declared = json.dumps([{"name": "hostile", "path": "libhostile.so"}])
    return export_toy(path, records={"extensions": declared})


def build(deed: str, folder: Path, **constants: int | str | Path) -> Path:
    """Return the folder with the extension, compiled for that deed."""
    extensions = folder / "extensions"
    extensions.mkdir(exist_ok=True)
    defined = {
        **{"TARGET": folder / "precious.txt", "FOLDER": folder, "MODEL": folder / "model.pt"},
        **{"EXTENSIONS": extensions, "VICTIM": 0, "SHARED": 0, "SEMAPHORE": 0, "MESSAGES": 0},
        **constants,
    }
    flags = [f"-D{k}={v if isinstance(v, int) else json.dumps(str(v))}" for k, v in defined.items()]
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", f"-DDEED={deed}", *flags, str(SOURCE)]
        + ["-o", str(extensions / "libhostile.so"), "-lm", "-lpthread"],
        check=True,
    )
    return extensions


def arguments(model: Path, extensions: Path, *options: str) -> list[str]:
    """Return the command that verifies the model with the extension."""
    chosen = options if "--only" in options else ("--only", "LOAD,GEO", *options)
    return [
        *(str(verify.program()), str(model), "--extensions", str(extensions)),
        *("--json", "-", "--quiet", "--threads", "1", *chosen),
    ]


def as_user(command: list[str]) -> list[str]:
    """Return the command as it runs for an ordinary user, whoever runs the tests."""
    identity = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    return ["setpriv", *identity, *command] if ROOT else command


def user_can_run() -> bool:
    """Whether an ordinary user may start the program where it is installed."""
    if ROOT and shutil.which("setpriv") is None:
        return False
    command = as_user([str(verify.program()), "--version"])
    return subprocess.run(command, capture_output=True).returncode == 0


class Shared(NamedTuple):
    """What other programs of the same user share: identifiers of System V."""

    memory: int
    semaphore: int
    messages: int


@contextmanager
def shared_with_others(owner: int) -> Iterator[Shared]:
    """Make shared memory, a semaphore and a message queue that belong to ``owner``."""
    library = ctypes.CDLL(None, use_errno=True)
    private, create = 0, 0o1600
    with identity(owner):
        made = Shared(
            library.shmget(private, 4096, create),
            library.semget(private, 1, create),
            library.msgget(private, create),
        )
    assert min(made) >= 0
    try:
        yield made
    finally:
        remove = 0
        library.shmctl(made.memory, remove, None)
        library.semctl(made.semaphore, 0, remove)
        library.msgctl(made.messages, remove, None)


@contextmanager
def identity(owner: int) -> Iterator[None]:
    """Act as this user for a while."""
    if owner == os.geteuid():
        yield
        return
    os.seteuid(owner)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def open_folder(owner: int) -> Iterator[Path]:
    """Make a folder that every user may enter, unlike those of pytest, and that belongs to ``owner``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if ROOT:
            os.chown(folder, owner, owner)
        yield folder


def give_away(folder: Path, owner: int) -> None:
    """Make the folder and all in it belong to ``owner``."""
    if ROOT:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, owner, owner, follow_symlinks=False)


def letters_of(report: dict[str, Any]) -> str:
    """Return what came of the attempts: r for refused, A for allowed, in their order."""
    [message] = [c["message"] for c in report["checks"] if c["name"] == "model"]
    letters = re.search(r"last words: attempts ([rA]+)$", message)
    assert letters is not None, message
    return letters[1]


def failures(report: dict[str, Any]) -> dict[str, str]:
    """Return the messages of the checks that failed, by their names."""
    return {
        f"{c['family']}/{c['name']}": c["message"]
        for c in report["checks"]
        if c["status"] == "fail"
    }
