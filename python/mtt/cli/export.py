"""`mtt export`: checkpoint in, verified model file out."""

import re
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mtt.cli.arguments import (
    add_image,
    add_required_signature,
    add_sources,
    check_output,
    fetch,
    in_image,
    signed,
    source,
)
from mtt.errors import UserError
from mtt.files import check_keeps
from mtt.imports import without_collector

if TYPE_CHECKING:
    from mtt.export.run import Verify

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
  mtt export https://example.org/ethanol.ckpt --sha256 5d41402a...
  mtt export ORG/REPO model.ckpt --revision v1.0
  mtt export pet model.ckpt               and check that it is of this architecture
  mtt export model.pt -m metadata.yaml -o new.pt
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        metavar="CKPT",
        nargs="+",
        help="checkpoint to export, or model file: a path, an address, or ORG/REPO FILE; the name of its "
        "architecture may come before it",
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
    add_sources(parser)
    add_required_signature(parser)
    add_image(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then export."""
    architecture, words = _split(arguments.words)
    origin = source(words, arguments, "checkpoint")
    output = arguments.output or Path(Path(origin.name).stem + ".pt")
    check_output(output, ".pt")
    if arguments.metadata is not None:
        from mtt.options import load_metadata

        load_metadata(arguments.metadata)
    verify: Verify = "quick"
    if arguments.verify is not None:
        verify = "full" if arguments.verify else "none"
    (fetched,) = fetch([origin], arguments)
    with signed([fetched], arguments) as (usable,):
        if _is_model(usable.path, changing=arguments.metadata is not None):
            _check_changing(usable.path, arguments)
            _check_keeps(fetched.path, output)
            from mtt.export import add_metadata

            written = add_metadata.run(usable.path, arguments.metadata, output, verify=verify)
        else:
            if architecture is not None:
                _check_architecture(usable.path, architecture)
                arguments.command_line.remove(architecture)
            if in_image(arguments, usable, [output]):
                return

            _check_keeps(fetched.path, output)
            with without_collector():
                from mtt.export import run as export
                from mtt.report.progress import Reporter

            with Reporter():  # which says what is exported, and when it is verified
                written = export.run(
                    usable.path,
                    output,
                    weights=arguments.weights or "best",
                    metadata=arguments.metadata,
                    verify=verify,
                    source=fetched.record,
                )
    print(f"wrote {written}")


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """The name of an architecture, if it is there, and the words of the checkpoint."""
    first = words[0]
    if len(words) == 1 or not re.fullmatch(r"[A-Za-z][\w-]*", first) or Path(first).is_file():
        return None, words
    return first, words[1:]


def _check_architecture(path: Path, expected: str) -> None:
    """The older spelling of this command says what the checkpoint is of."""
    from mtt.checkpoint import read_header

    architecture = read_header(path).architecture.name
    if architecture != expected:
        raise UserError(
            f"the checkpoint is of the architecture '{architecture}', not '{expected}'",
            where=str(path),
            hint="the name need not be given: mtt export CKPT",
        )


def _check_keeps(read: Path, output: Path) -> None:
    """The file that was named stays, also where a signed copy of it is used."""
    from mtt.export.provenance import statement_path

    for written in (output, statement_path(output)):
        check_keeps([read], written)


def _is_model(path: Path, changing: bool) -> bool:
    """Whether it is an exported model.

    :param changing: whether it is to be copied with other metadata
    :raises UserError: it is another archive, such as other programs' checkpoints; the message says
        which
    """
    from mtt.files import reading
    from mtt.filetypes import recognize

    if recognize.container(path) != "zip":
        return False
    with reading(path):
        kind = recognize.describe(path)
    # What a damaged one lacks, whoever changes it says best.
    if kind.kind == "model" or (changing and kind.kind == "zip-damaged"):
        return True
    raise kind.refusal(path)


def _check_changing(model: Path, arguments: Namespace) -> None:
    if arguments.metadata is None:
        raise UserError(
            "this is an exported model already",
            where=str(model),
            hint="export a checkpoint, or add metadata to the model with -m FILE -o NEW.pt",
        )
    if arguments.weights is not None:
        raise UserError("--weights is about checkpoints, and this is a model", where=str(model))
    if arguments.output is None:
        raise UserError(
            "there is no place for the result", where=str(model), hint="name a new file with -o"
        )
