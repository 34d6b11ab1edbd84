"""Writes the page of checks and options, and the enumerations of the report's schema.

Both come from the catalogue of the program. Run as ``python -m mtt.verify.reference docs/reference``
after a change of checks, engines or options.
"""

import json
import sys
from pathlib import Path

from mtt.verify.program_catalogue import Option, catalogue

_PAGE = "verify-checks.md"
_SCHEMA = "verify-report.schema.json"
_INTRODUCTION = """\
# Checks of `mtt verify`

<!-- Generated from `mtt-verify --catalogue` by `python -m mtt.verify.reference docs/reference`. -->

`mtt-verify` has these families of checks, in the order of its report. A check gives one or more
results, each of which passes, fails or is skipped; `--only` and `--skip` take the name of a family, and
FAMILY/name of a check or of a result. A check about a target runs for every target of the model that
it fits, and the report then names the target.
"""


def render(folder: Path) -> dict[str, str]:
    """Return the generated files, as name -> text; the schema is the one in ``folder``, updated."""
    schema = json.loads((folder / _SCHEMA).read_text("utf-8"))
    known = catalogue()
    properties = schema["properties"]
    properties["level"]["enum"] = known.levels
    ids = {"enum": [use["id"] for use in known.uses]}
    check, finding, waiver, verdict = (
        properties[name]["items"]["properties"]
        for name in ("checks", "findings", "waivers", "verdicts")
    )
    properties["for"]["items"] = verdict["use"] = ids
    for listed in (finding["uses"], waiver["engines"], check["matters"], check["expected_for"]):
        listed["items"] = ids
    for severity in (finding["severity"], check["severity"]):
        severity["enum"] = known.severities
    check["family"] = {"enum": [family["name"] for family in known.families]}
    check["status"]["enum"] = known.statuses
    return {_PAGE: _page(), _SCHEMA: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"}


def _page() -> str:
    known = catalogue()
    lines = [_INTRODUCTION, "| family | question |", "|---|---|"]
    lines += [f"| [{f['name']}](#{f['name'].lower()}) | {f['question']} |" for f in known.families]
    for family in known.families:
        lines += [f"\n## {family['name']}\n", "| check | results | what it checks | tolerance |"]
        lines.append("|---|---|---|---|")
        for check in known.checks:
            if check["family"] == family["name"]:
                cells = [_name(check), "<br>".join(check["results"])]
                cells += [check["description"], check["tolerance"]]
                lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "\n## Engines and conditions\n",
        "Words of `--for`: an id, or an engine for all its rows.\n",
    ]
    lines += ["| id | engine | title | judged by default |", "|---|---|---|---|"]
    lines += [_use(use) for use in known.uses]
    lines += ["\n## Options\n", "| option | in Python | meaning |", "|---|---|---|"]
    lines += [_row(option) for option in known.options]
    return "\n".join(lines) + "\n"


def _name(check: dict[str, object]) -> str:
    """Return the name, with the level, the severity of a failure, and whom alone it matters to."""
    uses = check["uses"]
    assert isinstance(uses, list)
    notes = [] if check["level"] == "quick" else [f"from `{check['level']}`"]
    if check["severity"] != catalogue().severities[0]:
        notes.append(f"{check['severity']}")
    if len(uses) < len(catalogue().uses):
        notes.append(", ".join(uses))
    return f"{check['name']}" + "".join(f"<br>({note})" for note in notes)


def _use(use: dict[str, object]) -> str:
    judged = "yes" if use["runs_md"] else "no"
    return f"| `{use['id']}` | `{use['engine']}` | {use['title']} | {judged} |"


def _row(option: Option) -> str:
    flag = f"{option.flag} {option.metavar}" if option.metavar else option.flag
    meaning = option.help
    if option.choices:
        names = ", ".join(f"`{choice}`" for choice in option.choices)
        meaning += f": {names} (default: `{option.default}`)"
    keyword = f"`{option.keyword}`" if option.keyword else "of `mtt-verify` only"
    return f"| `{flag}` | {keyword} | {meaning} |"


def main(folder: Path) -> None:
    """Write the generated files to ``folder``."""
    for name, text in render(folder).items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
