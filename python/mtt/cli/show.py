"""`mtt show`: checkpoints and model files in, what they are out; torch is not needed."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from mtt.cli.arguments import add_sources, fetch, sources, speaking_of
from mtt.errors import UserError

HELP = "say what a checkpoint or a model file is"
DESCRIPTION = """\
Describe checkpoints and model files: architecture, epoch, metrics, units, elements, data, versions,
sizes. Nothing in them is run or loaded. Files of other programs are named, and refused."""
EPILOG = """\
examples:
  mtt show model.ckpt
  mtt show model.pt --json
  mtt show --diff outputs/model_100.ckpt model.ckpt
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="checkpoint or model file: a path, an address, or ORG/REPO FILE",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, or a list for several files"
    )
    parser.add_argument(
        "--diff", action="store_true", help="print only what differs between two files"
    )
    add_sources(parser)


def run(arguments: Namespace) -> None:
    """Describe the files, or compare two."""
    from mtt.report import show
    from mtt.stages import inspect

    given = sources(arguments.files, arguments, "file")
    if arguments.diff and len(given) != 2:
        raise UserError(f"--diff compares two files, not {len(given)}")
    fetched = fetch(given, arguments)
    files = [one.path for one in fetched]
    try:
        with speaking_of(fetched):
            if arguments.diff:
                compared = inspect.compare(*files)
                compared |= {"a": given[0].shown, "b": given[1].shown}
                _print(_json(compared) if arguments.json else show.difference(compared))
                return
            found = [inspect.describe(path) for path in files]
    except UserError as error:
        raise _harmless(error) from error
    found = [{**one, "path": source.shown} for one, source in zip(found, given, strict=True)]
    if arguments.json:
        _print(_json(found[0] if len(found) == 1 else found))
    else:
        _print("\n\n".join(show.text(one) for one in found))
    with speaking_of(fetched):
        _refuse_damaged(files, found)


def _refuse_damaged(files: list[Path], found: list[dict[str, Any]]) -> None:
    """What a damaged file says has been shown, but nobody should take it for sound."""
    for path, one in zip(files, found, strict=True):
        if not one.get("content", {}).get("fits", True):
            from mtt.stages.checkpoint_formats import changed

            raise changed(path)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False)  # in visible ASCII


def _print(text: str) -> None:
    """Print, with escapes for what the terminal has no characters for."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _harmless(error: UserError) -> UserError:
    """The error without what a hostile file has put into it to steer the terminal."""
    from mtt.report.harmless import harmless

    parts = [part if part is None else harmless(part) for part in (error.where, error.hint)]
    return UserError(harmless(error.what), *parts)
