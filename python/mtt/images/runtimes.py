"""Programs that run images: their command lines, and the trial that tells which of them works here."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

# Of the user's environment, what decides how a command computes and how it looks.
_PASSED = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
    "TERM",
    "TZ",
)
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_TRIAL_SECONDS = 300
_LISTING_SECONDS = 30
_COLORS = re.compile("\x1b\\[[0-9;]*m")


@dataclass(frozen=True)
class Mounts:
    """What a command sees of this machine: nothing but these paths, under the names they have here."""

    folder: Path
    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    environment: dict[str, str] = field(default_factory=dict)
    empty: Path | None = None
    """What stands for the current folder if nothing in it is used: relative names need one."""
    instead: Mapping[Path, Path] = field(default_factory=dict)
    """What the command sees at a path in the place of what is there, to read."""

    def mounts(self) -> list[str]:
        """As ``--mount`` of all the programs takes them; a folder comes before what is in it."""
        mounts = {path: _mount(path, path, False) for path in self.readable}
        mounts |= {path: _mount(path, path, True) for path in self.writable}
        mounts |= {path: _mount(copy, path, False) for path, copy in self.instead.items()}
        here = {self.folder, *self.folder.parents}
        there = any(path in here or self.folder in path.parents for path in mounts)
        if self.empty is not None and not there:
            mounts[self.folder] = _mount(self.empty, self.folder, False)
        return [mounts[path] for path in sorted(mounts, key=lambda path: len(path.parts))]


@dataclass(frozen=True)
class Runnable:
    """An image in a form that one program runs; ``entrypoint`` is its program, where that is known."""

    program: str
    image: str
    digest: str | None
    entrypoint: tuple[str, ...] = ()

    def command(self, words: Sequence[str], mounts: Mounts) -> list[str]:
        """The command line that runs ``mtt words`` in the image."""
        if self.program not in ("apptainer", "singularity"):
            return podman(self.program, self.image, words, mounts)
        # By its name: the script that Apptainer makes for such an image evaluates the words once more.
        verb = "exec" if self.entrypoint else "run"
        return apptainer(self.program, verb, self.image, [*self.entrypoint, *words], mounts)


def has_gpu() -> bool:
    """Whether the driver of an NVIDIA GPU is loaded here."""
    return Path("/dev/nvidiactl").exists()


def apptainer(
    program: str, verb: str, image: str, words: Sequence[str], mounts: Mounts
) -> list[str]:
    """Apptainer's command line: of this machine's files, environment and network, only ``mounts``."""
    command = [program, "--quiet", verb, "--containall", "--net", "--network=none"]
    if has_gpu():
        command.append("--nv")
    command += [f"--pwd={mounts.folder}"]
    for mount in mounts.mounts():
        command += ["--mount", mount]
    for name, value in _environment(mounts).items():
        command += ["--env", f"{name}={value}"]
    return [*command, image, *words]


def podman(program: str, image: str, words: Sequence[str], mounts: Mounts) -> list[str]:
    """The command line of podman or docker; files that it writes belong to the user."""
    command = [program, "run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp"]
    command += ["--cap-drop=all", "--security-opt=no-new-privileges"]
    command += ["--security-opt=label=disable", f"--user={os.getuid()}:{os.getgid()}"]
    if program == "podman" and os.getuid() != 0:
        command.append("--userns=keep-id")
    command += [f"--workdir={mounts.folder}"]
    for mount in mounts.mounts():
        command += ["--mount", mount]
    for name, value in ({"HOME": "/tmp"} | _environment(mounts)).items():
        command += ["--env", f"{name}={value}"]
    return [*command, image, *words]


def try_out(runnable: Runnable, folder: Path) -> str | None:
    """None if the image runs here, else why not: a program can be installed and yet run nothing."""
    if shutil.which(runnable.program) is None:
        return "not installed"
    command = runnable.command(["--version"], Mounts(folder, writable=[folder]))
    try:
        done = _asked(command, _TRIAL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None if done.stdout.strip() else "it ran nothing: no version was printed"
    text = _COLORS.sub("", done.stderr)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}"


def _asked(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a program that only answers, within a time."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def stored(digest: str) -> list[Runnable]:
    """The image in the storage of podman or docker, which know it by its manifest digest."""
    names = []
    for program in ("podman", "docker"):
        if shutil.which(program) is None:
            continue
        form = "{{.Digest}} {{.ID}}"
        command = [program, "images", "--no-trunc", "--digests", f"--format={form}"]
        try:
            listing = _asked(command, _LISTING_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            continue
        for line in listing.stdout.splitlines():
            of, _, name = line.partition(" ")
            if of == digest:
                names.append(Runnable(program, name, digest))
                break
    return names


def run(command: Sequence[str]) -> int:
    """Run a command to its end and return its exit code; signals to stop reach it, once each."""
    # In a group of its own: Ctrl-C would reach it from the terminal too, and the second one is
    # taken as impatience.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
    for forwarded in _FORWARDED:
        before[forwarded] = signal.signal(forwarded, forward)
    try:
        code = process.wait()
    finally:
        for forwarded, handler in before.items():
            signal.signal(forwarded, handler)
    return code if code >= 0 else 128 - code


def _environment(mounts: Mounts) -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED if name in os.environ} | mounts.environment


def _mount(source: Path, target: Path, writable: bool) -> str:
    """One line of comma-separated values: names may hold commas, and quotes."""
    text = io.StringIO()
    fields = ["type=bind", f"source={source}", f"destination={target}"]
    csv.writer(text, lineterminator="").writerow(fields if writable else [*fields, "ro"])
    return text.getvalue()
