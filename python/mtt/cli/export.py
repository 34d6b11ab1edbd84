"""`mtt export`: checkpoint in, verified model file out."""

import re
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

from mtt.cli.arguments import add_sources, check_output, fetch, source, speaking_of
from mtt.errors import UserError

HELP = "turn a checkpoint into a model file for MD engines"
DESCRIPTION = """\
Export a checkpoint as a TorchScript model file. It appears under its name only if it passed the
checks LOAD, SCHEMA and PARITY, or all of them with --verify."""
EPILOG = """\
examples:
  mtt export model.ckpt
  mtt export model.ckpt -o ethanol.pt --verify
  mtt export model.ckpt --weights last -m metadata.yaml
  mtt export https://example.org/ethanol.ckpt --sha256 5d41402a...
  mtt export ORG/REPO model.ckpt --revision v1.0
  mtt export pet model.ckpt               and check that it is of this architecture
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        metavar="CKPT",
        nargs="+",
        help="checkpoint to export: a path, an address, or ORG/REPO FILE; the name of its "
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
    add_sources(parser)


def run(arguments: Namespace) -> None:
    """Check what can be checked without torch, then export."""
    architecture, words = _split(arguments.words)
    given = source(words, arguments, "checkpoint")
    output = arguments.output or Path(Path(given.name).stem + ".pt")
    check_output(output, ".pt")
    if arguments.metadata is not None:
        from mtt.options import load_metadata

        load_metadata(arguments.metadata)

    (fetched,) = fetch([given], arguments)
    with speaking_of([fetched]):
        if architecture is not None:
            _check_architecture(fetched.path, architecture)

        from mtt.stages import export

        verify = {None: "quick", True: "full", False: "none"}[arguments.verify]
        written = export.run(
            fetched.path,
            output,
            weights=arguments.weights,
            metadata=arguments.metadata,
            verify=verify,  # type: ignore[arg-type]  # one of the three, by the line above
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
    from mtt.stages.checkpoint import read_header

    found = read_header(path)["architecture"]["name"]
    if found != expected:
        raise UserError(
            f"the checkpoint is of the architecture '{found}', not '{expected}'",
            where=str(path),
            hint="the name need not be given: mtt export CKPT",
        )
