"""The programs that build images: found when they are needed, named when they are missing."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mtt.errors import UserError

# Program -> Debian package that has it.
_PACKAGES = {
    "apt-get": "apt",
    "buildah": "buildah",
    "dpkg-deb": "dpkg",
    "git": "git",
    "mmdebstrap": "mmdebstrap",
    "skopeo": "skopeo",
    "unshare": "util-linux",
}
_LAST_LINES = 15
_PLACES = ("PATH", "HOME", "TMPDIR")


def need(*programs: str) -> None:
    """Check that programs are there, before anything is done with them.

    :raises UserError: names all that are missing, and how to get them
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if "apptainer" in missing or "singularity" in missing:
        raise UserError(
            "Apptainer is not installed: it makes .sif files",
            hint="install it, for instance from your cluster's modules or Debian's package "
            "'apptainer', or leave --sif out",
        )
    if missing:
        packages = " ".join(_PACKAGES.get(program, program) for program in missing)
        raise UserError(
            f"not installed: {', '.join(missing)}",
            hint=f"on Debian or Ubuntu: apt-get install {packages}",
        )


def run(
    command: Sequence[str | Path],
    doing: str,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    :param doing: for the message if it fails: "building the image"
    :param environment: all that it gets of one, beside where programs and temporary files are; by
        default that of this program
    :raises UserError: it failed; with its last lines
    """
    words = [str(word) for word in command]
    if shutil.which("setpriv") is not None:
        # Not even if this program is killed may the other one continue: the next build takes its place.
        words = ["setpriv", "--pdeathsig", "KILL", "--", *words]
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=None if environment is None else _only(_PLACES) | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        process_group=0,
    )
    try:
        output, messages = process.communicate()
    except BaseException:
        # It has programs of its own, which must not keep building.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if process.returncode != 0:
        raise _failed(doing, str(command[0]), process.returncode, messages + output)
    return output


def _only(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _failed(doing: str, program: str, code: int, text: str) -> UserError:
    if "no space left on device" in text.lower():
        return UserError(
            f"no space left on the disk while {doing}",
            hint="free some space, or name another place in XDG_CACHE_HOME and MTT_IMAGES; "
            "no half image was kept",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return UserError(
        f"{doing} failed: {program} ended with exit code {code}",
        details=lines[-_LAST_LINES:],
    )
