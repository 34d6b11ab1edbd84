"""`mtt verify`: model files in, verdict of the C++ verifier out."""

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtt.cli.arguments import (
    add_required_signature,
    add_sources,
    check_input,
    check_output,
    fetch,
    signed,
    sources,
)
from mtt.cli.values import quantity
from mtt.errors import UserError
from mtt.files import check_keeps
from mtt.verify.program_catalogue import Option, catalogue

HELP = "check that an MD engine can use a model file"
DESCRIPTION = """\
Check model files with mtt-verify, a C++ program that does what MD engines do and compares the
results with the reference inside the file. Says who can use the model; exits with 3 if one of those that
--for names cannot. Failures that mtt-verify.yaml beside the model names are expected."""
EPILOG = """\
examples:
  mtt verify model.pt
  mtt verify model.pt --level quick --html report.html
  mtt verify model.pt --only LOAD,FD/forces --for lammps
  mtt verify model.pt --for lammps:ranks=1,ase --junit report.xml
  mtt verify model.pt --write-waivers mtt-verify.yaml
  mtt verify model.pt --record here.json      and on another machine:
  mtt verify model.pt --against here.json
  mtt verify *.pt
"""

# A comma separates checks only if something like the name of one follows: reasons hold commas too.
_COMMA = re.compile(r",(?=\s*[A-Z]{2,}\s*(?:[/=,]|$))")


_WAIVERS = "waivers"
# Names of models, data and options, which a slip in the order of words must not overwrite.
_NO_REPORTS = (".ckpt", ".pt", ".pth", ".xyz", ".extxyz", ".yaml", ".yml", ".so", ".sig", ".key")


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="model file: a path, an address, or ORG/REPO FILE",
    )
    _add_program_options(parser)
    _add_waivers(parser)
    _add_outputs(parser)
    add_sources(parser)
    add_required_signature(parser)


def _add_program_options(parser: ArgumentParser) -> None:
    """Add the options that the program has, under its headings."""
    groups: dict[str | None, Any] = {}
    exclusive: dict[str, Any] = {}
    options = catalogue().keywords().values()
    for option in options:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        if option.excludes:
            exclusive[option.flag] = exclusive[option.excludes] = groups[
                option.group
            ].add_mutually_exclusive_group()
    for option in options:
        if option.keyword == _WAIVERS:
            continue
        _add_option(exclusive.get(option.flag, groups[option.group]), option)


def _add_option(group: Any, option: Option) -> None:
    if option.type == "switch":
        group.add_argument(option.flag, action="store_true", help=option.help)
    elif option.choices:
        text = f"{option.help} (default: {option.default})"
        group.add_argument(option.flag, choices=option.choices, default=option.default, help=text)
    else:
        action = "extend" if option.type in ("checks", "waivers", "names", "uses") else "store"
        group.add_argument(
            option.flag,
            type=_READERS.get(option.type, Path),
            metavar=option.metavar,
            action=action,
            help=option.help,
        )


