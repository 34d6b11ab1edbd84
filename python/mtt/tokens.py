"""Tokens: where those for the Hugging Face hub come from, and how all secrets stay out of what is shown.

Nothing that mtt prints, reports or stores may hold a secret of the user's. A model that reads one and
puts it into its messages is the attacker that this is made for, so :func:`redacted` knows secrets by
their values (of the environment, of files, of the command line), and by how they look.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mtt.errors import UserError
from mtt.files import open_regular

VARIABLES: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")

# ---- what is taken out ----

HIDDEN: Final = "[token]"
_SHORTEST: Final = 8  # a shorter one would be cut out of common words
_LARGEST_FILE: Final = 2**16
# Variables of other programs that hold a secret, by what they are called; not those that name a file.
_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY|"
    r"SECRET_?KEY|PRIVATE_?KEY|AUTH)(?:_\d+)?$",
    re.IGNORECASE,
)
# What tokens of the hub and of other services look like, wherever they are from.
_LIKE_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:hf_|api_org_)[A-Za-z0-9]{8,}"
    r"|(?:gh[opsur]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}"
    r"|xox[a-z]-[A-Za-z0-9-]{10,}"
    r"|sk-[A-Za-z0-9_-]{20,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r")"
)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_HEADER: Final = re.compile(
    r"((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?)(?:(bearer|basic|token)\s+)?[^\s'\",;]+",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# Everything before the last '@' of the place where a server is named.
_USER: Final = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#'\"<>]*@")
_PARAMETER: Final = re.compile(
    r"([?&;](?:[\w.-]*(?:token|secret|password|passwd|signature|credential|api_?key|access_?key)"
    r"|sig|key|auth)=)[^\s&;#'\"<>]+",
    re.IGNORECASE,
)
# User and password, and everything behind the question mark, of an address.
_QUERY: Final = re.compile(r"(https?://[^\s?#'\"]*)\?[^\s#'\"]*")
# Also misspelt, as in an error about an option that does not exist.
_FLAG: Final = re.compile(r"--tok[a-z]*", re.IGNORECASE)
# Tokens of this process that no variable holds: of the command line, or of a file that it names.
_used: Final[set[str]] = set()


def redacted(text: str, arguments: Sequence[str] = ()) -> str:
    """Return the text without tokens, and without users and passwords of addresses.

    :param arguments: the command line, whose ``--token`` is a secret, misspelt or not
    """
    return _cut(text, _secrets(arguments))


def _cut(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _LIKE_TOKEN.sub(HIDDEN, text)
    text = _HEADER.sub(
        lambda match: f"{match[1]}{match[2] + ' ' if match[2] else ''}{HIDDEN}", text
    )
    text = _BEARER.sub(lambda match: match[1] + HIDDEN, text)
    text = _USER.sub(lambda match: match[1], text)
    return _PARAMETER.sub(lambda match: match[1] + HIDDEN, text)


def without_secrets(text: str, arguments: Sequence[str] = ()) -> str:
    """Return a message as :func:`redacted` does, and without what follows '?' in addresses."""
    return _QUERY.sub(lambda match: match[1], redacted(text, arguments))


def redacted_json(value: Any) -> Any:
    """Return a copy of plain JSON in which each text, and each key, is :func:`redacted`."""
    secrets = _secrets()

    def harmless(part: Any) -> Any:
        if isinstance(part, str):
            return _cut(part, secrets)
        if isinstance(part, list):
            return [harmless(entry) for entry in part]
        if isinstance(part, dict):
            return {harmless(key): harmless(entry) for key, entry in part.items()}
        return part

    return harmless(value)


def _secrets(arguments: Sequence[str] = ()) -> list[str]:
    """Return all that is known to be a secret, the longest first: one may hold another."""
    secrets = {
        value.strip()
        for name, value in os.environ.items()
        if name in VARIABLES or (_SECRET_NAME.search(name) and not os.path.exists(value))
    }
    secrets |= _used | _stored()
    for number, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        if _FLAG.fullmatch(flag) is None or flag.lower() == "--token-file":
            continue
        secrets.add((value if equals else " ".join(arguments[number + 1 : number + 2])).strip())
    secrets = {secret for secret in secrets if len(secret) >= _SHORTEST}
    return sorted(secrets, key=len, reverse=True)


def _stored() -> set[str]:
    """Return what 'hf auth login' has stored, which a model can read as well as we can."""
    home = Path(os.environ.get("HF_HOME") or _cache() / "huggingface")
    token = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
    words = _text(token).split()
    named = _text(Path(os.environ.get("HF_STORED_TOKENS_PATH") or home / "stored_tokens"))
    for line in named.splitlines():
        _, equals, value = line.partition("=")
        words += [value.strip()] if equals else []
    return set(words)


def _cache() -> Path:
    home = os.path.expanduser("~")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(home) / ".cache")


def _text(path: Path) -> str:
    """Return the start of a small file of the user's, or nothing: redaction must never fail."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return ""
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return ""


# ---- tokens for the hub ----


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
    _used.add(value)
    return Token(value, origin)
