"""`mtt train`: options and data in, checkpoint and verified model file out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mtt.cli.arguments import (
    add_image,
    add_overrides,
    add_sources,
    check_input,
    check_output,
    fetch,
    in_image,
    source,
    speaking_of,
)
from mtt.errors import Terminated, UserError
from mtt.imports import without_collector

if TYPE_CHECKING:
    from mtt.sources import Source

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
  mtt train options.yaml --dry-run
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
        help="checkpoint to resume from; 'auto' takes the newest in outputs/ that fits; with the "
        "option fine_tune, also the checkpoint to fine-tune; a path, an address, or "
        "hf://ORG/REPO/FILE",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check options and data, take three steps, say how long and how much memory training "
        "takes, and write nothing",
    )
    add_overrides(parser)
    add_sources(parser)
    add_image(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then train."""
    try:
        _run(arguments)
    except KeyboardInterrupt as error:
        if str(error):  # the stage says what is saved, and how to resume
            raise
        what = "terminated" if isinstance(error, Terminated) else "interrupted"
        raise type(error)(f"{what} before training began: nothing has been changed") from None


def _run(arguments: Namespace) -> None:
    with without_collector():
        from mtt.files import check_keeps
        from mtt.options import load_options

    origin = _checkpoint(arguments)
    if _in_image(arguments, origin):
        return
    options = load_options(arguments.options, arguments.overrides)
    check_output(arguments.output, ".pt")
    check_output(arguments.output.with_suffix(".ckpt"))
    for path in (arguments.output, arguments.output.with_suffix(".ckpt")):
        check_keeps([arguments.options], path)
        _check_replaceable(path)
    # the run's own folder is made in the current one
    _check_outputs_folder(Path("outputs"))
    fetched = [] if origin is None or origin == "auto" else fetch([origin], arguments)
    continue_from: Path | Literal["auto"] | None = "auto" if origin == "auto" else None
    if fetched:
        continue_from = fetched[0].path
    with speaking_of(fetched):
        for file in fetched:
            if file.record is not None:
                in_image(arguments, file, [arguments.output])  # which says why it cannot
        if options.architecture.training.fine_tune is not None and continue_from != "auto":
            from mtt.training.fine_tune_base import find_base

            find_base(options, continue_from)

        with without_collector():
            from mtt.training import run as train

        train.run(options, continue_from, arguments.output, dry_run=arguments.dry_run)


def _in_image(arguments: Namespace, origin: "Source | Literal['auto'] | None") -> bool:
    """Before the options are read: those of an old version may say what is not known here."""
    from mtt.sources import Fetched, LocalFile

    local = Fetched(origin.path, origin) if isinstance(origin, LocalFile) else None
    if arguments.image == "never" or (local is None and origin not in ("auto", None)):
        return False
    check_input(arguments.options, "options file")
    check_output(arguments.output, ".pt")
    return in_image(arguments, local, [arguments.output])


def _checkpoint(arguments: Namespace) -> "Source | Literal['auto'] | None":
    word = arguments.continue_from
    if word == "auto" or word is None:
        return "auto" if word else None
    return source([word], arguments, "checkpoint")


def _check_replaceable(path: Path) -> None:
    """Results of earlier runs are replaced; what mtt has not written, such as the model that another
    program leaves under the same name, is not."""
    from mtt.files import reading
    from mtt.filetypes.recognize import describe

    if not path.is_file():
        return
    with reading(path):
        known = describe(path)
    if known.kind not in ("checkpoint", "model", "empty", "zeros"):
        raise UserError(
            f"{path} is there already and would be replaced, and mtt did not write it: it is "
            f"{known.what}",
            where=str(path.absolute()),
            hint="move it away, or name other results with --output",
        )


def _check_outputs_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "'outputs' is a file, but the folder for the run's results must have that name",
            where=str(folder.absolute()),
            hint="rename the file or run in another folder",
        )
    check_output(folder / "run" if folder.exists() else folder)
