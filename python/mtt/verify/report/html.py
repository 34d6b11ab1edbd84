"""One page that needs nothing else: no script, no font, no network; for a browser, a mail or a supplement."""

from collections.abc import Sequence

from mtt.printable import plural
from mtt.report.page import document
from mtt.report.wording import number, safe, size
from mtt.verify.program_catalogue import catalogue
from mtt.verify.report import parity_plots
from mtt.verify.report.report import Check, Report
from mtt.verify.report.verdicts import Finding, Verdict, Waiver

# Of a traceback.
_MOST_LINES = 60


def page(reports: Sequence[tuple[str, Report]]) -> bytes:
    """The document for these reports, each with the name to show for its file."""
    names = ", ".join(shown for shown, _ in reports)
    body = "".join(_report(k, shown, report) for k, (shown, report) in enumerate(reports))
    if len(reports) > 1:
        body = _contents(reports) + body
    return document(f"Verification of {names}", body, "Made by mtt verify.")


def _contents(reports: Sequence[tuple[str, Report]]) -> str:
    rows = "".join(
        f'<tr><td class="{report.verdict}">{report.verdict}</td>'
        f'<td><a href="#report-{k}">{safe(shown)}</a></td>'
        f"<td>{safe(_short(report), 300)}</td></tr>"
        for k, (shown, report) in enumerate(reports)
    )
    anchors = f"<h1>Verification of {plural(len(reports), 'model')}</h1>"
    return f"<header>{anchors}<table>{rows}</table></header>"


def _short(report: Report) -> str:
    if report.verdicts:
        return report.summary
    return ", ".join(check.label for check in report.failures)


def _report(order: int, shown: str, report: Report) -> str:
    parts = [
        f'<header><p class="badge {report.verdict}">{report.verdict}</p>'
        f"<h1>{safe(shown)}</h1><p>{_verdict(report)} {_counts(report)}</p></header>",
        _verdicts(order, report),
        _findings(order, report) if report.verdicts else _failures(report),
        _waivers(report),
        _facts(report),
        _figure("Margins", parity_plots.margins(report), _MARGINS),
        _series(report),
        _figure("Time", parity_plots.times(report), "Wall time of each family of checks."),
        *(_family(name, checks) for name, checks in report.families().items()),
    ]
    return f'<article id="report-{order}">{"".join(parts)}</article>'


_MARGINS = (
    "What each check measured, in units of its tolerance, on a logarithmic axis. Left of the line passes; "
    "a point at the left end is at or below it."
)


def _verdict(report: Report) -> str:
    return f"{safe(report.summary[:1].upper() + report.summary[1:])}."


def _counts(report: Report) -> str:
    words = {"pass": "passed", "fail": "failed", "skip": "skipped", "waived": "waived"}
    counts = [f"{report.count(status)} {word}" for status, word in words.items()]
    return "Checks: " + ", ".join(count for count in counts if not count.startswith("0 ")) + "."


def _verdicts(order: int, report: Report) -> str:
    """Return the table of who can use the model; those who are not judged are pale."""
    if not report.verdicts:
        return ""
    rows = "".join(
        f'<tr class="{"judged" if row.judged else "aside"}"><td>{safe(row.title)}</td>'
        f'<td class="{row.answer}">{"yes, unless" if row.answer == "unless" else row.answer}</td>'
        f"<td>{safe(row.reason)}{_links(order, row)}</td></tr>"
        for row in report.verdicts
    )
    head = "<tr><th>engine</th><th>can use it</th><th></th></tr>"
    aside = (
        '<p class="quiet">The verdict is about the rows in bold.</p>'
        if any(not row.judged for row in report.verdicts)
        else ""
    )
    table = f'<div class="scroll"><table class="verdicts">{head}{rows}</table></div>'
    return f"<section><h2>Who can use it</h2>{table}{aside}</section>"


def _links(order: int, row: Verdict) -> str:
    """Return numbers that lead to the findings."""
    return "".join(f' <a href="#{_anchor(order, place)}">{place + 1}</a>' for place in row.findings)


def _anchor(order: int, place: int) -> str:
    return f"finding-{order}-{place + 1}"


def _findings(order: int, report: Report) -> str:
    """Return a section for each cause, worst first."""
    parts = "".join(
        _finding(order, report, place, finding) for place, finding in enumerate(report.findings)
    )
    return f"<section><h2>What is wrong</h2>{parts}</section>" * bool(parts)


