"""`mtt verify`: model file in, verdict of the C++ verifier out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mtt.cli.arguments import check_input, check_output
from mtt.report.files import check_keeps

HELP = "check that an MD engine can use a model file"
DESCRIPTION = """\
Check a model file with mtt-verify, a C++ program that does what MD engines do and compares the
results with the reference inside the file. Exits with 3 if a check fails."""
EPILOG = """\
examples:
  mtt verify model.pt
  mtt verify model.pt --only LOAD,SCHEMA,PARITY
  mtt verify model.pt --skip DD --json report.json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file")
    parser.add_argument(
        "--only",
        type=_families,
        metavar="FAMILIES",
        help="families of checks to run, separated by commas (default: all)",
    )
    parser.add_argument(
        "--skip", type=_families, metavar="FAMILIES", help="families of checks to leave out"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the report as JSON to this file, or to the terminal with '-'",
    )
    parser.add_argument(
        "--extensions",
        type=Path,
        metavar="DIR",
        help="folder of the compiled extensions that the model needs",
    )


def run(arguments: Namespace) -> None:
    """Check the files, then verify."""
    check_input(arguments.model, "model file")
    if arguments.json not in (None, Path("-")):
        check_keeps([arguments.model], arguments.json)
        check_output(arguments.json)

    from mtt.stages import verify

    verify.run(
        arguments.model,
        only=arguments.only,
        skip=arguments.skip,
        json_path=arguments.json,
        extensions=arguments.extensions,
    )


def _families(text: str) -> list[str]:
    return [name.strip().upper() for name in text.split(",") if name.strip()]
