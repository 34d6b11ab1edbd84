"""What the user is told when a command ends in an exception that it did not mean to raise."""

import errno
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mtt.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, Terminated, UserError
from mtt.files import open_regular
from mtt.printable import printable_lines
from mtt.tokens import without_secrets
from mtt.version import __version__

_PACKAGES = ("torch", "metatensor-torch", "metatomic-torch", "vesin", "ase", "pydantic")
_TITLE = "mtt error log"
_MOST_LINES = 5000

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def interrupted(error: KeyboardInterrupt) -> tuple[str, int]:
    """The one line for Ctrl-C or SIGTERM, and the exit code."""
    terminated = isinstance(error, Terminated)
    # a stage may say how to resume
    text = str(error) or ("terminated" if terminated else "interrupted")
    return text, EXIT_TERMINATED if terminated else EXIT_INTERRUPTED


def operating_system(error: BaseException) -> UserError | None:
    """The user error for a full disk or a forbidden file that no stage foresaw, else None."""
    if not isinstance(error, OSError):
        return None
    where = str(error.filename) if error.filename is not None else None
    if error.errno in _FULL:
        hint = "free some space or write to another disk; no file was half-overwritten"
        return UserError("no space left on the disk", where, hint)
    if error.errno in _FORBIDDEN:
        hint = "check the permissions, or run in a folder that you can write to"
        return UserError(f"not allowed: {error.strerror}", where, hint)
    return None


def library(error: BaseException) -> UserError | None:
    """The user error for a full disk or memory that a library reports in its own words."""
    text = str(error)
    # safetensors is written in Rust, which names the number of the system's error
    if f"os error {errno.ENOSPC}" in text or "StorageFull" in text:
        hint = "free some space or write to another disk; no file was half-overwritten"
        return UserError("no space left on the disk", hint=hint)
    # torch raises its own OutOfMemoryError for devices and a plain RuntimeError for the host
    of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text
    if isinstance(error, MemoryError) or of_torch:
        hint = (
            "use a smaller architecture.training.batch_size (or max_atoms_per_batch), a smaller model "
            "or smaller systems"
        )
        return UserError("out of memory", hint=hint)
    return None


def bug(error: BaseException, arguments: Sequence[str]) -> tuple[str, int]:
    """Write the error log; the message that names it, and the exit code."""
    what = without_secrets(traceback.format_exception_only(error)[-1].strip(), arguments)
    text = f"error: mtt failed in a way that it should not: {what}"
    try:
        path = _write_log(without_secrets(_log_text(error, arguments), arguments))
    except OSError:
        details = without_secrets("".join(traceback.format_exception(error)), arguments)
        return f"{details}{text}\n  hint: please report this with the text above", EXIT_BUG
    return f"{text}\n  where: {path}\n  hint: please report this with that file", EXIT_BUG


def _log_text(error: BaseException, arguments: Sequence[str]) -> str:
    versions = {"mtt": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    lines = [
        _TITLE,
        f"command: mtt {shlex.join(arguments)}",
        f"folder: {Path.cwd()}",
        f"platform: {platform.platform()}",
        f"executable: {sys.executable}",
        *(f"{package}: {number}" for package, number in versions.items()),
        "",
    ]
    return "\n".join(lines) + "\n" + "".join(traceback.format_exception(error))


def _write_log(text: str) -> Path:
    """Write error.log, complete or not at all, in the current or the temporary folder."""
    try:
        return _write(Path(), text)
    except OSError:
        return _write(Path(tempfile.gettempdir()), text)


def _write(folder: Path, text: str) -> Path:
    number, path = 1, folder / "error.log"
    while path.exists() and not _is_ours(path):
        number, path = number + 1, folder / f"error-{number}.log"
    handle, name = tempfile.mkstemp(dir=folder, prefix=".error.log.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(printable_lines(text, most=_MOST_LINES))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _is_ours(path: Path) -> bool:
    """Whether a log may be replaced: a file of that name may be somebody else's."""
    try:
        with open_regular(path) as stream:
            return stream.readline(100).rstrip(b"\n") == _TITLE.encode()
    except OSError:
        return False
