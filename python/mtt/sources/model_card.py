"""The page of a model on the hub: what it is, how good, whether an engine can use it, how to cite it.

Everything comes from descriptions of the files and from the report; nothing is asked, nothing is made up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from mtt.inspect.show import size, target_words, uncertainty_facts
from mtt.printable import printable
from mtt.report.metrics import judged_by, judging_prefix, readable
from mtt.verify.report import Report
from mtt.verify.report.report import STATUSES

# Cards of mtt may be replaced by newer ones; those that people wrote may not.
MARK: Final = "<!-- Written by mtt push. Without this line, mtt leaves the page alone. -->"
# Licences that the hub knows by these names; it wants any other as "other", with a name.
_LICENCES: Final = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "zlib"),
    *("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "eupl-1.2", "odbl", "odc-by"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
)

Description = Mapping[str, Any]
Files = Sequence[tuple[str, int, str]]


def card(
    repository: str, checkpoint: Description, model: Description, report: Report, files: Files
) -> str:
    """The page in Markdown, with the front matter that the hub reads.

    :param checkpoint: what ``mtt show`` says of the checkpoint, as ``model`` of the model file
    :param files: name, size in bytes and sha256 of what is beside it
    """
    metadata = model.get("metadata") or {}
    front = yaml.safe_dump(_front(metadata, checkpoint), sort_keys=False, allow_unicode=True)
    title = str(metadata.get("name") or repository.partition("/")[2])
    parts = [
        f"---\n{front}---\n{MARK}",
        f"# {_line(title)}",
        *_words(metadata),
        f"## What it is\n\n{_table(_facts(checkpoint, model))}",
        *_errors(checkpoint),
        _verification(report),
        _use(repository, files),
        *_citations(metadata),
    ]
    return "\n\n".join(parts) + "\n"


def _front(metadata: Description, checkpoint: Description) -> dict[str, Any]:
    architecture = str(checkpoint["architecture"]["name"])
    front: dict[str, Any] = {"library_name": "mtt"}
    extra = metadata.get("extra") if isinstance(metadata.get("extra"), dict) else {}
    entries = {key.lower(): value for key, value in (extra or {}).items()}
    licence = entries.get("license") or entries.get("licence")
    if licence and licence.lower() in _LICENCES:
        front["license"] = licence.lower()
    elif licence:
        front |= {"license": "other", "license_name": licence}
    front["tags"] = [
        "mtt",
        "metatomic",
        "interatomic-potential",
        "molecular-dynamics",
        architecture,
    ]
    return front


def _words(metadata: Description) -> Iterable[str]:
    if metadata.get("description"):
        yield "\n".join(map(_line, str(metadata["description"]).splitlines()))
    if metadata.get("authors"):
        yield f"Authors: {', '.join(_line(author) for author in metadata['authors'])}"


def _facts(checkpoint: Description, model: Description) -> Iterable[tuple[str, str]]:
    architecture = checkpoint["architecture"]
    yield "architecture", f"{architecture['name']}, version {architecture['version']}"
    elements = zip(checkpoint["elements"], checkpoint["atomic_types"], strict=True)
    yield "elements", " ".join(symbol or str(number) for symbol, number in elements)
    yield from (("predicts", target_words(*item)) for item in checkpoint["targets"].items())
    yield from uncertainty_facts(checkpoint)
    capabilities = model.get("capabilities") or {}
    if "interaction_range" in capabilities:
        length = checkpoint["length_unit"]
        yield "interaction range", f"{capabilities['interaction_range']:g} {length}"
        yield "precision", str(capabilities.get("dtype"))
    for name, value in checkpoint["data"].items():
        yield name.replace("_", " "), f"{value['structures']} structures"
    position, best = checkpoint["position"], checkpoint["best"]
    yield "epochs", f"{position['epoch']}, the best one is {best['epoch']}"
    provenance = model.get("provenance") or {}
    if provenance.get("weights"):
        yield "weights", f"of the {provenance['weights']} epoch ({provenance.get('epoch')})"
    versions = checkpoint["packages"]
    written = [f"{name} {versions[name]}" for name in ("mtt", "torch") if name in versions]
    yield "written by", ", ".join(written)


def _errors(checkpoint: Description) -> Iterable[str]:
    history = checkpoint["history"]
    row = history["best"] or history["last"] or {}
    rows = []
    chosen_by = judged_by([row])
    prefix = judging_prefix([row])
    known = [name.removeprefix(prefix) for name in history["units"] if name.startswith(prefix)]
    for metric in known:
        value = row.get(f"{prefix}{metric}")
        # Of energies of systems those per atom, which do not depend on their size.
        shown = metric != "loss" and f"{metric}_per_atom" not in known
        if shown and isinstance(value, float | int):
            name = metric.replace("_", " ").replace("rmse", "RMSE").replace("mae", "MAE")
            rows.append((name, readable(float(value), history["units"][f"{prefix}{metric}"])))
    if rows:
        which = "best" if history["best"] else "last"
        where = f"On the {chosen_by} set, after the {which} epoch:"
        if chosen_by == "training":
            where = f"On the training set, in the {which} epoch (there was no validation set):"
        yield f"## Errors\n\n{where}\n\n{_table(rows)}"
    tested = [
        (
            str(row["quantity"]).replace("_", " "),
            f"RMSE {readable(row['rmse'], row['unit'])}, MAE "
            f"{readable(row['mae'], row['unit'], like=row['rmse'])}, {row['values']} values",
        )
        for row in checkpoint["test_errors"]
    ]
    if tested:
        title = "" if rows else "## Errors\n\n"
        yield f"{title}On the test set, with the weights of the best epoch:\n\n{_table(tested)}"


def _verification(report: Report) -> str:
    word = "Passed" if report.passed else "Failed"
    program = " ".join(report.program.get(key, "") for key in ("name", "version")).strip()
    summary = f"**{word}**: {_line(report.summary)}."
    lines = [f"{summary} Level {report.level}, by {program}; see `verification.html`.", ""]
    if report.verdicts:
        lines += ["| engine | can use it |", "|---|---|"]
        lines += [f"| {_cell(row.title)} | {_cell(row.words)} |" for row in report.verdicts]
        lines.append("")
    header = ["family", *STATUSES]
    lines += [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for family, checks in report.families().items():
        counts = [sum(check.column == status for check in checks) for status in STATUSES]
        lines.append(f"| {family} | {' | '.join(str(count or '') for count in counts)} |")
    waivers = [
        f"- {_line(waiver.check)} {'is expected to fail' if waiver.runs else 'was left out'}: "
        f"{_line(waiver.reason)}"
        for waiver in report.waivers
    ]
    return "\n".join(["## Verification\n", *lines, *([""] if waivers else []), *waivers])


def _use(repository: str, files: Files) -> str:
    names = {name.rpartition(".")[2]: name for name, _, _ in files}
    lines = [f"| `{name}` | {size(count)} | `{digest}` |" for name, count, digest in files]
    return "\n".join(
        [
            "## Use\n",
            "```bash",
            f"mtt verify {repository} {names['pt']}",
            f"mtt export {repository} {names['ckpt']}",
            f"mtt train options.yaml --continue hf://{repository}/{names['ckpt']}",
            "```\n",
            "| file | size | sha256 |",
            "|---|---|---|",
            *lines,
        ]
    )


def _citations(metadata: Description) -> Iterable[str]:
    references = metadata.get("references")
    items = references.items() if isinstance(references, dict) else ()
    lines = [f"- {kind}: {_line(citation)}" for kind, listed in items for citation in listed]
    if lines:
        yield "## Cite\n\n" + "\n".join(lines)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    body = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *body])


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: object) -> str:
    """A text of somebody's as one line, in which no HTML is hidden."""
    return printable(str(text)).replace("<", "&lt;")
