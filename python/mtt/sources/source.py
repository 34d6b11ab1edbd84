"""What was typed, as a source: a path, an address, or a file of a repository of the Hugging Face hub.

A local path that exists wins over every other reading. Nothing is contacted here.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from mtt.errors import UserError

HUB_HOSTS: Final = ("huggingface.co", "www.huggingface.co", "hf.co")
DEFAULT_HUB: Final = "https://huggingface.co"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
# No repository is called so; whoever types it means a file.
_OF_FILES: Final = (".ckpt", ".pt", ".pth", ".xyz", ".yaml", ".yml", ".json", ".safetensors")
_LONGEST_NAME: Final = 200  # bytes; file systems take 255, temporary names are longer


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine, whether it is there or not."""

    path: Path
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The name of the file, for names of results."""
        return self.path.name

    @property
    def shown(self) -> str:
        """How messages call it."""
        return str(self.path)

    def beside(self, suffix: str) -> "LocalFile":
        """The file in the same folder whose name has that suffix more."""
        return LocalFile(self.path.with_name(self.path.name + suffix))


@dataclass(frozen=True)
class WebFile:
    """What a web server sends. The address may have secrets in it, and is not to be shown."""

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The last part of the address, as a name without any folder."""
        return safe_name(unquote(urlsplit(self.url).path))

    @property
    def shown(self) -> str:
        """The address without user, password and query, which may be secrets."""
        return without_secrets(self.url)

    def beside(self, suffix: str) -> "WebFile":
        """The file in the same folder whose name has that suffix more."""
        parts = urlsplit(self.url)
        return WebFile(urlunsplit(parts._replace(path=parts.path + suffix)))

    def __repr__(self) -> str:
        return f"WebFile({self.shown})"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository; ``kind`` is model, dataset or space, without a revision it is main."""

    repository: str
    file: str
    revision: str | None = None
    kind: str = "model"
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The name of the file without its folder in the repository."""
        return safe_name(self.file)

    @property
    def shown(self) -> str:
        """How messages call it, and how it can be typed."""
        folder = "" if self.kind == "model" else f"{self.kind}s/"
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{folder}{self.repository}{revision}/{self.file}"

    def beside(self, suffix: str) -> "HubFile":
        """The file in the same folder whose name has that suffix more."""
        return replace(self, file=self.file + suffix, sha256=None)


Source = LocalFile | WebFile | HubFile


def read(words: Sequence[str]) -> list[Source]:
    """The sources that the words of a command line name, in order.

    Each is one word, but ``ORG/REPO FILE``, which is two where neither is a local file.

    :raises UserError: an address that cannot be one, of an unknown scheme, or without a file
    """
    read_sources: list[Source] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if rest and is_repository(word) and _in_repository(rest[0]):
            read_sources.append(HubFile(word, _file(rest.pop(0), word)))
        else:
            read_sources.append(_one(word))
    return read_sources


def is_repository(word: str) -> bool:
    """Whether a word can only be meant as ORG/REPO: no file, nor in any folder that is here."""
    if REPOSITORY.fullmatch(word) is None or word.lower().endswith(_OF_FILES):
        return False
    return not os.path.lexists(word) and not os.path.isdir(word.partition("/")[0])


def _in_repository(word: str) -> bool:
    return not os.path.lexists(word) and _SCHEME.match(word) is None and not word.startswith("/")


def _file(path: str, where: str) -> str:
    """The path of a file in a repository, which stays inside it."""
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise UserError(f"this cannot be a file of a repository: {path!r}", where=where)
    return path


def _one(word: str) -> Source:
    if os.path.lexists(word):
        return LocalFile(Path(word))
    match = _SCHEME.match(word)
    if match is None:
        path, _, fragment = word.partition("#sha256=")
        return LocalFile(Path(path), _pin(fragment, path)) if fragment else LocalFile(Path(word))
    scheme = match[1].lower()
    if scheme == "hf":
        return _hub_uri(word)
    if scheme in ("http", "https"):
        return _address(word)
    raise UserError(
        f"addresses that begin with {scheme}:// are not supported",
        where=without_secrets(word),
        hint="give a path, https://..., or a file of the Hugging Face hub: ORG/REPO FILE",
    )


