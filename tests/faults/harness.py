"""Finds ``mtt-verify``, runs it, and says which models it must accept."""

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_pet import checkpoint_of_pet, export_pet
from toy_models import MODELS, OtherUnits, export_toy
from toy_targets import export_several

Verdict = Callable[[str], dict[str, Any]]
SOUND: dict[str, dict[str, Any]] = {
    **{f"{m} {d}": {"model": m, "dtype": d} for m in MODELS for d in ("float32", "float64")},
    "embedded with farther pairs": {"model": "embedded", "module_options": {"strict": False}},
    "pair in other units": {"model": OtherUnits, "length_unit": "nm", "unit": "kJ/mol"},
    "embedded without golden pack": {"model": "embedded", "golden": False},
    **{f"several targets {d}": {"dtype": d} for d in ("float32", "float64")},
    "PET float32": {"precision": 32},
    "PET float64": {"precision": 64},
}


def export_sound(name: str, path: Path) -> None:
    """Write the model of that name in ``SOUND``."""
    if name.startswith("PET"):
        folder = path.with_suffix("")
        folder.mkdir()
        export_pet(checkpoint_of_pet(folder, **SOUND[name]), path)
    elif name.startswith("several"):
        export_several(path, **SOUND[name])
    else:
        export_toy(path, **SOUND[name])


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
