"""A report for people at a terminal: what was checked, what is wrong, and who can use the model."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from mtt.printable import printable
from mtt.report.console import SteadyConsole
from mtt.verify.report.report import STATUSES, Check, Report, tightest

_STYLE = {
    "pass": "green",
    "fail": "bold red",
    "skip": "yellow",
    "skipped": "magenta",
    "waived": "magenta",
}
_ANSWER_STYLE = {"yes": "green", "no": "bold red", "unless": "yellow", "untried": "yellow"}
_WIDTH = 80
# Names that a model chose; longer ones would push the numbers off the screen.
_LONGEST_NAME = 34
# The whole of it is in the other forms of the report.
_LONGEST_CAUSE = 300


class Progress:
    """A line on standard error that says what is being done, on terminals only."""

    def __init__(self, what: str = "verifying") -> None:
        console = SteadyConsole(stderr=True)
        self._status: Status | None = console.status(what) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, check: str) -> None:
        """Name the check that has started."""
        if self._status is not None:
            self._status.update(Text(f"verifying: {printable(check, _WIDTH)}"))


def print_report(report: Report, shown: str, console: Console | None = None) -> None:
    """One line per family when all is well; each finding in words; the verdict for each engine."""
    console = console or SteadyConsole()
    console.print(Text(f"verification of {printable(shown)}", style="bold"))
    if about := _about(report):
        console.print(Text(about, style="dim"))
    console.print(_table(report))
    if report.weak_sandbox:
        console.print(Text(printable(report.weak_sandbox), style=_STYLE["skip"]))
    if report.rotation:
        console.print(Text(printable(report.rotation, _LONGEST_CAUSE), style="dim"))
    for text in (*_findings(report), *_sentences(report), *_waivers(report)):
        console.print(text)
    if report.verdicts:
        console.print()
        console.print(_verdicts(report))
    memory = f", {report.peak_memory_bytes / 1e6:.0f} MB" if report.peak_memory_bytes else ""
    line = f"{report.verdict}: {printable(report.summary)} ({report.seconds:.1f} s{memory})"
    console.print(Text(line, style=_STYLE[report.verdict]))


def print_line(report: Report, shown: str, console: Console | None = None) -> None:
    """The whole report in a line: one of many."""
    console = console or SteadyConsole()
    if report.passed:
        words = [check.word for check in report.checks]
        rest = f"{words.count('pass')} checks passed"
        for word in ("skipped", "waived"):
            rest += f", {words.count(word)} {word}" if word in words else ""
        if report.verdicts:
            rest = f"{report.summary}; {rest}"
    elif report.verdicts:
        rest = "; ".join(_bad_verdicts(report)) or "no check passed"
    else:
        rest = ", ".join(check.label for check in report.failures) or "no check passed"
    status = (f"{report.verdict} ", _STYLE[report.verdict])
    text = f"{printable(shown)}: {printable(rest, 400)} ({report.seconds:.1f} s)"
    console.print(Text.assemble(status, text), soft_wrap=True)


def _bad_verdicts(report: Report) -> Iterable[str]:
    """Yield what is wrong for those that are judged; those with the same words share a place."""
    bad = [row for row in report.verdicts if row.judged and row.answer != "yes"]
    for words in dict.fromkeys(row.words for row in bad):
        yield f"{report.names(row for row in bad if row.words == words)}: {words}"


def _about(report: Report) -> str:
    """Return model, library and settings in one line."""
    parts = []
    if report.model is not None:
        parts.append(printable(str(report.model.get("dtype", "")), 12))
    if report.program.get("torch"):
        parts.append(f"torch {printable(report.program['torch'], 20)}")
    if report.schema > 1:
        parts.append(f"level {printable(report.level, 12)}")
        if report.engine != "all":
            parts.append(f"engine {printable(report.engine, 12)}")
        if report.seed and not report.passed:
            parts.append(f"repeated with --seed {report.seed}")
    return ", ".join(part for part in parts if part)


def _table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, width=_WIDTH)
    table.add_column("family", no_wrap=True)
    statuses = [status for status in STATUSES if status != "waived" or report.count("waived")]
    for status in statuses:
        table.add_column(status, justify="right", no_wrap=True)
    table.add_column("tightest check", ratio=1, no_wrap=True)
    table.add_column("used", justify="right", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    for family, checks in report.families().items():
        counts = [str(sum(c.column == status for c in checks) or "") for status in statuses]
        name, used = _tightest(checks)
        style = _STYLE["fail"] if any(map(report.counts, checks)) else ""
        seconds = f"{sum(c.seconds for c in checks):.1f}"
        cells = [printable(family, 12), *counts, name, used, seconds]
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _tightest(checks: list[Check]) -> tuple[str, str]:
    """The check that came closest to its tolerance, and how much of it it used."""
    closest = tightest(checks)
    if closest is None or closest.used is None:
        return "", ""
    used = 100 * closest.used
    return printable(closest.name_and_target, _LONGEST_NAME), (
        f"{used:.2g} %" if used < 1e4 else ">9999 %"
    )


def _findings(report: Report) -> Iterable[Text]:
    """Yield a line for each cause, worst first: those that count, those of others, those accepted."""
    if report.schema < 3:
        for check in report.failures:
            yield Text.assemble(("fail ", _STYLE["fail"]), printable(check.sentence))
        return
    rows = [finding for finding in report.findings if not finding.waived]
    for finding in sorted(rows, key=lambda row: not report.matters(row)):
        numbers = report.numbers(finding)
        text = f"{finding.label}: {printable(finding.cause, _LONGEST_CAUSE)}"
        text = printable(text + (f" ({numbers})" if numbers else ""))
        if report.matters(finding):
            yield Text.assemble((f"{finding.severity} ", _STYLE["fail"]), text)
        else:
            yield Text(f"{finding.severity} {text} (not judged)", style="dim")
    for finding in report.findings:
        if finding.waived:
            text = f"{finding.label}: {printable(finding.cause, _LONGEST_CAUSE)}: {finding.reason}"
            yield Text.assemble(("waived ", _STYLE["waived"]), printable(text))


def _sentences(report: Report) -> Iterable[Text]:
    """Yield what did not run; checks that share a reason share a line."""
    found = {entry for finding in report.findings for entry in finding.entries}
    for word in ("skip", "skipped", "waived"):
        reasons: dict[str, list[str]] = {}
        for place, check in enumerate(report.checks):
            if check.word == word and place not in found:
                reasons.setdefault(check.message, []).append(check.label)
        for reason, names in reasons.items():
            families = {name.split("/")[0] for name in names}
            several = f"{len(names)} checks of {', '.join(sorted(families))}"
            text = f"{names[0] if len(names) == 1 else several}: {reason}"
            yield Text.assemble((f"{word} ", _STYLE[word]), printable(text))


def _waivers(report: Report) -> Iterable[Text]:
    """Yield where waivers are from, and which of them can go."""
    if report.waivers_file:
        yield Text(printable(f"with the waivers of {report.waivers_file}"), style="dim")
    for waiver in report.needless:
        text = f"the waiver of {waiver.check} is no longer needed: nothing like it fails"
        yield Text.assemble(("warning ", _STYLE["skip"]), printable(text))


def _verdicts(report: Report) -> Table:
    """Return a row for each use; those that the exit code judges are marked."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, width=_WIDTH)
    table.add_column("", no_wrap=True)
    table.add_column("engine (* is judged)", no_wrap=True)
    table.add_column("can use it", ratio=1)
    for row in report.verdicts:
        style = _ANSWER_STYLE[row.answer] if row.judged else "dim"
        mark = "*" if row.judged else ""
        cells = [mark, printable(row.title, _LONGEST_NAME), printable(row.words)]
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table
