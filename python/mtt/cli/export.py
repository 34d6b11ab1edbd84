"""`mtt export`: checkpoint in, verified model file out."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

from mtt.cli.arguments import add_image, check_input, check_output

HELP = "turn a checkpoint into a model file for MD engines"
DESCRIPTION = """\
Export a checkpoint as a TorchScript model file. It appears under its name only if it passed the
checks LOAD, SCHEMA and PARITY, or all of them with --verify."""
EPILOG = """\
examples:
  mtt export model.ckpt
  mtt export model.ckpt -o ethanol.pt --verify
  mtt export model.ckpt --weights last -m metadata.yaml
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint to export")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="MODEL.pt",
        help="file to write (default: the checkpoint's name with .pt, in the current folder)",
    )
    parser.add_argument(
        "--weights",
        choices=("best", "last"),
        default="best",
        help="weights of the best epoch or of the last one (default: best)",
    )
    parser.add_argument(
        "-m",
        "--metadata",
        type=Path,
        metavar="FILE",
        help="YAML file with name, description, authors, references and extra",
    )
    parser.add_argument(
        "--verify",
        action=BooleanOptionalAction,
        default=None,
        help="run all checks, or none (default: the quick ones)",
    )
    add_image(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then export."""
    check_input(arguments.checkpoint, "checkpoint")
    output = arguments.output or Path(arguments.checkpoint.stem + ".pt")
    check_output(output, ".pt")
    if arguments.metadata is not None:
        from mtt.options import load_metadata

        load_metadata(arguments.metadata)

    from mtt.images import dispatch

    if dispatch.in_image(arguments, arguments.checkpoint, [output]):
        return

    from mtt.stages import export

    verify = {None: "quick", True: "full", False: "none"}[arguments.verify]
    written = export.run(
        arguments.checkpoint,
        output,
        weights=arguments.weights,
        metadata=arguments.metadata,
        verify=verify,  # type: ignore[arg-type]  # one of the three, by the line above
    )
    print(f"wrote {written}")
