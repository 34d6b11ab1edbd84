"""The program, run as users run it."""

import os
import subprocess
import sys
from pathlib import Path

from warm import warm

PROGRAM = "import sys; from mtt.__main__ import main; sys.exit(main())"


def run_mtt(
    folder: Path, *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``mtt ARGUMENTS`` in a folder, with more environment variables.

    With these it begins from nothing, as Python reads some of them only then.
    """
    words = [*map(str, arguments)]
    if not environment:
        done = warm().run(PROGRAM, words, cwd=folder)
        text = (done.stdout.decode(), done.stderr.decode())
        return subprocess.CompletedProcess(done.args, done.returncode, *text)
    return subprocess.run(
        [sys.executable, "-m", "mtt", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def mtt(folder: Path, *arguments: str | Path, **environment: str) -> str:
    """What it prints; it must succeed."""
    done = run_mtt(folder, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(folder: Path, *arguments: str | Path, code: int = 2) -> str:
    """What it prints as an error; it must end with this code."""
    done = run_mtt(folder, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr
