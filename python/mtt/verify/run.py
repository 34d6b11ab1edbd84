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
from mtt.compiled import rebuild_hint
from mtt.errors import MttError, UserError, VerificationFailed
from mtt.files import LARGEST_MODEL, LARGEST_TEXT, read_regular, reading, write_atomic
from mtt.filetypes import recognize
from mtt.printable import harmless_output, print_machine, printable_json
from mtt.tokens import redacted, without_secrets
from mtt.verify.program import Ended, crashed, program, spawn
from mtt.verify.report import Report
from mtt.verify.report.report import NoReport
from mtt.verify.settings import Outputs, Settings

_NO_SANDBOX = "the model was not run"
_WANTED = "an exported model"
_GIVE = "give a model file (.pt), as 'mtt export' and other programs that use metatomic write it"

__all__ = ["Outputs", "Settings", "execute", "program", "run", "run_all", "verify", "write"]


def run(
    path: Path,
    only: Sequence[str] | None = None,
    settings: Settings | None = None,
    outputs: Outputs | None = None,
    display: str | None = None,
    write_waivers: Path | None = None,
    keep: Callable[[Report], None] | None = None,
) -> Report:
    """Verify a model file, print the report as a table, and return it.

    :param only: short for settings with nothing else
    :param display: name to show instead of ``path``, which may be a temporary file; waivers beside
        it are not looked for then
    :param write_waivers: new file for all failures, with an empty reason for each
    :param keep: called with the report, also if a check failed
    :raises UserError: the program cannot run, a family does not exist, or the file is no model
    :raises VerificationFailed: a check failed; the message names all that did
    """
    shown = display or str(path)
    if write_waivers is not None:
        from mtt.verify import waivers

        waivers.check_new(write_waivers)
    neighbor = path if display is None else None
    report = _called(_verified(path, settings or Settings(only=only), neighbor), shown)
    _write([(shown, report)], outputs or Outputs())
    if write_waivers is not None:
        _write_waivers(write_waivers, report)
    if keep is not None:
        keep(report)
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
            neighbor = path if shown == str(path) else None
            report = _called(_verified(path, settings, neighbor), shown)
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
        ``max_rotation_error=5``; ``docs/reference/verify-checks.md`` lists them.
        ``engines=["lammps:ranks=1"]`` are those that the verdict is about; ``waivers`` is a file of
        failures that are accepted, by default the ``mtt-verify.yaml`` beside the model, and with
        ``False`` none; ``isolation=False`` runs the model in the program's own process, without any
        limit
    :raises UserError: the program cannot run, there is no such file, check or level
    :raises TypeError: there is no such option
    """
    settings = Settings(only=only, skip=skip, **options)
    return _spawned(Path(path), settings, on_check, Path(path))


def write(report: Report, shown: str, outputs: Outputs) -> None:
    """Write the files of a report, each replaced at once; nothing is printed.

    :param shown: what to call the model
    """
    _write([(shown, report)], outputs, tables=False)


def execute() -> None:
    """The ``mtt-verify`` command: become the program."""
    try:
        path = str(program())
    except UserError as error:
        with harmless_output():
            print(error.report(), file=sys.stderr)
        sys.exit(error.exit_code)
    os.execv(path, [path, *sys.argv[1:]])


def _verified(path: Path, settings: Settings, neighbor: Path | None) -> Report:
    from mtt.verify.report import terminal

    _refuse_other_files(path)
    with terminal.Progress() as progress:
        return _spawned(path, settings, progress.show, neighbor)


def _called(report: Report, shown: str) -> Report:
    """Let a report on a copy, or on a file that has no name yet, call it what the user does."""
    if report.path == shown:
        return report
    return _changed(report, file={**json.loads(report.text)["file"], "path": shown})


def _spawned(
    path: Path,
    settings: Settings,
    on_check: Callable[[str], None] | None,
    neighbor: Path | None,
) -> Report:
    """Run the program.

    :param neighbor: the model whose folder may have waivers
    """
    if settings.against is not None:
        _refuse_other_json(settings.against)
    # One thread, as an MPI rank has: check systems are small, and the sums repeat to the bit.
    command = [str(program()), str(path), "--json", "-", "--quiet", "--progress", "--threads", "1"]
    waivers = settings.waivers(neighbor)
    with contextlib.ExitStack() as stack:
        record = None
        if settings.record is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mtt-"))
            record = Path(folder) / "record.json"
        command += settings.arguments(record)
        if waivers is not None:
            from mtt.verify.waivers import as_json, load

            command += ["--waivers", str(stack.enter_context(as_json(load(waivers))))]
        result = spawn(command, on_check)
        # The program may have had nothing to record.
        if settings.record is not None and record is not None and record.exists():
            write_atomic(settings.record, read_regular(record, LARGEST_MODEL))
    report = _understood(path, result, settings.engines)
    return report if waivers is None else _changed(report, waivers_file=str(waivers))


def _changed(report: Report, **changes: Any) -> Report:
    """Return the report with other values of some keys."""
    return Report.of({**json.loads(report.text), **changes})


def _understood(path: Path, result: Ended, engines: Sequence[str]) -> Report:
    """The report of a program that has ended; one that died is a report with one failed check."""
    if result.code in (0, 3):
        try:
            return Report.from_json(result.output)
        except NoReport:
            return crashed(path, result, engines)
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
    return crashed(path, result, engines)


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


def _write_waivers(path: Path, report: Report) -> None:
    from mtt.verify import waivers

    count = waivers.write(path, report)
    failures = "1 failure" if count == 1 else f"{count} failures"
    said = f"wrote {path}: {failures}; say for each why it is accepted"
    print(
        said if count else "nothing fails that could be waived: no file is written", file=sys.stderr
    )


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
