"""`mtt reproduce`: what was recorded in, the same run again, and whether it gave the same bits, out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mtt.cli.arguments import add_data, add_overrides, check_data, check_input
from mtt.errors import VerificationFailed

HELP = "train again from what a file records, and compare the bits"
DESCRIPTION = """\
Train again with the options that a checkpoint or a model file has recorded, on the same data, in a new
folder, and say whether the result is the same to the bit; if not, where it first differs. Exits with 3
if it is not."""
EPILOG = """\
examples:
  mtt reproduce model.ckpt
  mtt reproduce model.pt --data data/ethanol.xyz -o again
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("source", type=Path, metavar="FILE", help="checkpoint or model file")
    add_data(
        parser, "the data of the run, if they lie elsewhere now; their content must be the same"
    )
    parser.add_argument(
        "--base", type=Path, metavar="CKPT", help="of a fine-tuned model: what it was made from"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="new folder for the run (default: the name of FILE with -again)",
    )
    add_overrides(parser)


def run(arguments: Namespace) -> None:
    """Check the files, then train and compare."""
    source: Path = arguments.source
    check_input(source, "file")
    check_data(arguments.data)
    if arguments.base is not None:
        check_input(arguments.base, "base")

    from mtt.lineage import reproduce

    folder = arguments.output or Path(f"{source.stem}-again")
    result = reproduce.run(
        source, folder, arguments.data, base=arguments.base, overrides=arguments.overrides
    )
    for line in result.lines:
        print(line)
    if not result.identical:
        raise VerificationFailed(f"the run in {folder} is not bit-identical to {source}")