def _add_waivers(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("failures that are known and accepted")
    # The program reads JSON; what people write is read and checked here.
    group.add_argument(
        "--waivers",
        type=Path,
        metavar="FILE",
        help="expect the failures in this YAML file (default: mtt-verify.yaml beside the model)",
    )
    group.add_argument(
        "--no-waivers",
        action="store_true",
        help="expect none",
    )
    group.add_argument(
        "--write-waivers",
        type=Path,
        metavar="FILE",
        help="write what fails to a new file of waivers, for people to say why it is accepted",
    )


def _add_outputs(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("reports")
    group.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the report as JSON to this file, or to the terminal with '-'",
    )
    group.add_argument("--junit", type=Path, metavar="FILE", help="as JUnit XML, for CI services")
    group.add_argument("--sarif", type=Path, metavar="FILE", help="as SARIF, for code scanning")
    group.add_argument("--html", type=Path, metavar="FILE", help="as one page with plots")
    group.add_argument(
        "--annotations",
        choices=("github",),
        help="print failures as this service marks them in a pull request",
    )


def run(arguments: Namespace) -> None:
    """Check the files, then verify."""
    origins = sources(arguments.models, arguments, "model file")
    _check_together(arguments, len(origins))

    from mtt.sources import LocalFile
    from mtt.verify import run as verify
    from mtt.verify.settings import Outputs, Settings

    options = catalogue().keywords()
    values = {keyword: _value(option, arguments) for keyword, option in options.items()}
    if arguments.no_waivers:
        values["waivers"] = False
    settings = Settings(**values)
    _check_paths(values)
    read, written = _of_type("input", values), _of_type("output", values)

    outputs = Outputs(
        json=arguments.json,
        junit=arguments.junit,
        sarif=arguments.sarif,
        html=arguments.html,
        annotations=arguments.annotations,
    )
    written = outputs.paths() + written
    new: Path | None = arguments.write_waivers
    local = [origin.path for origin in origins if isinstance(origin, LocalFile)]
    for number, path in enumerate(written):
        check_keeps([*local, *read], path)
        if path.suffix.lower() in _NO_REPORTS:
            raise UserError(
                f"no report has a name that ends in {path.suffix}",
                where=str(path),
                hint=f"for instance {path.with_suffix('.json')}",
            )
        if path in written[:number]:
            raise UserError("two reports would go to one file", where=str(path))
        check_output(path)
    if new is not None:
        check_keeps([*local, *read, *written], new)
    _warn_of_unsigned(local, arguments)
    fetched = fetch(origins, arguments)
    with signed(fetched, arguments) as usable:
        shown = [file.source.shown for file in usable]
        if len(usable) > 1:
            verify.run_all([file.path for file in usable], settings, outputs, shown)
            return
        (file,) = usable
        display: dict[str, Any] = {} if str(file.path) == shown[0] else {"display": shown[0]}
        verify.run(file.path, settings=settings, outputs=outputs, write_waivers=new, **display)


def _value(option: Option, arguments: Namespace) -> Any:
    value = getattr(arguments, option.flag.removeprefix("--").replace("-", "_"))
    return not value if option.type == "switch" else value


def _of_type(kind: str, values: dict[str, Any]) -> list[Path]:
    """Return the paths that options of this type have."""
    keywords = catalogue().keywords()
    return [value for key, value in values.items() if value and keywords[key].type == kind]


def _check_paths(values: dict[str, Any]) -> None:
    for keyword, option in catalogue().keywords().items():
        if option.type == "input" and values.get(keyword):
            check_input(values[keyword], _INPUTS.get(keyword, "file"))
    for path in _of_type("folder", values):
        if not path.is_dir():
            raise UserError("there is no such folder of extensions", where=str(path))


def _warn_of_unsigned(models: list[Path], arguments: Namespace) -> None:
    """Where signatures are required, waivers that anybody may have written are not used by themselves."""
    if arguments.require_signature is None or arguments.waivers or arguments.no_waivers:
        return
    from mtt.verify.waivers import beside

    for path in filter(None, map(beside, models)):
        print(
            f"warning: {path} is not used, as nobody has signed it: name it with --waivers",
            file=sys.stderr,
        )


def _check_together(arguments: Namespace, count: int) -> None:
    if count > 1 and (arguments.record or arguments.against):
        flag = "--record" if arguments.record else "--against"
        raise UserError(f"{flag} is about one model", hint="verify the files one by one")
    if arguments.no_waivers and arguments.waivers:
        raise UserError("--waivers and --no-waivers exclude each other")
    if count > 1 and arguments.write_waivers:
        raise UserError("--write-waivers is about one model", hint="verify the files one by one")
    waived = {waiver.partition("=")[0] for waiver in arguments.skip or []}
    if (arguments.record or arguments.against) and waived & {"PARITY", "PARITY/reference"}:
        flag = "--record" if arguments.record else "--against"
        raise UserError(f"{flag} is a check of PARITY, which --skip leaves out")
    if arguments.json == Path("-") and arguments.annotations:
        raise UserError("--json - and --annotations would both go to the terminal")


def _checks(text: str) -> list[str]:
    return [_normal(name) for name in text.split(",") if name.strip()]


def _waivers(text: str) -> list[str]:
    waivers = []
    for part in _COMMA.split(text) if "=" in text else text.split(","):
        check, equals, reason = part.partition("=")
        if check.strip():
            waivers.append(_normal(check) + equals + reason.strip())
    return waivers


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _normal(name: str) -> str:
    family, slash, check = name.strip().partition("/")
    return family.upper() + slash + check


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"expected a whole number above zero, found '{text}'")
    return int(text)


# What the files are that options read.
_INPUTS = {"against": "reference", "waivers": "file of waivers"}
# How the command line reads a value of each type of the catalogue; all others are paths.
_READERS: dict[str, Callable[[str], Any]] = {
    "checks": _checks,
    "waivers": _waivers,
    "names": _names,
    "uses": _names,
    "count": _positive,
    "quantity": quantity,
}
