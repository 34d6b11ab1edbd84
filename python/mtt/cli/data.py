"""`mtt data`: what data files hold, and what in them is rarely meant."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from mtt.cli.arguments import add_overrides, check_data, check_input, check_output
from mtt.errors import UserError

HELP = "say what data files hold, and what is doubtful in them"
DESCRIPTION = """\
Look at data before anything is trained on them."""
EPILOG = """\
examples:
  mtt data show data.xyz
  mtt data show train.xyz test.xyz --energy-key REF_energy --json report.json
  mtt data show --options options.yaml --plot data.png
"""
_SHOW = """\
Say what data files hold: structures, atomic types, closest pairs, densities, keys and their shapes,
energies without what the composition explains, forces, stresses, copies, missing labels, and
the frames that stand out. These are the checks that 'mtt train' begins with, and more. Doubts change
no exit code; nothing is written but what --json and --plot name."""
_LABELS = ("energy", "forces", "stress", "virial")


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser(
        "show",
        help="say what data files hold",
        description=_SHOW,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    show.add_argument(
        "files",
        type=Path,
        metavar="FILE",
        nargs="*",
        help="data file as ASE reads it, a folder, a pattern, or a folder of DeePMD-kit",
    )
    show.add_argument(
        "--options",
        type=Path,
        metavar="OPTIONS",
        help="look at the data sets of this options file instead, read as 'mtt train' reads them",
    )
    add_overrides(show)
    for label in _LABELS:
        show.add_argument(
            f"--{label}-key",
            metavar="KEY",
            help=f"name of the {label} in the files (default: {label}, else a name with that word)",
        )
    show.add_argument(
        "--length-unit",
        metavar="UNIT",
        help="unit of positions and cells: angstrom, bohr or nm (default: angstrom)",
    )
    show.add_argument(
        "--energy-unit", metavar="UNIT", help="unit of the energies, such as Hartree (default: eV)"
    )
    show.add_argument(
        "--json",
        metavar="FILE",
        help="write the report as JSON; - prints it in the place of tables",
    )
    show.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw histograms to FILE.png or FILE.svg"
    )


def run(arguments: Namespace) -> None:
    """Look at the files."""
    keys = {
        label: key for label in _LABELS if (key := getattr(arguments, f"{label}_key")) is not None
    }
    _check(arguments, keys)

    from mtt.inspect import data_report, data_show
    from mtt.options import load_options

    if arguments.options is not None:
        report, arrays = data_report.of_options(
            load_options(arguments.options, arguments.overrides)
        )
    else:
        report, arrays = data_report.of_files(
            arguments.files,
            keys,
            arguments.length_unit or "angstrom",
            arguments.energy_unit or "eV",
        )
    if arguments.plot is not None:
        data_report.draw(arrays, arguments.plot)
    if arguments.json is not None:
        data_report.write(report, arguments.json)
    if arguments.json != "-":
        data_show.show(report)


def _check(arguments: Namespace, keys: dict[str, str]) -> None:
    """Refuse what cannot be, before any data are read."""
    from mtt.files import check_keeps
    from mtt.units import check_energy_unit, check_length_unit

    if (arguments.options is None) == (not arguments.files):
        raise UserError(
            "give data files, or --options with an options file",
            hint="mtt data show data.xyz, or mtt data show --options options.yaml",
        )
    if arguments.options is not None:
        if keys or arguments.length_unit or arguments.energy_unit:
            raise UserError(
                "keys and units are those of the options file: set them there, or with -r"
            )
        check_input(arguments.options, "options file")
    elif arguments.overrides:
        raise UserError("-r changes an options file, and --options names none")
    check_data(arguments.files)
    try:
        if arguments.length_unit is not None:
            arguments.length_unit = check_length_unit(arguments.length_unit)
        if arguments.energy_unit is not None:
            arguments.energy_unit = check_energy_unit(arguments.energy_unit)
    except ValueError as error:
        raise UserError(str(error)) from None
    if arguments.plot is not None and arguments.plot.suffix not in (".png", ".svg"):
        raise UserError(
            "the picture must have a name that ends in .png or .svg", where=str(arguments.plot)
        )
    inputs = [*arguments.files, *([arguments.options] if arguments.options else [])]
    for path in (arguments.plot, arguments.json):
        if path is not None and str(path) != "-":
            check_output(Path(path))
            check_keeps(inputs, Path(path))
