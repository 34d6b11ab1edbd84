"""Checks of files named on the command line, made before anything heavy is imported."""

from argparse import ArgumentParser
from pathlib import Path

from mtt.errors import UserError


def add_overrides(parser: ArgumentParser) -> None:
    """The option ``-r KEY=VALUE`` of commands that read options."""
    parser.add_argument(
        "-r",
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="set an option over the file, e.g. architecture.training.batch_size=4; repeatable",
    )


def add_image(parser: ArgumentParser) -> None:
    """The option ``--image`` of commands that old checkpoints may need an image for."""
    parser.add_argument(
        "--image",
        metavar="WHEN",
        default="auto",
        help="run in the image of the checkpoint's version: auto (if the installed one does not "
        "know it), never, always, or the .sif file or OCI layout to run in (default: auto)",
    )


def check_input(path: Path, what: str) -> None:
    """Raise UserError unless ``path`` is a file; ``what`` names it: "model file"."""
    from mtt.options.problems import missing_file

    if path.is_dir():
        raise UserError(f"the {what} is a folder, not a file: {path}")
    if not path.exists():
        raise UserError(missing_file(path, what))


def check_output(path: Path, suffix: str | None = None) -> None:
    """Raise UserError unless a file can be written at ``path``.

    Its folder must exist and take a new file; it is not made here, so that a typing mistake
    makes no folders. ``suffix`` is the one that the name must have.
    """
    from mtt.report.files import check_writable

    if suffix is not None and path.suffix != suffix:
        raise UserError(
            f"the output must have a name that ends in {suffix}",
            where=str(path),
            hint=f"for instance {path.with_suffix(suffix)}" if path.name else None,
        )
    check_writable(path)
