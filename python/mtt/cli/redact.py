"""Secrets of the command line and the environment, taken out of everything that is shown or stored."""

import os
import re
from collections.abc import Sequence
from typing import Final

from mtt.tokens import VARIABLES

_SHORTEST: Final = 8  # a shorter one would be cut out of common words
_HIDDEN: Final = "[token]"
# What tokens of the hub look like, wherever it is from.
_LIKE_TOKEN: Final = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
# Also misspelt, as in an error about an option that does not exist.
_FLAG: Final = re.compile(r"--tok[a-z]*", re.IGNORECASE)
# User and password, and everything behind the question mark, of an address.
_IN_ADDRESS: Final = re.compile(r"(https?://)(?:[^\s/@?#'\"]*@)?([^\s?#'\"]*)(\?[^\s#'\"]*)?")


def without_secrets(text: str, arguments: Sequence[str] = ()) -> str:
    """The text without tokens, and without what is secret in addresses.

    :param arguments: the command line, whose ``--token`` is a secret, misspelt or not
    """
    for secret in sorted(_secrets(arguments), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _LIKE_TOKEN.sub(_HIDDEN, text)
    return _IN_ADDRESS.sub(lambda match: match[1] + match[2], text)


def _secrets(arguments: Sequence[str]) -> set[str]:
    secrets = {os.environ.get(name, "").strip() for name in VARIABLES}
    for number, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        if _FLAG.fullmatch(flag) is None or flag.lower() == "--token-file":
            continue
        secrets.add((value if equals else " ".join(arguments[number + 1 : number + 2])).strip())
    return {secret for secret in secrets if len(secret) >= _SHORTEST}
