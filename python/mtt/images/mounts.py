"""What a command sees of this machine in an image: the files that it names, and where it writes."""

import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mtt.errors import UserError
from mtt.images.runtimes import Mounts


def mounts_for(
    arguments: Namespace, outputs: Sequence[Path], checkpoint: Path | None = None
) -> Mounts:
    """The files that a command names, to read, and the folders that it writes to."""
    here = Path.cwd()
    writable = {_place(path).parent for path in outputs}
    if arguments.command == "train":
        writable |= {here, (here / "outputs").resolve()}
        writable = {folder for folder in writable if folder.is_dir()}
    named = [value for value in vars(arguments).values() if isinstance(value, Path)]
    words = [value for value in [getattr(arguments, "continue_from", None)] if value]
    options = options_of(arguments)
    words += [] if checkpoint is None else [str(checkpoint)]
    texts = [*map(str, named), *words, *_walk(content_of(options))]
    overrides = getattr(arguments, "overrides", [])
    texts += [text for folder in overrides for text in _walk(_parsed(folder.partition("=")[2]))]
    files = {_place(Path(text)) for text in texts if _is_file(text)}
    files |= {folder.resolve() for folder in files}  # where a link leads to must be there too
    readable = {folder for folder in files if not any(top in folder.parents for top in writable)}
    return Mounts(here, sorted(readable), sorted(writable))


def _place(path: Path) -> Path:
    """The full name, without '..': a folder and what is in it must be known as such."""
    return Path(os.path.abspath(path))


def options_of(arguments: Namespace) -> Path | None:
    """The options file of a command, if it has one."""
    return getattr(arguments, "options", None)


def content_of(path: Path | None) -> Any:
    """What a YAML file holds; None if it cannot be read, which the command itself tells."""
    if path is None or not path.is_file():
        return None
    from mtt.options.reading.load import read_text

    try:
        return _parsed(read_text(path, "options file"))
    except UserError:
        return None


def _parsed(text: str) -> Any:
    from mtt.options.reading.document import parse

    root, _ = parse(text)
    return None if root is None else root.plain()


def _walk(value: Any) -> Iterator[str]:
    """Every text in options: an old version's may name files under keys not known here."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _walk(part)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name
        return False
