"""Finds ``mtt-verify`` and runs it."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any


def find_program() -> Path:
    """``MTT_VERIFY``, or the program that is installed with the package."""
    if "MTT_VERIFY" in os.environ:
        return Path(os.environ["MTT_VERIFY"])
    from mtt.verify import run as verify

    return verify.program()


def run_verify(program: Path, path: Path, arguments: list[str]) -> dict[str, Any]:
    """The report of ``mtt-verify`` on ``path``, with its exit code added."""
    command = [str(program), str(path), "--json", "-", "--threads", "1", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except OSError as error:
        # Seen once in some hundred starts from two threads while a third one compiles.
        if error.errno != errno.EFAULT:
            raise
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise AssertionError(f"no report: {done.stdout[-500:]}\n{done.stderr[-2000:]}") from None
    return {**report, "exit code": done.returncode}
