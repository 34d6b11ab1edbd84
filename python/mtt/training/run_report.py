"""The report of a run as one page: how it went, how good the model is, on what data, made with what."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from mtt import checkpoint as checkpoints
from mtt.checkpoint import Header
from mtt.evaluation.analysis import Analysis, label, place
from mtt.export.run import weights_in_words
from mtt.files import LARGEST_MODEL, read_regular, sha256_of
from mtt.printable import plural
from mtt.report.error_plots import error_plots
from mtt.report.metrics import PER_ATOM, quantities, readable
from mtt.report.page import document
from mtt.report.plots import learning_curve, svg_of
from mtt.report.wording import safe
from mtt.tokens import redacted
from mtt.training import run_header
from mtt.training.data_summary import summary
from mtt.training.final_errors import TEST, TRAINING, Analyses
from mtt.training.prepare import Run
from mtt.training.run_data import WITHOUT_VALIDATION
from mtt.training.runs.folder import VERIFICATION, VERIFICATION_PAGE
from mtt.verify.report import Report
from mtt.verify.report.report import NoReport

_LONGEST = 600
# Of groups and structures in a table; errors of all are in analysis.json.
_MOST_ROWS = 40


def page(job: Run, ckpt: Path, folder: Path, analyses: Analyses) -> bytes:
    """Return the page.

    :param ckpt: the checkpoint of the finished run
    :param folder: of the run, which may have the report of the verification
    """
    header = checkpoints.read_header(ckpt)
    report = _verification(folder)
    verdict = "not verified" if report is None else report.verdict
    parts = [
        f'<header><p class="badge {verdict if report else "skip"}">{verdict}</p>'
        f"<h1>{safe(job.output.stem)}: {safe(job.options.architecture.name)}</h1>"
        f"<p>{safe(_sentence(header))}</p></header>",
        _section("Errors of the best model", _errors(job, header, analyses)),
        _section("Learning curve", _picture(curves(job), _CURVE)),
        *(_set(name, analyses[name]) for name in sorted(analyses, key=lambda name: name != TEST)),
        _section("Data", _data(job, header)),
        _section("Verification", _verdicts(report)),
        _section("Run", _table(["", ""], [_cells(fact) for fact in _facts(job, ckpt, header)])),
        _section("Options", f"<pre>{_options(job)}</pre>"),
    ]
    title = f"Training of {job.output.stem}"
    return document(title, "".join(parts), "Made by mtt train.", width=66)


def curves(job: Run) -> Figure:
    """Return the learning curve."""
    return learning_curve(
        job.state.history,
        job.problem.targets,
        job.header.length_unit,
        job.state.best_epoch.epoch or None,
    )


_CURVE = (
    "RMSE and loss at the end of each epoch. Training values are means over the epoch, while the weights "
    "still change, of structures that are turned at random. The dashed line marks the exported epoch."
)
_PARITY = (
    "Left: predictions against references; the part of energies that the elements explain is left out. "
    "Middle: the residuals, on their own scale. Right: how often each residual occurs. Dashed: the RMSE."
)


def _sentence(header: Header) -> str:
    return f"model.pt has the weights of {weights_in_words(header, 'best')}."


def _verification(folder: Path) -> Report | None:
    try:
        return Report.from_json(read_regular(folder / VERIFICATION, LARGEST_MODEL).decode())
    except (FileNotFoundError, NoReport, UnicodeDecodeError):
        return None


# ---- errors ----


def _errors(job: Run, header: Header, analyses: Analyses) -> str:
    """Return training, validation and test side by side."""
    rows = [row for row in header.history if row.get("epoch") == header.best.epoch]
    best: Mapping[str, float] = rows[-1] if rows else {}
    known = quantities(
        [target.with_all_gradients() for target in header.targets], header.length_unit
    )
    body = []
    for quantity in known:
        name = quantity.label.replace(" ", "_")
        own = [analysis.errors.get(name) for analysis in analyses.values()]
        like = next((float(row["rmse"]) for row in own if row), None)
        if like is None:
            continue
        train = best.get(f"train_{quantity.metric('rmse')}")
        values = [train, *(row["rmse"] if row else None for row in own)]
        values += [own[-1][kind] if own[-1] else None for kind in ("mae", "max")]
        cells = ["" if x is None else readable(float(x), quantity.unit, like) for x in values]
        body.append([safe(cell) for cell in (quantity.label, *cells)])
    last = list(analyses)[-1]
    titles = (f"{part} RMSE{' afterwards' if part == TRAINING else ''}" for part in analyses)
    head = ["", "training RMSE", *titles]
    table = _table([*head, f"{last} MAE", f"largest, {last}"], body, numbers=True)
    remarks = [] if job.data.validation else [WITHOUT_VALIDATION]
    sentences = "".join(f"<p>{safe(text)}.</p>" for text in (*remarks, *_sentences(analyses)))
    return table + sentences


def _sentences(analyses: Analyses) -> Iterator[str]:
    for name in (TEST, "validation", TRAINING):
        if name in analyses:
            for part in (analyses[name].rotation, analyses[name].cost):
                if part is not None:
                    text = part.sentence()
                    yield f"On the {name} set, {text}" if part is analyses[name].rotation else text
            return


def _set(name: str, analysis: Analysis) -> str:
    parts = [_picture(error_plots(analysis.drawn, calibrations=analysis.calibrations), _PARITY)]
    for division, of in analysis.groups.items():
        parts.append(f"<h3>By {safe(division)}</h3>{_groups(division, of)}")
    if analysis.worst:
        parts.append(f"<h3>Structures with the largest errors</h3>{_worst(analysis)}")
    return _section(f"Errors on the {name} set", "".join(parts))


def _groups(division: str, of: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(name for group in of.values() for name in group["errors"]))
    names = [name for name in names if f"{name}_{PER_ATOM}" not in names]
    largest = {
        name: max(group["errors"].get(name, {}).get("rmse", 0.0) for group in of.values())
        for name in names
    }
    rows = [
        [safe(group, 80), str(found["structures"])]
        + [_bar(found["errors"].get(name), largest[name]) for name in names]
        for group, found in list(of.items())[:_MOST_ROWS]
    ]
    head = [division, "structures", *(f"{label(name)} RMSE" for name in names)]
    return _table(head, rows, more=len(of) - len(rows))


def _bar(row: Mapping[str, Any] | None, largest: float) -> str:
    if row is None:
        return ""
    width = 6.0 * row["rmse"] / largest if largest > 0 else 0.0
    text = safe(readable(row["rmse"], row["unit"], like=largest))
    return f'{text}<br><span class="rms" style="width:{width:.2f}rem"></span>'


def _worst(analysis: Analysis) -> str:
    rows = []
    for number in range(max(map(len, analysis.worst.values()))):
        cells = []
        for listed in analysis.worst.values():
            if number >= len(listed):
                cells += ["", ""]
                continue
            row = listed[number]
            kind = f" ({row['config_type']})" if row["config_type"] else ""
            cells += [safe(f"{place(row)}{kind}", 80)]
            cells += [safe(readable(row["error"], row["unit"], like=listed[0]["error"]))]
        rows.append(cells)
    head = [text for name in analysis.worst for text in ("structure", label(name))]
    return _table(head, rows)


# ---- data, verification, run ----


def _data(job: Run, header: Header) -> str:
    sets = {TRAINING: job.data.train, "validation": job.data.validation, TEST: job.data.test}
    columns = {name: summary(of, header.targets) for name, of in sets.items() if of}
    names = list(dict.fromkeys(name for rows in columns.values() for name in rows))
    rows = [
        [safe(name), *(safe(of.get(name, ""), _LONGEST) for of in columns.values())]
        for name in names
    ]
    return _table(["", *columns], rows)


def _verdicts(report: Report | None) -> str:
    if report is None:
        return "<p>The model file was not verified.</p>"
    rows = [[safe(row.title), safe(row.words)] for row in report.verdicts if row.judged]
    summary = f"{report.verdict}: {report.summary}"
    more = f'<p><a href="{VERIFICATION_PAGE}">All checks</a> are in {VERIFICATION_PAGE}.</p>'
    texts = "".join(
        f"<p>{safe(text, _LONGEST)}.</p>" for text in (summary, report.rotation) if text
    )
    return texts + _table(["engine", "can use it"], rows) + more


def _facts(job: Run, ckpt: Path, header: Header) -> Iterator[tuple[str, str]]:
    yield "architecture", f"{header.architecture.name}, version {header.architecture.version}"
    weights = sum(parameter.numel() for parameter in job.state.model.parameters())
    yield "weights", f"{weights} in {header.precision} bits"
    yield "epochs", f"{header.position.epoch}, {header.position.step} steps"
    yield "exported", weights_in_words(header, "best")
    yield "checkpoint", f"{ckpt.name}, content hash {header.content_hash}"
    if job.output.exists():
        yield "model file", f"{job.output.name}, SHA-256 {sha256_of(job.output)}"
    for name, digest in header.data_hash.items():
        yield (
            name.replace("_", " "),
            f"{plural(header.data_size[name], 'structure')}, SHA-256 {digest}",
        )
    yield "options", f"SHA-256 {header.options_hash}"
    if header.origin is not None:
        base = header.origin
        yield base.kind, f"{base.name}@{base.version}, content hash {base.content_hash}"
    if header.image_digest:
        yield "image", header.image_digest
    for part in header.conditions:
        values = ", ".join(f"{name} {value}" for name, value in part.values.items())
        yield f"trained with, from step {part.step}", values
    for line in run_header.lines(job.options.device, job.options.architecture.name):
        yield "report made on", line


def _options(job: Run) -> str:
    text = yaml.safe_dump(job.options.to_dict(), sort_keys=False, allow_unicode=True)
    return "\n".join(safe(line, _LONGEST) for line in redacted(text).splitlines())


# ---- pieces ----


def _section(title: str, content: str) -> str:
    return f"<section><h2>{safe(title)}</h2>{content}</section>"


def _picture(figure: Figure, caption: str) -> str:
    content = base64.b64encode(svg_of(figure)).decode()
    return (
        f'<figure><img class="plot" alt="{safe(caption)}" src="data:image/svg+xml;base64,{content}">'
        f"<figcaption>{safe(caption)}</figcaption></figure>"
    )


def _cells(fact: tuple[str, str]) -> list[str]:
    return [safe(fact[0]), safe(fact[1], _LONGEST)]


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False, more: int = 0
) -> str:
    """Return a table; cells are HTML, titles of columns are texts.

    :param more: rows that are left out
    """
    kind = ' class="n"' if numbers else ""
    titles = "".join(f"<th{kind if at else ''}>{safe(name)}</th>" for at, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind if number else ''}>{cell}</td>" for number, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    top = f"<tr>{titles}</tr>" if any(head) else ""
    left = f'<p class="quiet">and {more} more, in analysis.json</p>' if more > 0 else ""
    return f'<div class="scroll"><table class="plain">{top}{body}</table></div>{left}'