def _finding(order: int, report: Report, place: int, finding: Finding) -> str:
    kind = "waived" if finding.waived else "counts" if report.matters(finding) else "aside"
    word = f"waived, {finding.severity}" if finding.waived else finding.severity
    titles = {row.use: row.title for row in report.verdicts}
    facts = [
        ("reason", finding.reason),
        ("only if", finding.unless),
        ("measured", report.numbers(finding)),
        ("matters to", ", ".join(titles.get(use, use) for use in finding.uses)),
        ("systems", ", ".join(finding.systems)),
    ]
    rows = "".join(
        f"<tr><th>{name}</th><td>{safe(value, 600)}</td></tr>" for name, value in facts if value
    )
    seen = "".join(
        f"<li><b>{safe(check.label)}</b>: {safe(check.message)}{_details(check)}</li>"
        for check in (report.checks[entry] for entry in finding.entries)
    )
    number_of_checks = plural(len(finding.entries), "check")
    return (
        f'<section class="finding {kind}" id="{_anchor(order, place)}">'
        f'<h3>{place + 1}. {safe(finding.brief or finding.root)} <span class="severity">{word}</span></h3>'
        f'<p>{safe(finding.cause)}</p><table class="facts">{rows}</table>'
        f"<details><summary>{number_of_checks}</summary><ul>{seen}</ul></details></section>"
    )


def _details(check: Check) -> str:
    """Return the traceback of an exception, as it was."""
    if not check.details:
        return ""
    lines = "\n".join(safe(line) for line in check.details.splitlines()[:_MOST_LINES])
    return f"<pre>{lines}</pre>"


def _failures(report: Report) -> str:
    items = "".join(
        f"<li><b>{safe(check.label)}</b>: {safe(check.message)}"
        + (f' <span class="quiet">({safe(check.numbers)})</span>' if check.numbers else "")
        + "</li>"
        for check in report.failures
    )
    return f'<section class="failures"><h2>What is wrong</h2><ul>{items}</ul></section>' * bool(
        items
    )


def _waivers(report: Report) -> str:
    items = "".join(
        f"<li><b>{safe(waiver.check)}</b>: {safe(waiver.reason) or 'no reason given'}"
        f"{_state(waiver)}</li>"
        for waiver in report.waivers
    )
    source = f'<p class="quiet">From {safe(report.waivers_file)}.</p>' * bool(report.waivers_file)
    allowed = "".join(f"<li>{safe(name)}</li>" for name in report.allowed_operators)
    return f"<section><h2>Waived</h2>{source}<ul>{items}</ul></section>" * bool(items) + (
        f"<section><h2>Operators allowed beside the list</h2><ul>{allowed}</ul></section>"
        * bool(allowed)
    )


def _state(waiver: Waiver) -> str:
    """Return whether it is still needed, in words."""
    if waiver.needless:
        return ' <span class="needless">no longer needed: nothing like it fails</span>'
    which = ", ".join(filter(None, [waiver.system, *waiver.engines]))
    return f' <span class="quiet">({safe(which)})</span>' if which else ""


def _facts(report: Report) -> str:
    rows = "".join(
        f"<tr><th>{safe(name)}</th><td>{safe(value, 600)}</td></tr>"
        for name, value in [*_file(report), *_model(report), *_run(report)]
        if value
    )
    return f'<section><h2>File, model and run</h2><table class="facts">{rows}</table></section>'


def _file(report: Report) -> list[tuple[str, str]]:
    facts = [("SHA-256", report.sha256 or ""), ("size", size(report.bytes))]
    facts += [(f"extension {name}", digest or "not found") for name, digest in report.extensions]
    return [*facts, ("golden pack", "yes" if report.golden_pack else "no")]


def _model(report: Report) -> list[tuple[str, str]]:
    model = report.model
    if model is None:
        return [("model", "could not be loaded")]
    length, energy = str(model.get("length_unit", "")), str(model.get("energy_unit", ""))
    outputs = [
        str(entry.get("name", "")) for entry in model.get("outputs", []) if isinstance(entry, dict)
    ]
    requests = [
        f"{number(entry.get('cutoff'))} {length}, {'full' if entry.get('full_list') else 'half'}"
        for entry in model.get("requests", [])
        if isinstance(entry, dict)
    ]
    facts = [("model", str(model.get("name", ""))), ("dtype", str(model.get("dtype", "")))]
    facts += [("units", f"{length or 'none'}, {energy or 'none'}")]
    for key, name in (("interaction_range", "declared range"), ("receptive_field", "true range")):
        if isinstance(model.get(key), int | float):
            facts.append((name, f"{number(model[key], 4)} {length}"))
    types = [str(entry) for entry in model.get("atomic_types", [])]
    shown = ", ".join(types[:24]) + (f", … ({len(types)})" if len(types) > 24 else "")
    facts += [("neighbor lists", "; ".join(requests)), ("outputs", ", ".join(outputs))]
    return [*facts, ("atomic types", shown)]


