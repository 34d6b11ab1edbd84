"""`mtt push`: checkpoint in, repository of the Hugging Face hub out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mtt.cli.arguments import add_network, add_token, check_input, settings
from mtt.errors import UserError
from mtt.verify.program_catalogue import catalogue

if TYPE_CHECKING:
    from mtt.sources import Settings
    from mtt.sources.publish import Package

HELP = "publish a model on the Hugging Face hub"
DESCRIPTION = """\
Upload a checkpoint, its export, the report of its verification and a model card, which is written from
metadata, metrics and verdict. The export is the file beside the checkpoint, or is made. A model that fails
a check is not published. The repository is made if it is not there."""
EPILOG = """\
examples:
  mtt push model.ckpt ORG/REPO --dry-run      show what would be uploaded; contacts nobody
  mtt push model.ckpt ORG/REPO --private
  mtt push model.ckpt ORG/REPO --revision v2 --model ethanol.pt
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint to publish")
    parser.add_argument("repository", metavar="ORG/REPO", help="where to: repository of the hub")
    parser.add_argument(
        "--model", type=Path, metavar="MODEL.pt", help="its export (default: the .pt beside it)"
    )
    parser.add_argument(
        "-m", "--metadata", type=Path, metavar="FILE", help="YAML metadata of an export to be made"
    )
    parser.add_argument(
        "--level",
        choices=catalogue().levels or None,
        default="full",
        help="how thorough the verification is (default: full)",
    )
    parser.add_argument("--private", action="store_true", help="if the repository is to be made")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to write to (default: main)")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")
    parser.add_argument(
        "--dry-run", action="store_true", help="show files and card, and upload nothing"
    )
    group = parser.add_argument_group("the hub")
    add_token(group)
    add_network(group)


def run(arguments: Namespace) -> None:
    """Check, make and verify everything; then upload it."""
    from mtt.sources.source import REPOSITORY

    if REPOSITORY.fullmatch(arguments.repository) is None:
        raise UserError(
            f"this cannot be a repository of the hub: {arguments.repository!r}",
            hint="give the name of an account or organization, a slash, and a name: ORG/REPO",
        )
    check_input(arguments.checkpoint, "checkpoint")
    if arguments.model is not None:
        check_input(arguments.model, "model file")
    if arguments.metadata is not None:
        from mtt.options import load_metadata

        load_metadata(arguments.metadata)
    how = settings(arguments)

    from mtt.sources import publish

    words = (arguments.checkpoint, arguments.repository, arguments.model, arguments.metadata)
    with publish.packed(*words, level=arguments.level) as package:
        if arguments.dry_run:
            print(f"would be uploaded to {package.repository}:\n{package.summary()}\n")
            print(package.texts["README.md"].decode(), end="")
        else:
            _upload(package, arguments, how)


def _upload(package: "Package", arguments: Namespace, how: "Settings") -> None:
    from mtt.sources.model_card import MARK
    from mtt.sources.upload import CARD, push

    url, written = push(
        package.repository,
        {**package.files, **package.texts},
        arguments.message or f"{arguments.checkpoint.name}, verified",
        how,
        private=arguments.private,
        card_mark=MARK,
    )
    print(f"uploaded {', '.join(written)}")
    if CARD not in written:
        print(f"{CARD} of {package.repository} was written by somebody, and stays as it is")
    print(f"published: {url}")
