"""The command line: one file per command. What a command needs is imported when it runs."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from mtt.cli import (
    convert,
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
    "convert": convert,
    "upgrade": upgrade,
    "golden": golden,
    "push": push,
    "sign": sign,
    "reproduce": reproduce,
    "image": image,
}

_EPILOG = """\
examples:
  mtt train options.yaml                  train, and export and verify the result
  mtt train options.yaml -c auto          resume the last run in outputs/
  mtt export model.ckpt -o model.pt       checkpoint to model file
  mtt eval model.pt eval.yaml             errors and predictions on other data
  mtt verify model.pt                     would an MD engine get it right?
  mtt show model.ckpt                     what is in it: epoch, metrics, versions
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
    _Parser.words = arguments
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        foreign_flags.refuse(parser, arguments, unknown)
    parsed.command_line = list(arguments)
    return parsed


def _unknown_command(command: str) -> UserError:
    import difflib

    near = difflib.get_close_matches(command, _COMMANDS, n=1)
    if near:
        hint = f"did you mean 'mtt {near[0]}'?"
    else:
        hint = f"the commands are {', '.join(_COMMANDS)}; see mtt --help"
    return UserError(f"there is no command '{command}'", hint=hint)