def _run(report: Report) -> list[tuple[str, str]]:
    program = report.program
    libraries = [
        f"{name.replace('_', '-')} {program[name]}"
        for name in ("torch", "metatensor_torch", "metatomic_torch")
        if program.get(name)
    ]
    facts = [("mtt-verify", program.get("version", "")), ("libraries", ", ".join(libraries))]
    whom = (
        ("judged for", ", ".join(report.judged)) if report.verdicts else ("engine", report.engine)
    )
    facts += [("level", report.level), whom, ("only", ", ".join(report.only))]
    if report.coverage:
        counts = {k: len(v) if isinstance(v, list) else v for k, v in report.coverage.items()}
        words = [f"{str(key).replace('_', ' ')} {value}" for key, value in counts.items()]
        facts.append(("coverage", ", ".join(words)))
    facts.append(("rotations", report.rotation or ""))
    facts.append(("peak memory", size(report.peak_memory_bytes or None)))
    facts.append(("time", f"{report.seconds:.1f} s"))
    if report.isolation:
        facts.append(("isolation", _isolation(report)))
    return facts


def _isolation(report: Report) -> str:
    isolation = report.isolation or {}
    own = "two processes of its own" if isolation.get("processes") == 2 else "own process"
    words = [own if isolation.get("process") else "no process of its own"]
    words += [f"{key} {isolation[key]}" for key in ("network", "filesystem") if isolation.get(key)]
    if isolation.get("time_limit_s"):
        words.append(f"time limit {number(isolation['time_limit_s'])} s per check")
    if isolation.get("memory_limit_bytes"):
        words.append(f"memory limit {size(isolation['memory_limit_bytes'])}")
    notes = isolation.get("notes", [])
    return "; ".join([*words, *(str(note) for note in notes)])


def _figure(title: str, picture: str, caption: str) -> str:
    if not picture:
        return ""
    return (
        f'<section><h2>{title}</h2><figure><div class="scroll">{picture}</div>'
        f"<figcaption>{caption}</figcaption></figure></section>"
    )


def _series(report: Report) -> str:
    figures = "".join(
        f'<figure><div class="plots">{"".join(drawn)}</div>'
        f"<figcaption>{safe(check.label)}: {safe(check.description)}</figcaption></figure>"
        for check in report.checks
        if (drawn := parity_plots.plots(check))
    )
    return f"<section><h2>Series</h2>{figures}</section>" * bool(figures)


def _family(name: str, checks: Sequence[Check]) -> str:
    numeric = ("measured", "tolerance", "margin", "s")
    head = "".join(
        f'<th class="n">{title}</th>' if title in numeric else f"<th>{title}</th>"
        for title in ("check", "", "measured", "tolerance", "unit", "margin", "s")
    )
    rows = "".join(_row(check) for check in checks)
    questions = {family["name"]: family["question"] for family in catalogue().families}
    about = f' <span class="quiet">{safe(questions[name])}</span>' if name in questions else ""
    table = f'<div class="scroll"><table class="checks"><tr>{head}</tr>{rows}</table></div>'
    return f"<section><h2>{safe(name)}{about}</h2>{table}</section>"


def _row(check: Check) -> str:
    cells = [
        f"<td>{_named(check)}</td>",
        f'<td class="{check.status}">{check.word}</td>',
        *(f'<td class="n">{number(v)}</td>' for v in (check.measured, check.tolerance)),
        f"<td>{safe(check.unit)}</td>",
        f'<td class="n">{number(check.margin)}</td>',
        f'<td class="n">{check.seconds:.2f}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _named(check: Check) -> str:
    """The name, which opens to what there is to say."""
    lines = [check.message, check.description]
    if check.tolerance_source:
        lines.append(f"tolerance: {check.tolerance_source}")
    if check.systems:
        lines.append(f"systems: {', '.join(check.systems)}")
    if check.failing:
        lines.append(f"systems that fail: {', '.join(check.failing)}")
    if check.unless:
        lines.append(f"only if {check.unless}")
    if check.waived_because:
        lines.append(f"expected: {check.waived_because}")
    text = "".join(f"<p>{safe(line)}</p>" for line in lines if line) + _details(check)
    if not text:
        return safe(check.name_and_target)
    word = " open" if check.status == "fail" else ""
    return f"<details{word}><summary>{safe(check.name_and_target)}</summary>{text}</details>"
