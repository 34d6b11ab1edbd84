"""The program ``mtt-verify``: where it is, whether it fits, and how a run of it ended."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtt.compiled import PROGRAM, check_installed, installed_file
from mtt.errors import UserError
from mtt.tokens import VARIABLES as TOKEN_VARIABLES
from mtt.verify.program_catalogue import catalogue
from mtt.verify.report import Report

_CALLER = "MTT_VERIFY_CALLER"
_PROGRESS = "progress: "
_WARNING = "mtt-verify: warning: "
_MOST_MESSAGES = 100
# What every engine can expect of a model that ends the verifier.
_BRIEF = "the verifier itself ended"


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
    binary = installed_file("bin", "mtt-verify")
    if not binary.is_file():
        raise UserError(
            "mtt-verify is not installed: this copy of mtt was not built",
            where=str(binary),
            hint="run 'pip install .' in the source folder, or name a program in MTT_VERIFY",
        )
    check_installed()
    return binary


@dataclass(frozen=True)
class Ended:
    """A process that has ended: what it wrote, and the last check that it had begun."""

    code: int
    output: str
    messages: list[str]
    last_check: str

    @property
    def reason(self) -> str:
        """The first of its messages, which is the one about the cause."""
        return self.messages[0].removeprefix("mtt-verify: ") if self.messages else ""


def spawn(command: list[str], on_check: Callable[[str], None] | None) -> Ended:
    """Run the program to its end; ``on_check`` is told each check that starts."""
    last_check = ""
    messages: list[str] = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment(),
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
                elif line.startswith(_WARNING):
                    # At once: what protects from the model is to be known before it runs.
                    print(f"warning: {line.removeprefix(_WARNING).strip()}", file=sys.stderr)
                elif line.strip() and len(messages) < _MOST_MESSAGES:
                    messages.append(line.strip())
        except BaseException:
            process.kill()  # Ctrl-C and SIGTERM must not leave the program running
            raise
        process.wait()
        output.seek(0)
        return Ended(process.returncode, output.read(), messages, last_check)


def crashed(path: Path, result: Ended, engines: Sequence[str] = ()) -> Report:
    """A report with one failed check, in the place of the one that the program did not write.

    :param engines: what the exit code judges, as ``--for`` takes it
    """
    code = result.code
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        what = f"the process died of {name} while it ran the model, as an MD engine would"
    else:
        what = f"the program ended with exit code {code} and no report"
    message = f"{what}: {result.reason}" if result.reason else what
    family, _, check_name = result.last_check.partition("/")
    uses, judged = catalogue().uses, catalogue().judged(engines)
    everybody = [use["id"] for use in uses]
    check: dict[str, Any] = {
        "family": family or "LOAD",
        "name": check_name or "start",
        "status": "fail",
        "message": message,
        "severity": "stops",
        "matters": everybody,
    }
    finding = {
        "cause": message,
        "brief": _BRIEF,
        "severity": "stops",
        "target": "",
        "uses": everybody,
        "unless": "",
        "systems": [],
        "checks": [f"{check['family']}/{check['name']}"],
        "entries": [0],
        "waived": False,
        "reason": "",
    }
    verdicts = [
        {
            "use": use["id"],
            "engine": use["engine"],
            "title": use["title"],
            "answer": "no",
            "reason": _BRIEF,
            "judged": use["id"] in judged,
            "findings": [0],
        }
        for use in uses
    ]
    return Report.of(
        {
            "schema": 3,
            "program": {"name": "mtt-verify"},
            "file": {"path": str(path)},
            "model": None,
            "golden_pack": False,
            "for": judged,
            "verdicts": verdicts,
            "findings": [finding],
            "checks": [check],
            "verdict": "fail",
            "seconds": 0.0,
        }
    )


def environment() -> dict[str, str]:
    """Return the variables that ``mtt-verify`` is started with."""
    # A search path set for something else must not decide which libtorch is tested, and a model that
    # runs has no business with tokens.
    kept = os.environ.keys() - {"LD_LIBRARY_PATH", *TOKEN_VARIABLES}
    # The program ends when this process does, however that ends.
    return {key: os.environ[key] for key in kept} | {_CALLER: str(os.getpid())}
