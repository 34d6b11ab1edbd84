"""Model file in, verdict of ``mtt-verify`` out.

The C++ program runs as its own process with nothing of this one: libraries that Python has already
loaded would hide that a model file needs one it does not bring.
"""

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError, VerificationFailed

Report = dict[str, Any]

PROGRAM = "MTT_VERIFY"
_PROGRESS = "progress: "
_FAMILIES = ("LOAD", "SCHEMA", "PARITY", "NTH", "FD", "DD", "GEO", "SYM")
# Patch releases of torch keep their interface; those of metatensor and metatomic add to it.
_CLASHES = {"torch": 2, "metatensor-torch": 2, "metatomic-torch": 2}


def run(
    path: Path,
    only: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    json_path: Path | None = None,
    extensions: Path | None = None,
    display: str | None = None,
) -> Report:
    """Verify a model file, print the report as a table, and return it.

    :param json_path: write the report there as JSON as well; ``-`` prints it instead of the table
    :param display: name to show instead of ``path``, which may be a temporary file
    :raises UserError: the program cannot run, a family does not exist, or the file is a checkpoint
    :raises VerificationFailed: a check failed; the message names all that did
    """
    from ..report import verification as text

    _refuse_checkpoint(path)
    with text.Progress() as progress:
        report = verify(path, only, skip, extensions, progress.show)
    shown = display or str(path)
    if json_path == Path("-"):
        with contextlib.suppress(BrokenPipeError):  # the verdict counts, read or not
            print(json.dumps(report, indent=2))
    else:
        text.print_report(report, shown)
        if json_path is not None:
            from ..files import write_atomic

            write_atomic(json_path, (json.dumps(report, indent=2) + "\n").encode())
    if report["verdict"] != "pass":
        raise VerificationFailed(text.failure(report, shown))
    return report


def verify(
    path: Path,
    only: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    extensions: Path | None = None,
    on_check: Callable[[str], None] | None = None,
) -> Report:
    """The report of ``mtt-verify``; its layout is in docs/pipeline/verify.md.

    A program that dies, because the model crashed it, is a report with one failed check.

    :param on_check: called with ``FAMILY/name`` when a check starts
    :raises UserError: the program cannot run, or a family does not exist
    """
    for family in [*(only or []), *(skip or [])]:
        if family not in _FAMILIES:
            raise UserError(
                f"there is no family of checks called '{family}'",
                hint=f"choose among {', '.join(_FAMILIES)}",
            )
    # One thread, as an MPI rank has: check systems are small, and the sums repeat to the bit.
    command = [str(program()), str(path), "--json", "-", "--quiet", "--progress", "--threads", "1"]
    for flag, families in (("--only", only), ("--skip", skip)):
        if families:
            command += [flag, ",".join(families)]
    if extensions is not None:
        command += ["--extensions", str(extensions)]
    result = _spawn(command, on_check)
    if result.code in (0, 3):
        try:
            report: Report = json.loads(result.output)
            return report
        except ValueError:
            return _crashed(path, result)
    if result.code == 2:
        raise UserError(
            f"mtt-verify could not start: {result.reason}",
            where=str(path),
            hint="run 'mtt-verify --help' for its arguments",
        )
    if result.code == 127 and "shared libraries" in result.reason:
        raise UserError(f"mtt-verify could not start: {result.reason}", hint=_rebuild_hint())
    return _crashed(path, result)


def program() -> Path:
    """Where ``mtt-verify`` is, once it is known to fit the installed libraries.

    :raises UserError: it was not built, or it was built against other versions
    """
    if os.environ.get(PROGRAM):
        named = Path(os.environ[PROGRAM])
        if not (named.is_file() and os.access(named, os.X_OK)):
            raise UserError(
                f"the environment variable {PROGRAM} does not name a program",
                where=str(named),
                hint="unset it to use the mtt-verify that is installed",
            )
        return named
    root = _installed_files()
    found = root / "bin" / "mtt-verify"
    if not found.is_file():
        raise UserError(
            "mtt-verify is not installed: this copy of mtt was not built",
            where=str(found),
            hint="run 'pip install .' in the source folder, or name a program in MTT_VERIFY",
        )
    check_versions(json.loads((root / "_build_info.json").read_text()))
    return found


