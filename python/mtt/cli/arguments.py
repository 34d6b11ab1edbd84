"""Files named on the command line: where they are, and checks before anything heavy is imported."""

import contextlib
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace, _ArgumentGroup
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtt.errors import UserError, VerificationFailed
from mtt.files import check_regular

if TYPE_CHECKING:
    from mtt.sources import Fetched, Settings, Source
    from mtt.verify.predictions import Exceptions

_ONLY_HERE = "mtt_only_here"
_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def only_here(action: Action) -> None:
    """Mark an option that is done with before a command runs in an image, which is not given it.

    These are the options about getting and trusting a file. The mtt of an old image knows none of
    them.
    """
    assert action.nargs in (None, 0)
    setattr(action, _ONLY_HERE, True)


def flags_only_here(parser: ArgumentParser) -> dict[str, bool]:
    """Return the flags of all options that are marked so, and whether a value follows them."""
    return {
        flag: action.nargs is None
        for action in parser._actions
        if hasattr(action, _ONLY_HERE)
        for flag in action.option_strings
    }


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


def add_data(parser: ArgumentParser | _ArgumentGroup, text: str) -> None:
    """Add the option ``--data FILE ...`` of commands that look for the data of a run."""
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=text,
    )


def add_image(parser: ArgumentParser) -> None:
    """The option ``--image`` of commands that old checkpoints may need an image for."""
    action = parser.add_argument(
        "--image",
        metavar="WHEN",
        default="auto",
        help="run in the image of the checkpoint's version: auto (if the installed one does not "
        "know it), never, always, or the .sif file or OCI layout to run in (default: auto)",
    )
    only_here(action)


def add_exceptions(parser: ArgumentParser) -> None:
    """The options of commands that run a model file in the sandbox."""
    group = parser.add_argument_group("what a model file may do")
    group.add_argument(
        "--allow-operator",
        action="append",
        default=[],
        metavar="NAME",
        help="run it although it calls this operator, as LOAD/operators names it",
    )
    group.add_argument(
        "--no-require-sandbox",
        action="store_true",
        help="run it even where the system offers no sandbox",
    )
    for action in group._group_actions:
        only_here(action)


def exceptions(arguments: Namespace) -> "Exceptions":
    """Return what these options say."""
    from mtt.verify.predictions import Exceptions

    return Exceptions(tuple(arguments.allow_operator), arguments.no_require_sandbox)


def add_sources(parser: ArgumentParser) -> None:
    """The options of commands that take models from elsewhere."""
    group = parser.add_argument_group(
        "models from elsewhere: https://..., or ORG/REPO FILE of the Hugging Face hub"
    )
    group.add_argument("--revision", metavar="REV", help="branch, tag or commit (default: main)")
    group.add_argument("--sha256", metavar="HEX", help="refuse a file with another hash")
    add_token(group)
    group.add_argument(
        "--offline", action="store_true", help="take only what was downloaded before"
    )
    group.add_argument(
        "--max-size", type=_size, metavar="SIZE", help="refuse larger files (default: 10GB)"
    )
    add_network(group)
    for action in group._group_actions:
        only_here(action)


def add_token(group: _ArgumentGroup) -> None:
    """The options for a token."""
    token = group.add_mutually_exclusive_group()
    token.add_argument(
        "--token", metavar="TOKEN", help="for private repositories (better: the variable HF_TOKEN)"
    )
    token.add_argument("--token-file", type=Path, metavar="FILE", help="file that has the token")


def add_network(group: _ArgumentGroup) -> None:
    """The options of everything that speaks to a server."""
    group.add_argument(
        "--allow-http", action="store_true", help="allow addresses that are not encrypted"
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long to wait for an answer (default: 30)",
    )


def sources(words: Sequence[str], arguments: Namespace, what: str) -> "list[Source]":
    """What the words name; local files are checked, and nothing is contacted yet.

    :param what: what is named: "model file"
    :raises UserError: a local file is missing, or an option fits none of the sources
    """
    from mtt.sources import HubFile, LocalFile, read

    readings = read(words)
    for reading in readings:
        if isinstance(reading, LocalFile):
            try:
                _check_local(reading.path, what)
            except UserError as error:
                raise _with_readings(error, readings) from None
    _check_options(
        arguments, any(isinstance(reading, HubFile) for reading in readings), len(readings)
    )
    return readings