def _address(word: str) -> Source:
    try:
        parts = urlsplit(word)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = SplitResult("", "", "", "", ""), None
    if not host or any(ord(character) <= 32 or ord(character) == 127 for character in word):
        raise UserError("this is no address of a file", where=repr(without_secrets(word)))
    pin = None
    if parts.fragment.startswith("sha256="):
        pin = _pin(parts.fragment.removeprefix("sha256="), without_secrets(word))
    if _is_hub(parts) and (hub_address := _hub_address(parts, pin)) is not None:
        return hub_address
    if parts.path in ("", "/"):
        raise UserError("this address names a server, not a file", where=without_secrets(word))
    return WebFile(urlunsplit(parts._replace(fragment="")), pin)


def hub_endpoint() -> str:
    """The hub that is spoken to: HF_ENDPOINT, as for every program that uses the hub."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_HUB).rstrip("/")


def _is_hub(parts: SplitResult) -> bool:
    return parts.hostname in HUB_HOSTS or parts.netloc == urlsplit(hub_endpoint()).netloc


def _hub_address(parts: SplitResult, pin: str | None) -> HubFile | None:
    """``/ORG/REPO/resolve/REV/FILE``, also of data sets, and as browsers show it: /blob/."""
    names = [part for part in parts.path.split("/") if part]
    kind = "model"
    if names and names[0] in ("datasets", "spaces", "models"):
        kind = names.pop(0).removesuffix("s")
    if len(names) < 2:
        return None
    repository = f"{names[0]}/{names[1]}"
    where = without_secrets(urlunsplit(parts))
    if len(names) < 5 or names[2] not in ("resolve", "blob", "raw"):
        raise UserError(
            "this is an address of the Hugging Face hub, but not of a file",
            where=where,
            hint=f"give the repository and the name of the file in it: {repository} model.ckpt",
        )
    if REPOSITORY.fullmatch(repository) is None:
        raise UserError(f"this cannot be a repository of the hub: {repository!r}", where=where)
    revision, rest = _revision(names[3:])
    return HubFile(repository, _file(unquote("/".join(rest)), where), revision, kind, pin)


def _revision(names: list[str]) -> tuple[str, list[str]]:
    """The revision and what follows; those of pull requests have slashes in them."""
    length = 3 if names[0] == "refs" and len(names) > 3 else 1
    return unquote("/".join(names[:length])), names[length:]


def _hub_uri(word: str) -> HubFile:
    """``hf://ORG/REPO[@REV]/FILE``, which is one word where two cannot be given."""
    body, _, fragment = word[5:].partition("#sha256=")
    names = body.split("/")
    kind = "model"
    if names[0] in ("datasets", "spaces", "models"):
        kind = names.pop(0).removesuffix("s")
    if len(names) < 3:
        raise UserError("this names no file of the hub", word, "write hf://ORG/REPO/FILE")
    name, at, revision = names[1].partition("@")
    rest = names[2:]
    if at:
        revision, rest = _revision([revision, *rest])
    repository = f"{names[0]}/{name}"
    if REPOSITORY.fullmatch(repository) is None:
        raise UserError(f"this cannot be a repository of the hub: {repository!r}", where=word)
    file = _file(unquote("/".join(rest)), word)
    return HubFile(
        repository, file, revision or None, kind, _pin(fragment, word) if fragment else None
    )


def _pin(text: str, where: str) -> str:
    return check_sha256(text, where)


def check_sha256(text: str, where: str | None = None) -> str:
    """The hash in small letters; raises UserError for what cannot be a sha256."""
    if _SHA256.fullmatch(text) is None:
        raise UserError(
            f"this is no sha256, which has 64 hexadecimal digits: {text[:80]!r}", where=where
        )
    return text.lower()


def without_secrets(url: str) -> str:
    """An address as it may be shown: no user, no password, no query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]


def safe_name(path: str) -> str:
    """A name for a file here: the last part of a path, which names no folder and hides nothing."""
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    name = (
        "".join(character if character.isprintable() else "_" for character in last)
        .strip()
        .lstrip(".-~")
    )
    while len(name.encode()) > _LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        name = f"{stem[:-1]}{dot}{suffix}" if stem and len(suffix) < 20 else name[:-1]
    return name or "model"