def check_versions(built: dict[str, str]) -> None:
    """Compare what the compiled parts were built against with what is installed, without importing.

    :param built: version by package name
    :raises UserError: naming each clash, both versions, and how to rebuild
    """
    clashes = []
    for package, digits in _CLASHES.items():
        try:
            installed = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            clashes.append(f"{package} {built[package]} is not installed any more")
            continue
        if _leading(installed, digits) != _leading(built[package], digits):
            clashes.append(f"{package} {built[package]}, but {installed} is installed")
    if clashes:
        raise UserError(
            "the compiled parts of mtt were built against " + "; ".join(clashes),
            hint=_rebuild_hint(),
        )


def _refuse_checkpoint(path: Path) -> None:
    """A checkpoint in the place of a model is a slip, not a finding about a model."""
    if not path.is_file():
        return  # the program says so
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and not start.startswith(b"PK"):
        raise UserError(
            "this is a checkpoint, not an exported model",
            where=str(path),
            hint=f"export it first: mtt export {path}",
        )


def execute() -> None:
    """The ``mtt-verify`` command: become the program."""
    try:
        found = str(program())
    except UserError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.exit_code)
    os.execv(found, [found, *sys.argv[1:]])


def _installed_files() -> Path:
    """The folder that holds the compiled parts; editable installs keep them in site-packages."""
    here = Path(__file__).parents[1]
    if (here / "bin" / "mtt-verify").is_file():
        return here
    try:
        for file in importlib.metadata.files("mtt") or []:
            if file.name == "mtt-verify" and file.parent.name == "bin" and file.parts[0] == "mtt":
                return Path(str(file.locate())).parents[1]
    except importlib.metadata.PackageNotFoundError:
        pass
    return here


def _leading(version: str, digits: int) -> list[str]:
    return version.split("+")[0].split(".")[:digits]


def _rebuild_hint() -> str:
    return (
        "install the versions named first, or build again: "
        "pip install --no-build-isolation --no-deps --force-reinstall . in the source folder"
    )


def _environment() -> dict[str, str]:
    # A search path set for something else must not decide which libtorch is tested.
    return {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}


@dataclass(frozen=True)
class _Ended:
    """A process that has ended: what it wrote, and the last check that it had begun."""

    code: int
    output: str
    messages: list[str]
    last_check: str

    @property
    def reason(self) -> str:
        """The first of its messages, which is the one about the cause."""
        return self.messages[0].removeprefix("mtt-verify: ") if self.messages else ""


def _spawn(command: list[str], on_check: Callable[[str], None] | None) -> _Ended:
    last_check, messages = "", []
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=_environment(),
            text=True,
            errors="replace",
        ) as process,
    ):
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith(_PROGRESS):
                    last_check = line.removeprefix(_PROGRESS).strip()
                    if on_check is not None:
                        on_check(last_check)
                elif line.strip():
                    messages.append(line.strip())
        except BaseException:
            process.kill()  # Ctrl-C and SIGTERM must not leave the program running
            raise
        process.wait()
        output.seek(0)
        return _Ended(process.returncode, output.read(), messages, last_check)


def _crashed(path: Path, result: _Ended) -> Report:
    code = result.code
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        what = f"the process died of {name} while it ran the model, as an MD engine would"
    else:
        what = f"the program ended with exit code {code} and no report"
    family, _, check_name = result.last_check.partition("/")
    check: dict[str, Any] = {
        "family": family or "LOAD",
        "name": check_name or "start",
        "status": "fail",
        "measured": None,
        "tolerance": None,
        "unit": "",
        "margin": None,
        "message": f"{what}: {result.reason}" if result.reason else what,
        "systems": [],
        "seconds": 0.0,
    }
    return {
        "schema": 1,
        "program": {"name": "mtt-verify"},
        "file": {"path": str(path)},
        "model": None,
        "golden_pack": False,
        "checks": [check],
        "verdict": "fail",
        "seconds": 0.0,
    }
