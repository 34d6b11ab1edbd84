"""`mtt golden`: the check systems that travel inside a model file."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from mtt.cli.arguments import add_exceptions, check_input, check_output, exceptions
from mtt.errors import UserError

HELP = "add check systems to a model file"
DESCRIPTION = """\
The golden pack of a model file holds check systems with their energies, forces and virials, which
'mtt verify' repeats. Exports of mtt have one; any other can be given one."""
EPILOG = """\
examples:
  mtt golden add model.pt --systems my.xyz -o new.pt
  mtt golden add model.pt --systems my.xyz --checkpoint model.ckpt --in-place
"""

_ADD = """\
Add structures to the golden pack of a model file, whoever made it, or give it one. References come
from the checkpoint if it is given, else from the model itself, and the pack says which. All else
in the file stays byte for byte, and the result is verified before it appears."""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add = actions.add_parser(
        "add",
        help="add structures",
        description=_ADD,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add.add_argument("model", type=Path, metavar="MODEL", help="model file")
    add.add_argument(
        "--systems", type=Path, metavar="FILE", required=True, help="structures, as ASE reads them"
    )
    add.add_argument(
        "--checkpoint",
        type=Path,
        metavar="CKPT",
        help="what the model was exported from: makes the references, in float64",
    )
    add.add_argument(
        "--length-unit",
        default="angstrom",
        choices=("angstrom", "bohr", "nm"),
        help="of the structures (default: angstrom)",
    )
    add.add_argument(
        "--extensions",
        type=Path,
        metavar="DIR",
        help="folder of the compiled extensions that the model needs",
    )
    add_exceptions(add)
    where = add.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", type=Path, metavar="MODEL.pt", help="file to write")
    where.add_argument("--in-place", action="store_true", help="replace the model file")


def run(arguments: Namespace) -> None:
    """Check the files, then add."""
    check_input(arguments.model, "model file")
    check_input(arguments.systems, "file of structures")
    if arguments.checkpoint is not None:
        check_input(arguments.checkpoint, "checkpoint")
    output = arguments.model if arguments.in_place else arguments.output
    if output is None:
        raise UserError(
            "there is no place for the result",
            hint="name a file with -o, or replace the model file with --in-place",
        )
    check_output(output, ".pt")
    if output is not arguments.model and output.exists() and output.samefile(arguments.model):
        raise UserError(
            "the output would replace the model file",
            where=str(output),
            hint="say --in-place if that is meant",
        )

    from mtt.export import golden_add

    count = golden_add.run(
        arguments.model,
        arguments.systems,
        output,
        checkpoint=arguments.checkpoint,
        length_unit=arguments.length_unit,
        extensions=arguments.extensions,
        exceptions=exceptions(arguments),
    )
    print(f"wrote {output}: {count} check systems")
