"""The command line: one file per command. What a command needs is imported when it runs."""

import argparse
import shlex
from collections.abc import Sequence
from typing import NoReturn

from mtt.cli import (
    convert,
    data,
    export,
    foreign_flags,
    golden,
    image,
    push,
    reproduce,
    show,
    sign,
    train,
    upgrade,
    verify,
)
from mtt.cli import eval as eval_command
from mtt.cli.arguments import flags_only_here
from mtt.errors import UserError
from mtt.tokens import without_secrets
from mtt.version import __version__

_COMMANDS = {
    "train": train,
    "export": export,
    "eval": eval_command,
    "verify": verify,
    "show": show,
    "data": data,
    "convert": convert,
    "upgrade": upgrade,
    "golden": golden,
    "push": push,
    "sign": sign,
    "reproduce": reproduce,
    "image": image,
}

# Commands of other programs, and what files are mostly given to.
_MEANT = {"run": "train", "fit": "train", "test": "eval", "predict": "eval", "info": "show"}
_FILES = {".yaml": "train", ".yml": "train", ".ckpt": "show", ".pt": "verify"}

_EPILOG = """\
examples:
  mtt train options.yaml                  train, and export and verify the result
  mtt train options.yaml -c auto          resume the last run in outputs/
  mtt export model.ckpt -o model.pt       checkpoint to model file
  mtt eval model.pt eval.yaml             errors and predictions on other data
  mtt verify model.pt                     would an MD engine get it right?
  mtt show model.ckpt                     what is in it: epoch, metrics, versions
  mtt data show data.xyz                  what data hold, and what is doubtful in them
  mtt convert options a.yaml -o b.yaml    options of metatrain or MACE as ours
  mtt upgrade old.ckpt -o new.ckpt        an old checkpoint in the newest versions
  mtt push model.ckpt ORG/REPO            publish it on the Hugging Face hub
  mtt sign model.pt --key lab.key         a signature that others can require
  mtt reproduce model.ckpt                train again: are the bits the same?
  mtt image for old.ckpt                  the image in which an old version lives on

exit codes: 0 fine, 1 bug, 2 mistake in your input, 3 verification failed,
130 interrupted, 143 ended by a signal or by max_time
"""


class _Parser(argparse.ArgumentParser):
    """Complains without the secrets of the command line, which its messages repeat."""

    words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        if message == "argument -c/--continue: expected one argument":
            message += "\n  hint: write --continue auto, or --continue model.ckpt"
        super().error(without_secrets(message, _Parser.words))


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="mtt",
        description="Train interatomic potentials, export them, and verify them for MD engines.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mtt {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, command=name, only_here=flags_only_here(command))
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line, with the command's function as ``run``.

    Raises UserError for a command that does not exist, and SystemExit (0 or 2) as argparse does
    for help, the version and other mistakes.
    """
    parser = make_parser()
    if not arguments:
        parser.print_help()
        parser.exit()
    command = arguments[0]
    if not command.startswith("-") and command not in _COMMANDS:
        raise _unknown_command(command)
    _require_kind(arguments)
    _Parser.words = arguments
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        foreign_flags.refuse(parser, arguments, unknown)
    parsed.command_line = list(arguments)
    return parsed


def _unknown_command(command: str) -> UserError:
    import difflib

    near = [_MEANT.get(command), *difflib.get_close_matches(command, _COMMANDS, n=1)]
    first = next((name for name in near if name is not None), None)
    ending = next((end for end in _FILES if command.endswith(end)), None)
    if ending is not None:
        hint = f"a command comes first: did you mean 'mtt {_FILES[ending]} {command}'?"
    elif first is not None:
        hint = f"did you mean 'mtt {first}'?"
    else:
        hint = f"the commands are {', '.join(_COMMANDS)}; see mtt --help"
    return UserError(f"there is no command '{command}'", hint=hint)


def _require_kind(arguments: Sequence[str]) -> None:
    """Tell someone who converts a file without saying what it is how to write that."""
    if len(arguments) > 1 and arguments[0] == "convert" and arguments[1].endswith((".yaml", ".sh")):
        raise UserError(
            "mtt convert takes the kind of file first",
            hint=f"did you mean 'mtt convert options {shlex.join(arguments[1:])}'?",
        )
