"""Downloading in tests: quick to give up, and what came of it."""

import hashlib
from pathlib import Path

import pytest

from mtt import sources
from mtt.errors import UserError
from mtt.sources import Settings

CONTENT = bytes(range(256)) * 4000
HASH = hashlib.sha256(CONTENT).hexdigest()
QUICK = Settings(allow_http=True, timeout=0.4, retries=2, backoff=0.01)


def get(url: str, settings: Settings = QUICK) -> bytes:
    """The content of the file that was downloaded."""
    (source,) = sources.read([url])
    return sources.fetch(source, settings).path.read_bytes()


def failure(url: str, settings: Settings = QUICK) -> str:
    """The message of a download that must fail."""
    (source,) = sources.read([url])
    with pytest.raises(UserError) as raised:
        sources.fetch(source, settings)
    return str(raised.value)


def kept(cache: Path) -> list[str]:
    """Names of complete files in the cache."""
    return sorted(str(path.relative_to(cache)) for path in cache.glob("content/*/*"))
