"""`mtt verify`: model files in, verdict of the C++ verifier out."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from mtt.cli.arguments import (
    add_required_signature,
    add_sources,
    check_input,
    check_output,
    check_signatures,
    fetch,
    sources,
    speaking_of,
)
from mtt.errors import UserError
from mtt.files import check_keeps

HELP = "check that an MD engine can use a model file"
DESCRIPTION = """\
Check model files with mtt-verify, a C++ program that does what MD engines do and compares the
results with the reference inside the file. Exits with 3 if a check fails."""
EPILOG = """\
examples:
  mtt verify model.pt
  mtt verify model.pt --level quick --html report.html
  mtt verify model.pt --only LOAD,FD/forces --engine lammps
  mtt verify model.pt --skip "DD=used on one rank only" --junit report.xml
  mtt verify model.pt --record here.json      and on another machine:
  mtt verify model.pt --against here.json
  mtt verify *.pt
"""

# A comma separates checks only if something like the name of one follows: reasons hold commas too.
_COMMA = re.compile(r",(?=\s*[A-Z]{2,}\s*(?:[/=,]|$))")


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
    _add_scope(parser)
    _add_reference(parser)
    _add_outputs(parser)
    _add_limits(parser)
    add_sources(parser)
    add_required_signature(parser)


def _add_scope(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("what is checked")
    group.add_argument(
        "--level",
        choices=("quick", "full", "soak"),
        default="full",
        help="how thorough: seconds, a minute, or as long as it takes (default: full)",
    )
    group.add_argument(
        "--engine",
        choices=("all", "lammps", "ase", "ipi", "torch-sim", "gromacs", "plumed", "eon"),
        default="all",
        help="make the calls of this engine only (default: all)",
    )
    group.add_argument(
        "--only",
        type=_checks,
        metavar="CHECKS",
        help="families, or FAMILY/name, to run, separated by commas (default: all)",
    )
    group.add_argument(
        "--skip",
        type=_waivers,
        action="extend",
        metavar="CHECK[=REASON]",
        help="leave out a family or check, for a reason that the report records; repeatable",
    )
    group.add_argument(
        "--extensions",
        type=Path,
        metavar="DIR",
        help="folder of the compiled extensions that the model needs",
    )


def _add_reference(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("other machines and libraries").add_mutually_exclusive_group()
    group.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write energies, forces and virials of this run to FILE",
    )
    group.add_argument(
        "--against", type=Path, metavar="FILE", help="compare with those that --record wrote"
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


def _add_limits(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("isolation of the model")
    group.add_argument(
        "--time-limit", type=_positive, metavar="SECONDS", help="time that a check may take"
    )
    group.add_argument(
        "--memory-limit", type=_positive, metavar="MB", help="memory that the model may take"
    )
    group.add_argument(
        "--no-isolation",
        action="store_true",
        help="run the model without limits, in the program's own process",
    )


def run(arguments: Namespace) -> None:
    """Check the files, then verify."""
    given = sources(arguments.models, arguments, "model file")
    _check_together(arguments, len(given))
    if arguments.against is not None:
        check_input(arguments.against, "reference")

    if arguments.extensions is not None and not arguments.extensions.is_dir():
        raise UserError("there is no such folder of extensions", where=str(arguments.extensions))

    from mtt.sources import LocalFile
    from mtt.verify import run as verify
    from mtt.verify.settings import Outputs, Settings

    outputs = Outputs(
        json=arguments.json,
        junit=arguments.junit,
        sarif=arguments.sarif,
        html=arguments.html,
        annotations=arguments.annotations,
    )
    written = outputs.paths() + ([arguments.record] if arguments.record else [])
    local = [one.path for one in given if isinstance(one, LocalFile)]
    for number, path in enumerate(written):
        check_keeps([*local, *([arguments.against] if arguments.against else [])], path)
        if path.suffix.lower() in _NO_REPORTS:
            raise UserError(
                f"no report has a name that ends in {path.suffix}",
                where=str(path),
                hint=f"for instance {path.with_suffix('.json')}",
            )
        if path in written[:number]:
            raise UserError("two reports would go to one file", where=str(path))
        check_output(path)
    settings = Settings(
        only=arguments.only,
        skip=arguments.skip,
        level=arguments.level,
        engine=arguments.engine,
        extensions=arguments.extensions,
        record=arguments.record,
        against=arguments.against,
        time_limit=arguments.time_limit,
        memory_limit=arguments.memory_limit,
        isolation=not arguments.no_isolation,
    )
    fetched = fetch(given, arguments)
    check_signatures(fetched, arguments)
    with speaking_of(fetched):
        if len(fetched) > 1:
            verify.run_all([one.path for one in fetched], settings, outputs)
            return
        (one,) = fetched
        display = {} if one.record is None else {"display": one.source.shown}
        verify.run(one.path, settings=settings, outputs=outputs, **display)


def _check_together(arguments: Namespace, count: int) -> None:
    if count > 1 and (arguments.record or arguments.against):
        flag = "--record" if arguments.record else "--against"
        raise UserError(f"{flag} is about one model", hint="verify the files one by one")
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


def _normal(name: str) -> str:
    family, slash, check = name.strip().partition("/")
    return family.upper() + slash + check


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"expected a whole number above zero, found '{text}'")
    return int(text)
