"""`mtt eval`: model and data in, predictions and their errors out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mtt.cli.arguments import (
    add_exceptions,
    add_image,
    add_overrides,
    add_required_signature,
    add_sources,
    check_output,
    exceptions,
    fetch,
    in_image,
    signed,
    source,
)
from mtt.cli.values import quantity
from mtt.errors import UserError
from mtt.files import check_keeps

HELP = "predict other data and report the errors"
DESCRIPTION = """\
Evaluate a model file or a checkpoint on data. Writes the predictions as extended XYZ, and beside
them the errors as JSON and as pictures: of each target, by config_type, element and size, the worst
structures, how much rotations change, time and memory. Prints them in short."""
EPILOG = """\
examples:
  mtt eval model.pt eval.yaml
  mtt eval ORG/REPO model.pt eval.yaml
  mtt eval model.pt eval.yaml --max-rotation-error 5
  mtt eval model.ckpt eval.yaml -o test/predictions.xyz -r systems=test.xyz
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="+",
        help="model file or checkpoint: a path, an address, or ORG/REPO FILE",
    )
    parser.add_argument("options", type=Path, metavar="OPTIONS", help="dataset options, in YAML")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("predictions.xyz"),
        metavar="FILE.xyz",
        help="predictions to write (default: predictions.xyz)",
    )
    add_overrides(parser)
    parser.add_argument(
        "--max-rotation-error",
        type=quantity,
        metavar="X",
        help="end with exit code 3 if rotations change energies by more than X meV per atom or forces by "
        "more than X meV/angstrom (default: only report the change)",
    )
    parser.add_argument(
        "--extensions",
        type=Path,
        metavar="DIR",
        help="folder of the compiled extensions that the model file needs",
    )
    add_exceptions(parser)
    add_sources(parser)
    add_required_signature(parser)
    add_image(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then evaluate."""
    from mtt.options import load_eval_options

    load_eval_options(arguments.options, arguments.overrides)
    model = source(arguments.model, arguments, "model file")
    check_output(arguments.output)
    extensions: Path | None = arguments.extensions
    if extensions is not None and not extensions.is_dir():
        raise UserError("there is no such folder of extensions", where=str(extensions))
    (fetched,) = fetch([model], arguments)
    output: Path = arguments.output
    for written in (output, output.with_suffix(".json"), output.with_suffix(".png")):
        check_keeps([fetched.path], written)
    with signed([fetched], arguments) as (usable,):
        if in_image(arguments, usable, [output]):
            return

        from mtt.evaluation import run as evaluate

        evaluate.run(
            usable.path,
            arguments.options,
            arguments.overrides,
            output,
            display=str(fetched.path),
            exceptions=exceptions(arguments),
            extensions=extensions,
            max_rotation_error=arguments.max_rotation_error,
        )
