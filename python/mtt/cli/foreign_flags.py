"""Flags that a command does not have: what other programs mean by them, and what mtt has instead."""

import argparse
import difflib
import shlex
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

# By command ("" before any) and flag: what to do instead. {0} is the value given with it.
_EXTENSIONS = "leave it out: models of mtt need no extensions"
_DEBUG = "leave it out: error.log has the details of what failed"
_IN_OPTIONS = "write it to the options file"
FLAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "": {
        "--debug": _DEBUG,
        "--shell-completion": "there is no shell completion; mtt COMMAND --help lists all options",
    },
    "train": {
        "--restart": "write --continue {0}",
        "--resume": "write --continue {0}",
        "--restart_latest": "write --continue auto",
        "-e": _EXTENSIONS,
        "--extensions": _EXTENSIONS,
        "--debug": _DEBUG,
        "--name": "write --output {0}.pt",
        "--config": "give the options file without a flag: mtt train {0}",
    },
    "eval": {
        "-e": "write --extensions {0}",
        "--extensions-dir": "write --extensions {0}",
        "-b": "leave it out: mtt eval chooses the batches",
        "--batch-size": "leave it out: mtt eval chooses the batches",
        "--check-consistency": "mtt verify checks what engines rely on",
        "--warm-up": "leave it out: mtt eval measures no times",
        "--no-warm-up": "leave it out: mtt eval measures no times",
        "--device": "leave it out: mtt eval takes the GPU if there is one",
    },
    "export": {
        "-e": _EXTENSIONS,
        "--extensions": _EXTENSIONS,
        "-r": "write --revision {0}",
        "-b": "write --revision {0}",
        "--branch": "write --revision {0}",
    },
}


def refuse(
    parser: argparse.ArgumentParser, words: Sequence[str], unknown: Sequence[str]
) -> NoReturn:
    """Complain about words that a command line must not have, with the usage of their command.

    :param words: the whole command line
    :param unknown: those that were not understood
    """
    command, place = _command(parser, words, unknown[0])
    message = f"unrecognized arguments: {shlex.join(unknown)}"
    flag, _, value = unknown[0].partition("=")
    if not value and len(unknown) > 1 and not unknown[1].startswith("-"):
        value = unknown[1]
    hint = _hint(command, place, flag, value) if flag.startswith("-") else None
    if place == "train" and not flag.startswith("-"):
        hint = _override_hint(words, unknown[0])
    command.error(f"{message}\n  hint: {hint}" if hint else message)


def _command(
    parser: argparse.ArgumentParser, words: Sequence[str], unknown: str
) -> tuple[argparse.ArgumentParser, str]:
    """Return the parser of the command that a word was given to, and what the command is called."""
    names: list[str] = []
    for word in words:
        if word == unknown:
            break
        commands = next(
            (each for each in parser._actions if isinstance(each, argparse._SubParsersAction)), None
        )
        if commands is None:
            break
        if word in commands.choices:
            parser = commands.choices[word]
            names.append(word)
    return parser, " ".join(names)


def _hint(command: argparse.ArgumentParser, name: str, flag: str, value: str) -> str | None:
    known = FLAGS.get(name, {})
    if flag in known:
        return known[flag].format(value or "VALUE")
    own = [each for each in command._option_string_actions if each.startswith("--")]
    for cutoff in (0.85, 0.6):
        near = difflib.get_close_matches(flag, own, n=1, cutoff=cutoff)
        if near and flag.startswith("--"):
            return f"did you mean {near[0]}?"
        hint = _option_hint(flag.lstrip("-"), value) if name == "train" else None
        if hint is not None:
            return hint
    return None


def _override_hint(words: Sequence[str], unknown: str) -> str | None:
    """Return how to write an override whose value was given as a word of its own."""
    before = words[: words.index(unknown)]
    if len(before) > 1 and before[-2] in ("-r", "--override") and "=" not in before[-1]:
        return f"write -r {shlex.quote(f'{before[-1]}={unknown}')}"
    return None


def _option_hint(word: str, value: str) -> str | None:
    """Return how to give an option of the options file on the command line."""
    from mtt.options.foreign.meanings import why_absent
    from mtt.options.reading.validate import named_option
    from mtt.options.schema.options import options_class

    option = named_option(options_class("pet"), word.replace("-", "_"))
    if option is not None:
        override = shlex.quote(f"{option}={value or 'VALUE'}")
        return f"{_IN_OPTIONS}, or write -r {override}"
    reason = why_absent(word)
    return None if reason is None else f"leave it out: {reason}"
