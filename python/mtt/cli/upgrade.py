"""`mtt upgrade`: old checkpoint in, checkpoint of the newest versions out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mtt.cli.arguments import check_input, check_output

HELP = "write an old checkpoint in the newest versions"
DESCRIPTION = """\
Write a checkpoint in the newest versions of format, architecture and options. Every command does
so in memory; this keeps the result. What the model predicts never changes: where it would have to,
there is no upgrade, and the message names the image of the old version."""
EPILOG = """\
examples:
  mtt upgrade old.ckpt -o new.ckpt
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint to upgrade")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="NEW.ckpt",
        help="file to write, which must be another one",
    )


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then upgrade."""
    check_input(arguments.checkpoint, "checkpoint")
    check_output(arguments.output, ".ckpt")

    from mtt.stages import upgrade

    print(upgrade.run(arguments.checkpoint, arguments.output))
