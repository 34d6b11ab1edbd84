"""`mtt train`: options and data in, checkpoint and verified model file out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Literal

from mtt.cli.arguments import add_image, add_overrides, check_input, check_output
from mtt.errors import Terminated, UserError

HELP = "train a model, then export and verify it"
DESCRIPTION = """\
Train a model as an options file says. Progress, metrics, plots and checkpoints go to
outputs/DATE/TIME/; at the end model.ckpt and the verified model.pt appear in the current folder."""
EPILOG = """\
examples:
  mtt train options.yaml
  mtt train options.yaml -o results/ethanol.pt
  mtt train options.yaml -r seed=2 -r architecture.training.batch_size=4
  mtt train options.yaml --continue model.ckpt
  mtt train options.yaml -c auto
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("options", type=Path, metavar="OPTIONS", help="options file, in YAML")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("model.pt"),
        metavar="MODEL.pt",
        help="model file to write, with the checkpoint beside it (default: model.pt)",
    )
    parser.add_argument(
        "-c",
        "--continue",
        dest="continue_from",
        metavar="CKPT",
        help="checkpoint to go on from; 'auto' takes the newest in outputs/ that fits; with the "
        "option fine_tune, also the checkpoint to fine-tune",
    )
    add_overrides(parser)
    add_image(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then train."""
    try:
        _run(arguments)
    except KeyboardInterrupt as error:
        if str(error):  # the stage says what is saved, and how to go on
            raise
        what = "terminated" if isinstance(error, Terminated) else "interrupted"
        raise type(error)(f"{what} before training began: nothing has been changed") from None


def _run(arguments: Namespace) -> None:
    from mtt.options import load_options

    continue_from = _checkpoint(arguments.continue_from)
    if _in_image(arguments, continue_from):
        return
    options = load_options(arguments.options, arguments.overrides)
    if options.architecture.training.fine_tune is not None and continue_from != "auto":
        from mtt.training.base import find_base

        find_base(options, continue_from)
    check_output(arguments.output, ".pt")
    check_output(arguments.output.with_suffix(".ckpt"))
    # the run's own folder is made in the current one
    _check_outputs_folder(Path("outputs"))

    from mtt.stages import train

    train.run(options, continue_from, arguments.output)


def _in_image(arguments: Namespace, checkpoint: Path | Literal["auto"] | None) -> bool:
    """Before the options are read: those of an old version may say what is not known here."""
    checkpoint = None if checkpoint == "auto" else checkpoint
    if checkpoint is None and arguments.image in ("auto", "never"):
        return False
    check_input(arguments.options, "options file")
    check_output(arguments.output, ".pt")

    from mtt.images import dispatch

    return dispatch.in_image(arguments, checkpoint, [arguments.output])


def _checkpoint(given: str | None) -> Path | Literal["auto"] | None:
    if given is None:
        return None
    if given == "auto":
        return "auto"
    check_input(Path(given), "checkpoint")
    return Path(given)


def _check_outputs_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "'outputs' is a file, but the folder for the run's results must have that name",
            where=str(folder.absolute()),
            hint="rename the file or run in another folder",
        )
    check_output(folder / "run" if folder.exists() else folder)
