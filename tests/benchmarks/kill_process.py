"""One life of ``mtt train``: a process, what it says and when, and how it is struck down."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kill_folder import temporaries

# What the program says once it trains, and once all epochs are done.
TRAINS = ("results go to", "results go on in")
ENDS = ("training is done", "training is finished")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
LIMIT = 300.0  # seconds that no life takes, with another program on the same core


class Hang(Exception):
    """A process did not end in a time that is ample."""


def started(
    command: Sequence[str], folder: Path, environment: dict[str, str]
) -> subprocess.Popen[str]:
    """Start a program in a session of its own, with all that it says in one stream."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


class Life:
    """``mtt train`` running in ``folder``, with a session of its own so that nothing outlives it."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        start: Callable[[Sequence[str], Path, dict[str, str]], Any] = started,
    ) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.trains: float | None = None
        self.ends: float | None = None
        self._stale = set(temporaries(folder))
        self.begun = time.time()
        self._process = start(command, folder, environment)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.said.append(line.rstrip())
                said = _STAMP.sub("", line)
                if said.startswith(TRAINS):
                    self.trains = time.time()
                elif said.startswith(ENDS):
                    self.ends = time.time()

    @property
    def stage(self) -> str:
        if self.ends is not None:
            return "final stage"
        return "before training" if self.trains is None else "training"

    def writes(self) -> list[Path]:
        """Checkpoints and models that this life has begun to write, and has not ended."""
        if self.stage == "before training":
            return []  # it only tries whether it could
        found = set(temporaries(self.folder)) - self._stale
        return [one for one in found if one.suffix in (".ckpt", ".pt")]

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, due: Callable[[], bool]) -> bool:
        """Whether ``due`` came true while the process lived."""
        while self.alive():
            if due():
                return True
            if time.time() - self.begun > LIMIT:
                self.bury()
                raise Hang(f"no end after {LIMIT:.0f} s:\n" + "\n".join(self.said[-20:]))
            time.sleep(0.0005)
        return False

    def wait(self, seconds: float) -> bool:
        due = time.time() + seconds
        return self.wait_until(lambda: time.time() >= due)

    def strike(self, number: signal.Signals) -> int:
        """Send a signal, to the process alone, and return how it ended."""
        self._process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Wait for the end, and return the exit code, negative for a signal."""
        try:
            code = self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise Hang(f"no end after {LIMIT:.0f} s:\n" + "\n".join(self.said[-20:])) from None
        finally:
            self.bury()
        return code

    def bury(self) -> None:
        """End what is left of the session: the verifier may still run."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(10)


def environment(bytecode: Path) -> dict[str, str]:
    """One thread, lines as they are printed, and quick imports also where bytecode is not kept."""
    changed = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    found = {**os.environ, **changed}
    if found.pop("PYTHONDONTWRITEBYTECODE", None):
        found["PYTHONPYCACHEPREFIX"] = str(bytecode)
    return found


def train_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mtt", "train", "options.yaml", *arguments]


Aim = Callable[[Life], bool]


def at_instant(seconds: float) -> Aim:
    """So long after the process began."""
    return lambda life: life.wait_until(lambda: time.time() - life.begun >= seconds)


def at_write(count: int, delay: float, name: str = "") -> Aim:
    """When the ``count``-th checkpoint or model begins to be written, or just after.

    :param name: count only files with this in their names
    """

    def aim(life: Life) -> bool:
        seen: set[Path] = set()

        def begun() -> bool:
            seen.update(one for one in life.writes() if name in one.name)
            return len(seen) >= count

        return life.wait_until(begun) and life.wait(delay)

    return aim


def at_end(delay: float) -> Aim:
    """So long after the last epoch."""
    return lambda life: life.wait_until(lambda: life.ends is not None) and life.wait(delay)
