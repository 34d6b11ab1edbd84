"""Processes that begin at once: forks of one that has imported torch and mtt.

Importing both takes seconds of each process, half the time of tests that start many. What kills such a
fork, and how it ends, is as of any process. What Python reads of the environment when it begins, as
PYTHONHASHSEED, is that of the first; so is the umask. Tests of how programs start, and those that
want other hashes in each, start Python.
"""

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import torch

from mtt.export import process

# What commands import when they begin to work.
MODULES = (
    "metatomic.torch",
    "mtt.__main__",
    "mtt.architectures.pet.model",
    "mtt.export.process",
    "mtt.export.provenance",
    "mtt.export.run",
    "mtt.export.torchscript",
    "mtt.lineage.statement",
    "mtt.training.run",
)
_LARGEST = 2**17  # bytes of a request


class Warm:
    """The process that is forked; it ends with this one."""

    def __init__(self, **environment: str) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**os.environ, **environment},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int = -1,
        stdout: int = -1,
        stderr: int = -1,
    ) -> "Process":
        """Begin ``python -c program arguments``, in a session of its own.

        :param stdin: and ``stdout``, ``stderr``: file descriptors; nothing is read or kept of those
            that are -1
        """
        with open(os.devnull, "r+b") as nothing:
            status, theirs = os.pipe()
            files = [nothing.fileno() if one < 0 else one for one in (stdin, stdout, stderr)]
            request = {
                "program": program,
                "arguments": list(arguments),
                "cwd": str((cwd or Path()).absolute()),
                "env": dict(os.environ if env is None else env),
            }
            socket.send_fds(self._channel, [json.dumps(request).encode()], [*files, theirs])
            os.close(theirs)
        return Process(os.fdopen(status))

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        given: bytes = b"",
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """As ``subprocess.run`` with ``capture_output``, of ``python -c program arguments``."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            files[0].write(given)
            files[0].seek(0)
            names = ("stdin", "stdout", "stderr")
            numbers = {name: file.fileno() for name, file in zip(names, files, strict=True)}
            process = self.start(program, arguments, cwd=cwd, env=env, **numbers)
            try:
                code = process.wait(timeout)
            except BaseException:
                _end_all_of(process.pid)
                process.wait()
                raise
            for file in files:
                file.seek(0)
            output, messages = files[1].read(), files[2].read()
        return subprocess.CompletedProcess([program, *arguments], code, output, messages)


@functools.cache
def warm() -> Warm:
    """The one of this process, for commands."""
    return Warm()


@functools.cache
def warm_for_exports() -> Warm:
    """The one of this process that is as those that mtt makes model files in."""
    return Warm(**process.FIXED)


class Process:
    """The part of ``subprocess.Popen`` that tests use."""

    stdout: TextIOWrapper | None = None

    def __init__(self, status: Any) -> None:
        self._status = status
        self.pid = int(status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("", timeout or 0)
            line = self._status.readline()
            self._status.close()
            if not line:
                raise RuntimeError("the process that was forked has ended")
            self.returncode = int(line)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # its end is about to be told
                os.kill(self.pid, number)


# ---- in the process that is forked, and in its forks ----


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. It returns what to run in a fork, and None at the end."""
    statuses: dict[int, int] = {}  # of each fork, where its end is told
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([channel, woken], [], [])
        if woken in ready:
            os.read(woken, 100)
            for pid in list(statuses):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    _tell(statuses.pop(pid), os.waitstatus_to_exitcode(status))
        if channel not in ready:
            continue
        text, files, _, _ = socket.recv_fds(channel, _LARGEST, 4)
        if not text:  # who asked for them has ended
            for pid in statuses:
                _end_all_of(pid)
            return None
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.write(files[3], f"{os.getpid()}\n".encode())
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (channel.fileno(), woken, wake, files[3], *statuses.values()):
                os.close(one)
            channel.detach()
            for number in range(3):
                os.dup2(files[number], number)
                os.close(files[number])
            request: dict[str, Any] = json.loads(text)
            return request
        for one in files[:3]:
            os.close(one)
        statuses[pid] = files[3]


def _end_all_of(pid: int) -> None:
    """Kill a fork, and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _tell(file: int, code: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it
        os.write(file, f"{code}\n".encode())
    os.close(file)


def _become(request: dict[str, Any]) -> str:
    """Make this fork the process that was asked for; return its program."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv, sys.path[0] = ["-c", *request["arguments"]], ""
    time.tzset()
    # What Python and torch read only once.
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if os.environ.get("PYTHONUNBUFFERED"):
        for stream in (sys.stdout, sys.stderr):
            assert isinstance(stream, TextIOWrapper)
            stream.reconfigure(write_through=True)
    return str(request["program"])


def _main() -> str | None:
    import gc
    import importlib

    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # what forks share stays where it is
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    return None if request is None else _become(request)


if __name__ == "__main__":
    _program = _main()
    if _program is not None:
        # As `python -c` does it, down to how the interpreter ends.
        exec(compile(_program, "<string>", "exec"), {"__name__": "__main__"})
