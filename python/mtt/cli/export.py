"""`mtt export`: checkpoint in, verified model file out."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mtt.cli.arguments import (
    add_required_signature,
    check_input,
    check_output,
    check_signature,
)
from mtt.errors import UserError

if TYPE_CHECKING:
    from mtt.stages.export import Verify

HELP = "turn a checkpoint into a model file for MD engines"
DESCRIPTION = """\
Export a checkpoint as a TorchScript model file. It appears under its name only if it passed the
checks LOAD, SCHEMA and PARITY, or all of them with --verify. With an exported model in the place of the
checkpoint, -m writes a copy of it with this metadata."""
EPILOG = """\
examples:
  mtt export model.ckpt
  mtt export model.ckpt -o ethanol.pt --verify
  mtt export model.ckpt --weights last -m metadata.yaml
  mtt export model.pt -m metadata.yaml -o new.pt
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "checkpoint", type=Path, metavar="CKPT", help="checkpoint to export, or model file"
    )
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
        default=None,
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
    add_required_signature(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then export."""
    given: Path = arguments.checkpoint
    check_input(given, "checkpoint")
    check_signature(given, arguments.require_signature)
    changing = _is_model(given)
    if changing:
        _check_changing(arguments)
    output = arguments.output or Path(given.stem + ".pt")
    check_output(output, ".pt")
    if arguments.metadata is not None:
        from mtt.options import load_metadata

        load_metadata(arguments.metadata)
    verify: Verify = "quick"
    if arguments.verify is not None:
        verify = "full" if arguments.verify else "none"
    if changing:
        from mtt.stages import add_metadata

        written = add_metadata.run(given, arguments.metadata, output, verify=verify)
    else:
        from mtt.stages import export

        written = export.run(
            given,
            output,
            weights=arguments.weights or "best",
            metadata=arguments.metadata,
            verify=verify,
        )
    print(f"wrote {written}")


def _is_model(path: Path) -> bool:
    """Whether it is an archive, as exports are and checkpoints are not."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _check_changing(arguments: Namespace) -> None:
    given: Path = arguments.checkpoint
    if arguments.metadata is None:
        raise UserError(
            "this is an exported model already",
            where=str(given),
            hint="export a checkpoint, or add metadata to the model with -m FILE -o NEW.pt",
        )
    if arguments.weights is not None:
        raise UserError("--weights is about checkpoints, and this is a model", where=str(given))
    if arguments.output is None:
        raise UserError(
            "there is no place for the result", where=str(given), hint="name a new file with -o"
        )
