"""`mtt convert`: files of other programs in, files of ours out."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from mtt.cli.arguments import check_input, check_output
from mtt.errors import UserError

HELP = "write files of other programs as files of mtt"
DESCRIPTION = """\
Write files of other programs as files of mtt."""
EPILOG = """\
examples:
  mtt convert options metatrain.yaml -o options.yaml
  mtt convert options run_mace.sh -o options.yaml
"""
_OPTIONS = """\
Write the options of metatrain, or the arguments of MACE, as options of mtt. What mtt does not have is
left out; the terminal and comments at the top of the new file say what that is, and why."""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    kinds = parser.add_subparsers(title="kinds of files", metavar="KIND", required=True)
    options = kinds.add_parser(
        "options",
        help="options of metatrain, or arguments of MACE",
        description=_OPTIONS,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.set_defaults(kind="options")
    options.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="options file of metatrain; or a file with the command mace_run_train, or the YAML file "
        "of its --config",
    )
    options.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OPTIONS.yaml",
        help="file to write, which must not exist",
    )


def run(arguments: Namespace) -> None:
    """Convert a file."""
    check_input(arguments.file, "options file")
    check_output(arguments.output)
    if arguments.output.exists():
        raise UserError(
            "there is a file of that name already, which may have options that somebody wrote",
            where=str(arguments.output),
            hint="give another name, or remove it",
        )

    from mtt.files import write_atomic
    from mtt.options.foreign.conversion import convert
    from mtt.printable import printable

    converted = convert(arguments.file)
    write_atomic(arguments.output, converted.text.encode())
    for line in converted.left_out:
        print(f"left out: {printable(line, 2000)}")
    for line in converted.added:
        print(f"added, as {converted.program} does so unasked: {line}")
    print(f"wrote {printable(str(arguments.output))}")
