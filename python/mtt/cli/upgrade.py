"""`mtt upgrade`: old checkpoint in, checkpoint of the newest versions out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mtt.cli.arguments import add_sources, check_output, fetch, source, speaking_of

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
    parser.add_argument(
        "checkpoint",
        metavar="CKPT",
        nargs="+",
        help="checkpoint to upgrade: a path, an address, or ORG/REPO FILE",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="NEW.ckpt",
        help="file to write, which must be another one",
    )
    add_sources(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then upgrade."""
    origin = source(arguments.checkpoint, arguments, "checkpoint")
    check_output(arguments.output, ".ckpt")
    (fetched,) = fetch([origin], arguments)

    from mtt.checkpoint import upgrade

    with speaking_of([fetched]):
        print(upgrade.run(fetched.path, arguments.output))
