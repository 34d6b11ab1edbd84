"""Tokens for the Hugging Face hub: where they come from. They are never shown, nor stored."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mtt.errors import UserError
from mtt.files import open_regular

VARIABLES: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class Token:
    """A secret, and where it was taken from, which is all that may be said of it."""

    value: str = field(repr=False)
    origin: str


def find(flag: str | None, file: Path | None) -> Token | None:
    """The token of the flag, of the file, or of the environment, in this order.

    Says on standard error when a token of the environment is passed over.

    :raises UserError: a file that cannot be read, or what cannot be a token
    """
    chosen = None
    if flag is not None:
        chosen = _checked(flag, "--token")
    elif file is not None:
        chosen = _checked(_content(file), "--token-file")
    for variable in VARIABLES:
        value = os.environ.get(variable, "").strip()
        if not value:
            continue
        if chosen is None:
            return _checked(value, variable)
        if value != chosen.value:
            note = f"note: the token of {chosen.origin} is used, not that of {variable}"
            print(note, file=sys.stderr)
        break
    return chosen


def _content(file: Path) -> str:
    try:
        with open_regular(file) as stream:
            return stream.read(4096).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"the token cannot be read: {reason}", where=str(file)) from None


def _checked(value: str, origin: str) -> Token:
    """Libraries put a header that they cannot send into their errors, secret and all."""
    value = value.strip()
    if not value:
        raise UserError(f"the token of {origin} is empty")
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise UserError(
            f"the token of {origin} has characters that no token has",
            hint="a token is one word of letters, digits and underscores; copy it again",
        )
    return Token(value, origin)
