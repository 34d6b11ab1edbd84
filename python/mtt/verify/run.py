"""Model file in, verdict of ``mtt-verify`` out.

The C++ program runs as its own process with nothing of this one: libraries that Python has already
loaded would hide that a model file needs one it does not bring.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtt.canonical import parse_json
from mtt.errors import MttError, UserError, VerificationFailed
from mtt.files import LARGEST_MODEL, LARGEST_TEXT, read_regular, reading, write_atomic
from mtt.filetypes import recognize
from mtt.printable import harmless_output, print_machine, printable_json
from mtt.tokens import redacted, without_secrets
from mtt.verify.program import Ended, crashed, program, rebuild_hint, spawn
from mtt.verify.report import Report
from mtt.verify.report.report import NoReport
from mtt.verify.settings import Outputs, Settings

_NO_SANDBOX = "the model was not run"
_WANTED = "an exported model"
_GIVE = "give a model file (.pt), as 'mtt export' and other programs that use metatomic write it"

__all__ = ["Outputs", "Settings", "execute", "program", "run", "run_all", "verify"]


def run(
    path: Path,
    only: Sequence[str] | None = None,
    settings: Settings | None = None,
    outputs: Outputs | None = None,
    display: str | None = None,
) -> Report:
    """Verify a model file, print the report as a table, and return it.

    :param only: short for settings with nothing else
    :param display: name to show instead of ``path``, which may be a temporary file
    :raises UserError: the program cannot run, a family does not exist, or the file is no model
    :raises VerificationFailed: a check failed; the message names all that did
    """
    shown = display or str(path)
    report = _called(_verified(path, settings or Settings(only=only)), shown)
    _write([(shown, report)], outputs or Outputs())
    if not report.passed:
        raise VerificationFailed(report.failure(shown))
    return report


def run_all(
    paths: Sequence[Path],
    settings: Settings,
    outputs: Outputs,
    names: Sequence[str] | None = None,
) -> list[Report]:
    """Verify several files, with a line for each; what is unusable does not keep the others from it.

    :param names: what to call the files, if not by their paths
    :raises VerificationFailed: at least one failed
    :raises UserError: none failed, but something could not be verified
    """
    from mtt.verify.report import terminal

    done: list[tuple[str, Report]] = []
    problems: list[UserError] = []
    for path, shown in zip(paths, names or map(str, paths), strict=True):
        try:
            report = _called(_verified(path, settings), shown)
        except UserError as error:
            problems.append(error)
            print(without_secrets(error.report()), file=sys.stderr)
            continue
        done.append((shown, report))
        if outputs.json != Path("-"):
            terminal.print_line(report, shown)
    _write(done, outputs, tables=False)
    verdict = _worst(done, problems, len(paths))
    if verdict is not None:
        raise verdict
    return [report for _, report in done]


def verify(
    path: str | os.PathLike[str],
    only: Sequence[str] | None = None,
    skip: Sequence[str] | Mapping[str, str] | None = None,
    *,
    on_check: Callable[[str], None] | None = None,
    **options: Any,
) -> Report:
    """Verify a model file in C++ and return the report; a failed check is in it, and raises nothing.

    :param path: exported model, of any program that writes metatomic files
    :param only: families (``FD``) or checks (``FD/forces``) to run
    :param skip: those to leave out; with a mapping, or as ``DD=reason``, the reason is recorded
    :param on_check: called with ``FAMILY/name`` when a check starts
    :param options: those of ``mtt verify`` by name, for example ``level="quick"`` or
        ``max_rotation_error=5``; ``docs/reference/verify-checks.md`` lists them. ``isolation=False``
        runs the model in the program's own process, without any limit
    :raises UserError: the program cannot run, there is no such file, check or level
    :raises TypeError: there is no such option
    """
    settings = Settings(only=only, skip=skip, **options)
    return _spawned(Path(path), settings, on_check)


def execute() -> None:
    """The ``mtt-verify`` command: become the program."""
    try:
        path = str(program())
    except UserError as error:
        with harmless_output():
            print(error.report(), file=sys.stderr)
        sys.exit(error.exit_code)
    os.execv(path, [path, *sys.argv[1:]])


def _verified(path: Path, settings: Settings) -> Report:
    from mtt.verify.report import terminal

    _refuse_other_files(path)
    with terminal.Progress() as progress:
        return _spawned(path, settings, progress.show)


def _called(report: Report, shown: str) -> Report:
    """Let a report on a copy, or on a file that has no name yet, call it what the user does."""
    if report.path == shown:
        return report
    content = json.loads(report.text)
    content["file"]["path"] = shown
    return Report.of(content)


def _spawned(path: Path, settings: Settings, on_check: Callable[[str], None] | None) -> Report:
    if settings.against is not None:
        _refuse_other_json(settings.against)
    # One thread, as an MPI rank has: check systems are small, and the sums repeat to the bit.
    command = [str(program()), str(path), "--json", "-", "--quiet", "--progress", "--threads", "1"]
    if settings.record is None:
        return _understood(path, spawn([*command, *settings.arguments()], on_check))
    with tempfile.TemporaryDirectory(prefix="mtt-") as folder:
        record = Path(folder) / "record.json"
        result = spawn([*command, *settings.arguments(record)], on_check)
        if record.exists():  # the program may have had nothing to record
            write_atomic(settings.record, read_regular(record, LARGEST_MODEL))
    return _understood(path, result)


def _understood(path: Path, result: Ended) -> Report:
    """The report of a program that has ended; one that died is a report with one failed check."""
    if result.code in (0, 3):
        try:
            return Report.from_json(result.output)
        except NoReport:
            return crashed(path, result)
    if result.code == 2 and result.reason.startswith(_NO_SANDBOX):
        reason = result.reason.removeprefix(f"{_NO_SANDBOX}: ").partition(";")[0]
        raise UserError(
            f"{_NO_SANDBOX}: {reason}",
            where=str(path),
            hint="'mtt verify --no-require-sandbox' runs it all the same: only with a model that you trust",
        )
    if result.code == 2:
        raise UserError(
            f"mtt-verify could not start: {result.reason}",
            where=str(path),
            hint="run 'mtt-verify --help' for its arguments",
        )
    if result.code == 127 and "shared libraries" in result.reason:
        raise UserError(f"mtt-verify could not start: {result.reason}", hint=rebuild_hint())
    return crashed(path, result)


def _write(reports: Sequence[tuple[str, Report]], outputs: Outputs, tables: bool = True) -> None:
    """Tables, or JSON, on standard output; then the files, each replaced at once."""
    from mtt.files import replacing
    from mtt.verify.report import github, html, junit, sarif, terminal

    reports = [(redacted(shown), report) for shown, report in reports]

    if outputs.json == Path("-"):
        with contextlib.suppress(BrokenPipeError):  # the verdict counts, read or not
            print_machine(_json(reports))
    elif tables:
        for shown, report in reports:
            terminal.print_report(report, shown)
    if outputs.annotations == "github":
        for shown, report in reports:
            print_machine(github.annotations(shown, report))
    contents = (
        (outputs.json, lambda: _json(reports).encode()),
        (outputs.junit, lambda: junit.junit(reports)),
        (outputs.sarif, lambda: sarif.sarif(reports)),
        (outputs.html, lambda: html.page(reports)),
    )
    for path, content in contents:
        if path is not None and path != Path("-"):
            with replacing(path) as temporary:
                temporary.write_bytes(content())


def _json(reports: Sequence[tuple[str, Report]]) -> str:
    """As the program wrote it; of several files, a list."""
    texts = [report.text for _, report in reports]
    return printable_json(texts[0] if len(texts) == 1 else f"[{','.join(texts)}]\n")


def _worst(
    done: Sequence[tuple[str, Report]], problems: Sequence[UserError], total: int
) -> MttError | None:
    failed = [shown for shown, report in done if not report.passed]
    if failed:
        return VerificationFailed(f"{len(failed)} of {total} files failed: {', '.join(failed)}")
    if problems:
        return UserError(f"{len(problems)} of {total} files could not be verified")
    return None


def _refuse_other_json(path: Path) -> None:
    """A reference that is none says nothing about the model."""
    try:
        content = parse_json(read_regular(path, LARGEST_TEXT))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or content.get("format") != "mtt-verify record":
        raise UserError(
            "this is no reference to compare with",
            where=str(path),
            hint="make one with: mtt verify model.pt --record FILE",
        )


def _refuse_other_files(path: Path) -> None:
    """What is no model is a slip, not a finding about a model."""
    # What is no file the program says itself.
    if not path.is_file():
        return
    with reading(path):
        kind = recognize.describe(path)
    # What an archive lacks, checks of LOAD say.
    if kind.kind in ("model", "zip-damaged"):
        return
    if kind.kind == "checkpoint":
        raise UserError(
            "this is a checkpoint, not an exported model",
            where=str(path),
            hint=f"export it first: mtt export {path}",
        )
    raise kind.refusal(path, _WANTED, give=_GIVE)