def _with_readings(error: UserError, readings: "Sequence[Source]") -> UserError:
    """Of several words that do not fit together, what each was taken for."""
    if error.hint is not None or len(readings) == 1:
        return error
    taken = ", ".join(f"'{reading.shown}'" for reading in readings)
    hint = f"the words were taken for these files: {taken}"
    return UserError(error.what, error.where, hint, code=error.code)


def source(words: Sequence[str], arguments: Namespace, what: str) -> "Source":
    """Like :func:`sources`, for the one source that the words must name."""
    readings = sources(words, arguments, what)
    if len(readings) > 1:
        taken = ", ".join(f"'{reading.shown}'" for reading in readings)
        raise UserError(f"one {what} is needed, and these were taken for one each: {taken}")
    return readings[0]


def _check_local(path: Path, what: str) -> None:
    if path.is_file():
        check_regular(path, f"the {what}")
        return  # what follows imports much, for the sake of a good message
    from mtt.sources.source import is_repository

    owner, name, *file = path.parts if len(path.parts) > 1 else ("", "")
    if not path.exists() and not path.is_absolute() and is_repository(f"{owner}/{name}"):
        meant = f"{owner}/{name} {'/'.join(file) or 'FILE'}"
        raise UserError(
            f"{what} not found: {path} (there is no folder {path.parent})",
            hint=f"for a file of the Hugging Face hub, give two words: {meant}",
        )
    check_input(path, what)


def _check_options(arguments: Namespace, any_hub: bool, count: int) -> None:
    for flag in ("token", "token_file", "revision"):
        if not any_hub and getattr(arguments, flag, None) is not None:
            raise UserError(
                f"--{flag.replace('_', '-')} is for the Hugging Face hub, and no file of it is named"
            )
    for flag in ("revision", "sha256"):
        if count > 1 and getattr(arguments, flag, None) is not None:
            raise UserError(f"--{flag} is about one file, and {count} are named")


def settings(arguments: Namespace, any_hub: bool = True) -> "Settings":
    """How to fetch, from the options of :func:`add_sources`.

    :param any_hub: whether a token is of any use
    :raises UserError: a hash or a token that is none
    """
    from mtt.sources import Settings
    from mtt.sources.source import check_sha256
    from mtt.tokens import find

    usual = Settings()
    sha256 = getattr(arguments, "sha256", None)
    return Settings(
        allow_http=arguments.allow_http,
        token=find(arguments.token, arguments.token_file) if any_hub else None,
        revision=getattr(arguments, "revision", None),
        sha256=None if sha256 is None else check_sha256(sha256, "--sha256"),
        offline=getattr(arguments, "offline", False),
        max_size=getattr(arguments, "max_size", None) or usual.max_size,
        timeout=arguments.timeout or usual.timeout,
    )


def fetch(origins: "Sequence[Source]", arguments: Namespace) -> "list[Fetched]":
    """The files of sources, downloaded where they are elsewhere."""
    from mtt import sources

    any_hub = any(isinstance(origin, sources.HubFile) for origin in origins)
    how = settings(arguments, any_hub)
    return [sources.fetch(origin, how) for origin in origins]


@contextlib.contextmanager
def speaking_of(fetched: "Sequence[Fetched]") -> Iterator[None]:
    """Errors name a file as it was typed, not by its place among the downloads."""
    names = {
        str(file.path): file.source.shown for file in fetched if str(file.path) != file.source.shown
    }

    def typed(text: str | None) -> str | None:
        for path, shown in names.items():
            text = text and text.replace(path, shown)
        return text

    try:
        yield
    except UserError as error:
        if type(error) is not UserError or not names:
            raise
        what, where, hint = map(typed, (error.what, error.where, error.hint))
        raise UserError(what or "", where, hint, code=error.code) from error
    except VerificationFailed as error:
        raise VerificationFailed(typed(str(error)), code=error.code) from error


def _size(text: str) -> int:
    number = text.rstrip("kMGTB")
    unit = text[len(number) :]
    try:
        size = float(number) * _UNITS[unit]
        if 1 <= size < 2**62:
            return int(size)
    except (ValueError, KeyError, OverflowError):
        pass
    raise ArgumentTypeError(f"expected a size such as 500MB or 20GB, found '{text}'")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ArgumentTypeError(f"expected seconds, found '{text}'")
    return seconds


