"""A source in, a local file out: the one way by which every command gets a model from elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtt.errors import UserError
from mtt.files import open_regular
from mtt.sources.fetch_settings import Settings
from mtt.sources.source import HubFile, LocalFile, Source, WebFile


@dataclass(frozen=True)
class Fetched:
    """A file that is here, and where it is from: ``record`` is plain JSON without any secret.

    Of a local file there is no record.
    """

    path: Path
    source: Source
    record: dict[str, Any] | None = None


def fetch(source: Source, settings: Settings) -> Fetched:
    """The local file of a source, downloaded unless it is here already.

    :raises UserError: it cannot be had, for a reason that the message names; is not what was pinned;
        is larger than ``max_size``; or is empty or a web page
    """
    pin = _pin(source, settings)
    if isinstance(source, LocalFile):
        if pin is not None:
            _check(source, source.path, pin)
        return Fetched(source.path, source)
    if isinstance(source, WebFile):
        from mtt.sources.web import download

        path = download(source, settings, pin)
        sha256 = _check(source, path, pin)
        return Fetched(path, source, {"url": source.shown, "sha256": sha256})
    from mtt.sources import hub

    path, commit = hub.download(source, settings)
    sha256 = _check(source, path, pin)
    return Fetched(path, source, {**hub.record(source, commit), "sha256": sha256})


def _pin(source: Source, settings: Settings) -> str | None:
    if source.sha256 and settings.sha256 and source.sha256 != settings.sha256:
        raise UserError("two different hashes are given for one file", where=source.shown)
    return source.sha256 or settings.sha256


def _check(source: Source, path: Path, pin: str | None) -> str:
    """The hash of the file; raises UserError if it is another one than was asked for."""
    from mtt.files import reading, sha256_of

    with reading(path, where=source.shown):
        actual = sha256_of(path)
    if pin is not None and actual != pin:
        raise UserError(
            "the file is not the one that was asked for: its sha256 is another",
            where=f"{source.shown}: expected {pin}, found {actual}",
            hint="do not use it before you know why; ask whoever gave you the hash",
        )
    if not isinstance(source, LocalFile):
        _refuse_pages(source, path)
    return actual


def _refuse_pages(source: WebFile | HubFile, path: Path) -> None:
    """What servers send in the place of a file: nothing, or a page that asks to log in."""
    with open_regular(path) as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start and path.stat().st_size == 0:
        raise UserError("the server sent an empty file", where=source.shown)
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        raise UserError(
            "the server sent a web page, not a model",
            where=source.shown,
            hint="open the address in a browser: the page may ask for a login, or say where the "
            "file is",
        )
