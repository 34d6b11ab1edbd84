"""One page that needs nothing else: no script, no font, no network; for a browser, a mail or a supplement."""

from collections.abc import Sequence

from mtt.verify.program_catalogue import catalogue
from mtt.verify.report import parity_plots
from mtt.verify.report.report import Check, Report
from mtt.verify.report.style import STYLE
from mtt.verify.report.wording import number, plural, safe, size


def page(reports: Sequence[tuple[str, Report]]) -> bytes:
    """The document for these reports, each with the name to show for its file."""
    names = ", ".join(shown for shown, _ in reports)
    body = "".join(_report(k, shown, report) for k, (shown, report) in enumerate(reports))
    if len(reports) > 1:
        body = _contents(reports) + body
    # The policy makes the browser refuse what escaping could have missed.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Verification of {safe(names, 200)}</title><style>{STYLE}</style></head>"
        f"<body>{body}<footer>Made by mtt verify.</footer></body></html>\n"
    )
    return document.encode("utf-8", "backslashreplace")


def _contents(reports: Sequence[tuple[str, Report]]) -> str:
    rows = "".join(
        f'<tr><td class="{report.verdict}">{report.verdict}</td>'
        f'<td><a href="#report-{k}">{safe(shown)}</a></td>'
        f"<td>{safe(', '.join(check.label for check in report.failures), 300)}</td></tr>"
        for k, (shown, report) in enumerate(reports)
    )
    anchors = f"<h1>Verification of {plural(len(reports), 'model')}</h1>"
    return f"<header>{anchors}<table>{rows}</table></header>"


def _report(order: int, shown: str, report: Report) -> str:
    parts = [
        f'<header><p class="badge {report.verdict}">{report.verdict}</p>'
        f"<h1>{safe(shown)}</h1><p>{_verdict(report)} {_counts(report)}</p></header>",
        _failures(report),
        _facts(report),
        _waivers(report),
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
    if not report.passed:
        return "Do not use this file."
    if report.only or report.waivers or report.allowed_operators:
        return "As far as it was checked, an MD engine can use this file."
    return "An MD engine can use this file."


def _counts(report: Report) -> str:
    words = {"pass": "passed", "fail": "failed", "skip": "skipped", "waived": "waived"}
    counts = [f"{report.count(status)} {word}" for status, word in words.items()]
    return "Checks: " + ", ".join(count for count in counts if not count.startswith("0 ")) + "."


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
        f"<li><b>{safe(waiver.check)}</b>: {safe(waiver.reason) or 'no reason given'}</li>"
        for waiver in report.waivers
    )
    allowed = "".join(f"<li>{safe(name)}</li>" for name in report.allowed_operators)
    return f"<section><h2>Waived</h2><ul>{items}</ul></section>" * bool(items) + (
        f"<section><h2>Operators allowed beside the list</h2><ul>{allowed}</ul></section>"
        * bool(allowed)
    )


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
    facts += [("level", report.level), ("engine", report.engine), ("only", ", ".join(report.only))]
    if report.coverage:
        counts = {k: len(v) if isinstance(v, list) else v for k, v in report.coverage.items()}
        words = [f"{str(key).replace('_', ' ')} {value}" for key, value in counts.items()]
        facts.append(("coverage", ", ".join(words)))
    facts.append(("peak memory", size(report.peak_memory_bytes or None)))
    facts.append(("time", f"{report.seconds:.1f} s"))
    if report.isolation:
        facts.append(("isolation", _isolation(report)))
    return facts


def _isolation(report: Report) -> str:
    isolation = report.isolation or {}
    words = ["own process" if isolation.get("process") else "no process of its own"]
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
        f'<td class="{check.status}">{check.status}</td>',
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
    text = "".join(f"<p>{safe(line)}</p>" for line in lines if line)
    if not text:
        return safe(check.name_and_target)
    word = " open" if check.status == "fail" else ""
    return f"<details{word}><summary>{safe(check.name_and_target)}</summary>{text}</details>"