def check_input(path: Path, what: str) -> None:
    """Raise UserError unless ``path`` is a file; ``what`` names it: "model file"."""
    from mtt.options.reading.problems import missing_file

    if path.is_dir():
        raise UserError(f"the {what} is a folder, not a file: {path}")
    check_regular(path, f"the {what}")
    if not path.exists():
        raise UserError(missing_file(path, what))


def check_data(paths: Sequence[Path]) -> None:
    """Raise UserError unless each path stands for files: one, a folder, or a pattern."""
    from mtt.options.schema.data_paths import data_files, is_data_folder

    for path in paths:
        for file in data_files(path) or [path]:
            if not is_data_folder(file):
                check_input(file, "data file")


def check_output(path: Path, suffix: str | None = None) -> None:
    """Raise UserError unless a file can be written at ``path``.

    Its folder must exist and take a new file; it is not made here, so that a typing mistake
    makes no folders. ``suffix`` is the one that the name must have.
    """
    from mtt.files import check_writable

    if suffix is not None and path.suffix != suffix:
        raise UserError(
            f"the output must have a name that ends in {suffix}",
            where=str(path),
            hint=f"for instance {path.with_suffix(suffix)}" if path.name else None,
        )
    check_writable(path)


def add_required_signature(parser: ArgumentParser) -> None:
    """The option ``--require-signature PUBLIC_KEY`` of commands that use a checkpoint or a model."""
    action = parser.add_argument(
        "--require-signature",
        type=Path,
        metavar="PUBLIC_KEY",
        help="use the file only if FILE.sig beside it is a signature of this key (mtt sign)",
    )
    only_here(action)


@contextlib.contextmanager
def signed(fetched: "Sequence[Fetched]", arguments: Namespace) -> "Iterator[list[Fetched]]":
    """The files to use: where a signature is required, copies of what it was found to be over.

    Nothing that others can write is read again after it was checked. The signature of a file from
    elsewhere is fetched from beside it. Errors name files as they were typed.

    :raises UserError: a file has no such signature; it has not been opened but to read its bytes
    """
    key: Path | None = arguments.require_signature
    with contextlib.ExitStack() as stack:
        usable = list(fetched)
        if key is not None:
            check_input(key, "public key")
            usable = [stack.enter_context(_signed_copy(file, key, arguments)) for file in fetched]
        stack.enter_context(speaking_of(usable))
        yield usable


@contextlib.contextmanager
def _signed_copy(file: "Fetched", key: Path, arguments: Namespace) -> "Iterator[Fetched]":
    from dataclasses import replace

    from mtt.lineage import signature
    from mtt.lineage.private_copy import private_copy

    beside = None if file.record is None else _signature_of(file, arguments)
    with private_copy(file.path) as copied:
        with speaking_of([file] if beside is None else [file, beside]):
            place = None if beside is None else beside.path
            signature.require(file.path, key, place, copied.sha256)
        yield replace(file, path=copied.path)


def _signature_of(file: "Fetched", arguments: Namespace) -> "Fetched":
    """Fetch the signature of a file from elsewhere."""
    from dataclasses import replace

    from mtt import sources

    how = replace(settings(arguments, isinstance(file.source, sources.HubFile)), sha256=None)
    try:
        return sources.fetch(file.source.beside(".sig"), how)
    except UserError as error:
        raise UserError(
            f"the signature of {file.source.shown} is required, and cannot be had: {error.what}",
            error.where,
            "get it from whoever made the file, beside which it belongs",
        ) from error


def in_image(arguments: Namespace, fetched: "Fetched | None", outputs: "Sequence[Path]") -> bool:
    """Run the command in the image that its checkpoint needs, if it needs one; whether it has been run.

    :raises UserError: it needs one, and there is none; or the file is from elsewhere, and an image
        has no network
    :raises SystemExit: with the exit code of the command, if it failed
    """
    from mtt.images import dispatch
    from mtt.sources import LocalFile

    if fetched is None:
        return dispatch.in_image(arguments, None, outputs)
    if not isinstance(fetched.source, LocalFile):
        return dispatch.in_image(arguments, fetched.path, outputs, fetched.source.shown)
    named = fetched.source.path
    copied = None if fetched.path == named else fetched.path
    return dispatch.in_image(arguments, named, outputs, copied=copied)
